// Package sim runs a whole shard, or several, on a virtual clock, from a seed.
//
// A run is n replicas, each the [replica.Core] that the node runs, with its stores, ledger and TX book, on a network
// that delays, reorders, duplicates and loses, with replicas that crash at any point and some that lie. There is no
// goroutine, no real clock and no random number but those of one generator made from the seed: events are carried
// out in the order of (time, sequence), so one seed gives one run, and one trace hash.
//
// Every message is encoded, decoded and checked as on the wire. A step is carried out as the node does it: its
// records are written, what needs it is synced, then its messages leave, then its outputs are acted on. A crash
// keeps everything synced and a random prefix of what was not, of the consensus store and of the ledger's each.
//
// After every event the checks of DESIGN §2 that apply look at what happened, one file each: agreement, signing,
// durability, certificates, blame, bounds, value; and at the end, when faults have stopped, liveness and that an
// idle shard falls silent. A violation names the seed, the step, and the last events.
//
// Several shards ([NetworkScenario], [RunNetwork]) share clock and chance. What passes between their replicas is decided
// by the node's own machine, [courier.Machine], and verified as in the node. Payments over shards are checked by what
// each block says of them: atomicity, verdicts, channels and value (DESIGN §2.4 to §2.6), at the cut that the blocks
// executed so far make.
//
// A Byzantine replica may also be two nodes with one identity ([Twins]), each with stores of its own, while rounds of
// partitions part all nodes. All scenarios of two rounds at n = 4 are enumerated, longer ones follow from seeds.
//
// What is not modelled: bits that rot in a store, replicas that lose their disk, and messages that are slow to
// verify.
//
// [Scenario] makes the configuration of a seed. The tests run some dozens of seeds; to sweep more, or to run one:
//
//	go test ./node/sim -run TestSweep -sim.seeds 5000 -timeout 0
//	go test ./node/sim -run TestSweep -sim.first 4711 -sim.seeds 1 -v
//	go test ./node/sim -run TestNetworkSweep -sim.networks 2000 -timeout 0
//	go test ./node/sim -run TestTwinsTwoRounds -sim.twins.all -v -timeout 0
//
// and to see that bugs put back into the protocols are found (it compiles the tests once for each):
//
//	go test ./node/sim -run Mutants -sim.mutants -v -timeout 0
package sim
