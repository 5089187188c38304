// Package attack runs attacks on a live network of two shards, as processes on the loopback interface, and measures
// their effect on honest clients:
//
//	go test ./cmd/bdtnode/attack -attacks -v -timeout 0            # all, about a minute each
//	go test ./cmd/bdtnode/attack -attacks -v -run 'Attacks/fetch'  # one
//
// Each attack gets a fresh network. A load of 100 transfers a second, 30 % across shards, runs once before the attack
// and once during it. The attack fails if the p95 latency of the load is more than three times its value before, if a
// replica's resident memory passes 300 MB, if a replica ends, or if a transfer of the load does not settle. Without the
// flag the tests do nothing.
package attack
