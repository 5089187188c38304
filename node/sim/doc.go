// Package sim runs a whole shard, or several, on a virtual clock, from a seed. It assembles the packages below it:
//
//   - clock: time, events and random numbers; trace: the events as a hash and as text; draw: random parameters
//   - network: the links inside a shard, and between shards
//   - machine: the simulated replicas, each the driver that the process runs
//   - adversary: Byzantine behaviours; twins: Byzantine replicas that are two nodes
//   - disturbance: of the network and of machines; scheduler: the adversary that delays each message
//   - workload: the clients
//   - observe and check: the observations of replicas, and the guarantees of design §2 that they are checked against
//
// The imports go down: none of these imports sim, a behaviour sees a view of its replica, and a check observations.
//
// No package uses a goroutine or a real clock, and random numbers come from one generator, made from the seed. Events are
// carried out in the order of (time, sequence). So one seed gives one run and one trace hash.
//
// After every event the checks examine it. At the end, when disturbances have stopped, they check liveness, and that an
// idle shard sends nothing. A violation names the seed, the step, and the last events.
//
// Not modelled: flipped bits in a store, and messages that are slow to verify.
//
// [Plan.Scenario] makes the configuration of a seed, and [Run] carries it out. The tests run some dozens of seeds. To
// sweep more seeds, or to run one:
//
//	go test ./node/sim -run TestSweep -sim.seeds 5000 -timeout 0
//	go test ./node/sim -run TestSweep -sim.first 4711 -sim.seeds 1 -v
//	go test ./node/sim -run TestNetworkSweep -sim.networks 2000 -timeout 0
//	go test ./node/sim -run TestTwinsTwoRounds -sim.twins.all -v -timeout 0
//
// To check that the tests find bugs that are put back into the source (one compilation for all of them):
//
//	go test ./node/sim -run Mutants -sim.mutants -v -timeout 0
package sim
