// Package sim runs a whole shard, or several, on a virtual clock, from a seed.
//
// A run is n replicas, each the [driver.Driver] that the process runs, with its stores and ledger. The network
// delays, reorders, duplicates and loses messages. Replicas crash at any point, and some are Byzantine. The package
// uses no goroutine, no real clock, and random numbers of one generator only, made from the seed. Events are carried
// out in the order of (time, sequence). So one seed gives one run and one trace hash.
//
// Every message is encoded, decoded and checked as on the wire. A step is carried out as in the node: its records are
// written, then synced if needed, then its messages are sent, then its outputs are acted on. A crash keeps all synced
// records and a random prefix of the others, in the consensus store and in the ledger's store separately.
//
// After every event the checks of design §2 examine it, one file each: agreement, signing, durability, certificates,
// blame, bounds, value and others. At the end, when faults have stopped, they check liveness, and that an idle shard
// sends nothing. A violation names the seed, the step, and the last events.
//
// Several shards ([NetworkScenario], [RunNetwork]) share the clock and the random numbers. The node's own machine,
// [xshard.Machine], decides which LDs pass between their replicas, and they are verified as in the node. The checks of
// cross-shard payments use the receipts and deliveries of each block: atomicity, verdicts, channels and value (design
// §2.4 to §2.6), at the cut of the blocks executed so far.
//
// A Byzantine replica may also be two nodes with one identity ([Twins]), each with its own stores, while rounds of
// partitions separate the nodes. All scenarios of two rounds at n = 4 are enumerated. Longer ones follow from seeds.
//
// Not modelled: flipped bits in a store, and messages that are slow to verify.
//
// [Scenario] makes the configuration of a seed. The tests run some dozens of seeds. To sweep more seeds, or to run one:
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
