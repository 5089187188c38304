package sim

import (
	"slices"
	"time"
)

// entry is a fault that --faults can name. One of fault, lie, disruption and shape makes it.
type entry struct {
	name, help string
	odds       int // a run of all faults has it with probability 1/odds; Byzantine behaviours are chosen in another way
	among      int // number of shards that it needs; 0 is any number
	fault      func(draw) Fault
	lie        func(draw) Adversary
	disruption func(draw) Disruption
	shape      func(draw, *Shard)
}

// catalogue is every fault, with parameters drawn for each run.
var catalogue = []entry{
	{name: "crashes", odds: 2, help: "replicas crash at any point, and start again from their disks",
		fault: func(d draw) Fault { return Crashes{Every: d.ms(1500, 9000), Down: d.ms(100, 6000)} }},
	{name: "power-cuts", odds: 2, help: "all replicas of a shard crash at once",
		fault: func(d draw) Fault { return PowerCuts{Every: d.ms(5000, 20000), Down: d.ms(50, 1000)} }},
	{name: "loss", odds: 2, help: "connections break, frames under way on them are lost, and they come up again",
		fault: func(d draw) Fault { return LinkBreaks{Every: d.ms(200, 3000)} }},
	{name: "partitions", odds: 2, help: "the replicas are partitioned into two random groups, again and again",
		fault: func(d draw) Fault { return Partitions{Every: d.ms(2000, 15000), Lasts: d.ms(300, 5000)} }},
	{name: "halves", odds: 4, help: "the replicas are partitioned in the middle, so that neither side has a quorum",
		fault: func(d draw) Fault { return Halves{Every: d.ms(3000, 15000), Lasts: d.ms(300, 5000)} }},
	{name: "flapping", odds: 4, help: "a partition comes and goes within a second, for some seconds",
		fault: func(d draw) Fault {
			return Flapping{Every: d.ms(4000, 20000), Lasts: d.ms(2000, 6000), Turn: d.ms(50, 1000)}
		}},
	{name: "cut-off", odds: 4, help: "f replicas are unreachable for 5 to 20 s, and the others continue to commit",
		fault: func(d draw) Fault {
			return CutOff{Every: d.ms(500, 15000), Shortest: 5 * time.Second, Longest: 20 * time.Second}
		}},
	{name: "one-way", odds: 3, help: "a replica, or a group, receives messages and its own do not arrive; later all arrive, or are lost",
		fault: func(d draw) Fault { return OneWay{Every: d.ms(1000, 10000), Lasts: d.ms(300, 6000)} }},
	{name: "targeted", odds: 3, help: "messages of chosen kinds, links or replicas are delayed by up to some seconds",
		fault: func(d draw) Fault { return Targeted{Every: d.ms(1000, 10000), Most: d.ms(100, 4000)} }},
	{name: "scheduler", odds: 4, help: "an adversary sees all messages, and each coin when it is determined, and delays messages",
		fault: func(d draw) Fault { return newScheduler(d) }},
	{name: "starving", help: "the scheduler with the worst tactic for agreements: the elected broadcast does not complete; not together with scheduler",
		fault: func(d draw) Fault {
			return Scheduler{Patience: d.ms(1000, 4000), Tactics: []Tactic{StarveBroadcasts{}}}
		}},
	{name: "duplication", odds: 2, help: "messages arrive twice",
		fault: func(d draw) Fault { return Duplication{Rate: d.float(0.02, 0.22)} }},
	{name: "reordering", odds: 2, help: "messages overtake others of their stream",
		fault: func(d draw) Fault { return Reordering{Rate: d.float(0.02, 0.32)} }},
	{name: "slow-leader", odds: 4, help: "every message of the leader is delayed by 1 to 10 s",
		fault: func(d draw) Fault { return SlowLeader{Min: time.Second, Max: d.ms(1000, 10000)} }},
	{name: "leader-dies", help: "the leader goes down for good, and is one of the f that may fail",
		fault: func(d draw) Fault { return LeaderDies{After: d.during()} }},
	{name: "lost-disk", help: "the stores of a replica are emptied; it is found lost, and is one of the f that may fail",
		fault: func(d draw) Fault { return LosesDisk{After: d.during()} }},
	{name: "old-store", help: "a replica goes back to an old copy of its stores; it is found lost, and is one of the f that may fail",
		fault: func(d draw) Fault { return OldStore{After: d.during(), Votes: d.IntN(2) == 0} }},
	{name: "clock-skew", odds: 2, help: "each replica's clock has an offset",
		fault: func(d draw) Fault { return ClockSkew{Max: d.ms(1, 240)} }},
	{name: "clock-steps", odds: 4, help: "the wall clock of one replica after another is set ahead or back by up to an hour, and right again",
		fault: func(d draw) Fault {
			return ClockSteps{Every: d.ms(2000, 15000), Lasts: d.ms(500, 10000), Most: time.Hour}
		}},
	{name: "slow-disks", odds: 2, help: "syncing a disk takes a long time",
		fault: func(d draw) Fault { return SlowDisks{Mean: d.ms(5, 60)} }},
	{name: "slow-execution", odds: 2, help: "executing a block takes a long time",
		fault: func(d draw) Fault { return SlowExecution{Mean: d.ms(5, 100)} }},
	{name: "short-epochs", odds: 3, help: "an epoch has a few slots in place of thousands",
		shape: func(d draw, x *Shard) { x.Slots = uint64(3 + d.IntN(60)) }},

	{name: "silent", help: "Byzantine: sends nothing",
		lie: func(draw) Adversary { return &Silent{} }},
	{name: "equivocating-leader", help: "Byzantine: proposes two blocks for a slot, and votes for both",
		lie: func(draw) Adversary { return &EquivocatingLeader{} }},
	{name: "equivocating-lane", help: "Byzantine: signs two batches for a number of its lane",
		lie: func(d draw) Adversary { return &EquivocatingLane{Every: d.IntN(2) == 0} }},
	{name: "double-votes", help: "Byzantine: sends further votes, Finalize messages and acks for other values, and repeats old messages",
		lie: func(draw) Adversary { return &DoubleVoting{} }},
	{name: "withholding", help: "Byzantine: withholds batches, proposals, votes, Status, messages of the agreement or shares from f of the others",
		lie: func(d draw) Adversary { return newWithholding(d) }},
	{name: "garbage", help: "Byzantine: sends frames with flipped bits and missing ends",
		lie: func(draw) Adversary { return &Garbage{Rate: 0.01} }},
	{name: "forging", help: "Byzantine: forges certificates and signatures",
		lie: func(draw) Adversary { return &Forging{Rate: 0.01} }},
	{name: "relabelling", help: "Byzantine: sends signatures of others with a changed epoch, slot, round or number",
		lie: func(draw) Adversary { return &Relabelling{Rate: 0.05} }},
	{name: "false-leaving", help: "Byzantine: leaves every epoch at once, with a Status that claims slot 0",
		lie: func(draw) Adversary { return &FalseLeaving{} }},
	{name: "far-epochs", help: "Byzantine: sends many messages for epochs, slots and rounds far ahead and long past",
		lie: func(d draw) Adversary { return &FarEpochs{Every: d.ms(3, 100)} }},
	{name: "mutation", help: "Byzantine: sends messages with one wrong field",
		lie: func(d draw) Adversary { return &Mutation{Rate: d.float(0.01, 0.2)} }},
	{name: "dripping", help: "Byzantine: as a leader proposes a block just before the others leave, or never orders one lane",
		lie: func(d draw) Adversary { return &Dripping{Share: d.float(0.5, 0.95), Past: d.IntN(3) == 0} }},
	{name: "stale-status", help: "Byzantine: leaves with old or forged QCs and tips, and proposes on old blocks",
		lie: func(d draw) Adversary { return &StaleStatus{Rate: d.float(0.3, 1)} }},
	{name: "bad-cuts", help: "Byzantine: proposes cuts that shrink, or name positions that do not exist",
		lie: func(d draw) Adversary { return &BadCuts{Rate: d.float(0.05, 0.5)} }},
	{name: "bad-coin", help: "Byzantine: forges, replays, withholds and releases early its shares of the coin",
		lie: func(d draw) Adversary { return &BadCoin{Withholds: d.IntN(4) == 0} }},
	{name: "bad-inputs", help: "Byzantine: proposes invalid inputs to the agreement, and signs two values in it",
		lie: func(d draw) Adversary { return &BadInputs{Rate: d.float(0.2, 1)} }},
	{name: "pushing", help: "Byzantine: sends certified blocks without a request, and answers requests for them badly",
		lie: func(d draw) Adversary { return &Pushing{Rate: d.float(0.01, 0.2)} }},
	{name: "twins", help: "Byzantine: two nodes with one identity, and all nodes in rounds of partitions",
		lie: func(d draw) Adversary { return newTwins(d) }},

	{name: "gossip-loss", odds: 2, among: 2, help: "a share of gossip does not arrive",
		disruption: func(d draw) Disruption { return GossipLoss{Rate: d.Float64()} }},
	{name: "no-gossip", odds: 8, among: 2, help: "gossip never arrives, also when other faults have ended",
		disruption: func(draw) Disruption { return GossipLoss{Rate: 1} }},
	{name: "gossip-bursts", odds: 2, among: 2, help: "no gossip arrives for a while, again and again",
		disruption: func(d draw) Disruption { return GossipBursts{Every: d.ms(1000, 10000), Lasts: d.ms(100, 8000)} }},
	{name: "gossip-duplication", odds: 2, among: 2, help: "gossip arrives twice",
		disruption: func(d draw) Disruption { return GossipDuplication{Rate: d.Float64()} }},
	{name: "shard-partitions", odds: 2, among: 2, help: "a shard cannot reach another, or all others",
		disruption: func(d draw) Disruption { return ShardPartitions{Every: d.ms(4000, 20000), Lasts: d.ms(500, 8000)} }},
	{name: "shard-outages", odds: 2, among: 2, help: "all replicas of a shard crash at once",
		disruption: func(d draw) Disruption { return ShardOutages{Every: d.ms(8000, 30000), Down: d.ms(100, 4000)} }},
	{name: "hermit", among: 2, help: "Byzantine: sends nothing to other shards",
		lie: func(draw) Adversary { return &Hermit{} }},
	{name: "forged-lds", among: 2, help: "Byzantine: sends other shards LDs that its shard did not make",
		lie: func(draw) Adversary { return &ForgedLDs{Rate: 0.3} }},
	{name: "false-sign", among: 2, help: "Byzantine: signs LDs that it does not hold",
		lie: func(draw) Adversary { return &FalseSIGN{} }},
}

func catalogued(name string) *entry {
	if i := slices.IndexFunc(catalogue, func(e entry) bool { return e.name == name }); i >= 0 {
		return &catalogue[i]
	}
	return nil
}

// FaultNames lists all faults.
func FaultNames() []string {
	var names []string
	for i := range catalogue {
		names = append(names, catalogue[i].name)
	}
	return names
}

// FaultHelp is a description of a fault in one line.
func FaultHelp(name string) string {
	if e := catalogued(name); e != nil {
		return e.help
	}
	return ""
}
