package sim

import (
	"slices"
	"time"

	"bdtnode/node/sim/adversary"
	"bdtnode/node/sim/disturbance"
	"bdtnode/node/sim/draw"
	"bdtnode/node/sim/scheduler"
	"bdtnode/node/sim/twins"
)

// entry is a disturbance or a behaviour that --faults can name. One of disturbance, behaviour, crossShard and shape makes
// it.
type entry struct {
	name, help  string
	stream      string // name of its random numbers, if it is not name: an earlier name, so that each seed keeps its parameters
	odds        int    // a run of all has it with probability 1/odds; Byzantine behaviours are chosen in another way
	among       int    // number of shards that it needs; 0 is any number
	disturbance func(draw.Source) disturbance.Disturbance
	behaviour   func(draw.Source) adversary.Behaviour
	crossShard  func(draw.Source) disturbance.CrossShard
	shape       func(draw.Source, *Shard)
	vouched     bool // a behaviour of shards in which replicas vouch for the signatures of batches
}

// catalogue is every disturbance and behaviour, with parameters drawn for each run.
var catalogue = []entry{
	{name: "crashes", odds: 2, help: "replicas crash at any point, and start again from their disks",
		disturbance: func(d draw.Source) disturbance.Disturbance {
			return disturbance.Crashes{Every: d.Milliseconds(1500, 9000), Down: d.Milliseconds(100, 6000)}
		}},
	{name: "power-cuts", odds: 2, help: "all replicas of a shard crash at once",
		disturbance: func(d draw.Source) disturbance.Disturbance {
			return disturbance.PowerCuts{Every: d.Milliseconds(5000, 20000), Down: d.Milliseconds(50, 1000)}
		}},
	{name: "loss", odds: 2, help: "connections break, frames under way on them are lost, and they come up again",
		disturbance: func(d draw.Source) disturbance.Disturbance {
			return disturbance.LinkBreaks{Every: d.Milliseconds(200, 3000)}
		}},
	{name: "partitions", odds: 2, help: "the replicas are partitioned into two random groups, again and again",
		disturbance: func(d draw.Source) disturbance.Disturbance {
			return disturbance.Partitions{Every: d.Milliseconds(2000, 15000), Lasts: d.Milliseconds(300, 5000)}
		}},
	{name: "halves", odds: 4, help: "the replicas are partitioned in the middle, so that neither side has a quorum",
		disturbance: func(d draw.Source) disturbance.Disturbance {
			return disturbance.Halves{Every: d.Milliseconds(3000, 15000), Lasts: d.Milliseconds(300, 5000)}
		}},
	{name: "flapping", odds: 4, help: "a partition comes and goes within a second, for some seconds",
		disturbance: func(d draw.Source) disturbance.Disturbance {
			return disturbance.Flapping{Every: d.Milliseconds(4000, 20000), Lasts: d.Milliseconds(2000, 6000), Turn: d.Milliseconds(50, 1000)}
		}},
	{name: "cut-off", odds: 4, help: "f replicas are unreachable for 5 to 20 s, and the others continue to commit",
		disturbance: func(d draw.Source) disturbance.Disturbance {
			return disturbance.CutOff{Every: d.Milliseconds(500, 15000), Shortest: 5 * time.Second, Longest: 20 * time.Second}
		}},
	{name: "one-way", odds: 3, help: "a replica, or a group, receives messages and its own do not arrive; later all arrive, or are lost",
		disturbance: func(d draw.Source) disturbance.Disturbance {
			return disturbance.OneWay{Every: d.Milliseconds(1000, 10000), Lasts: d.Milliseconds(300, 6000)}
		}},
	{name: "targeted", odds: 3, help: "messages of chosen kinds, links or replicas are delayed by up to some seconds",
		disturbance: func(d draw.Source) disturbance.Disturbance {
			return disturbance.Targeted{Every: d.Milliseconds(1000, 10000), Most: d.Milliseconds(100, 4000)}
		}},
	{name: "scheduler", odds: 4, help: "an adversary sees all messages, and each coin when it is determined, and delays messages",
		disturbance: func(d draw.Source) disturbance.Disturbance { return scheduler.Random(d) }},
	{name: "starving", help: "the scheduler with the worst tactic for agreements: the elected broadcast does not complete; not together with scheduler",
		disturbance: func(d draw.Source) disturbance.Disturbance {
			return scheduler.Scheduler{Patience: d.Milliseconds(1000, 4000), Tactics: []scheduler.Tactic{scheduler.StarveBroadcasts{}}}
		}},
	{name: "duplication", odds: 2, help: "messages arrive twice",
		disturbance: func(d draw.Source) disturbance.Disturbance { return disturbance.Duplication{Rate: d.Float(0.02, 0.22)} }},
	{name: "reordering", odds: 2, help: "messages overtake others of their stream",
		disturbance: func(d draw.Source) disturbance.Disturbance { return disturbance.Reordering{Rate: d.Float(0.02, 0.32)} }},
	{name: "slow-leader", odds: 4, help: "every message of the leader is delayed by 1 to 10 s",
		disturbance: func(d draw.Source) disturbance.Disturbance {
			return disturbance.SlowLeader{Min: time.Second, Max: d.Milliseconds(1000, 10000)}
		}},
	{name: "leader-dies", help: "the leader goes down for good, and is one of the f that may fail",
		disturbance: func(d draw.Source) disturbance.Disturbance { return disturbance.LeaderDies{After: d.During()} }},
	{name: "lost-disk", help: "the stores of a replica are emptied; it is found lost, and is one of the f that may fail",
		disturbance: func(d draw.Source) disturbance.Disturbance { return disturbance.LosesDisk{After: d.During()} }},
	{name: "old-store", help: "a replica goes back to an old copy of its stores; it is found lost, and is one of the f that may fail",
		disturbance: func(d draw.Source) disturbance.Disturbance {
			return disturbance.OldStore{After: d.During(), Votes: d.IntN(2) == 0}
		}},
	{name: "clock-skew", odds: 2, help: "each replica's clock has an offset",
		disturbance: func(d draw.Source) disturbance.Disturbance { return disturbance.ClockSkew{Max: d.Milliseconds(1, 240)} }},
	{name: "clock-steps", odds: 4, help: "the wall clock of one replica after another is set ahead or back by up to an hour, and right again",
		disturbance: func(d draw.Source) disturbance.Disturbance {
			return disturbance.ClockSteps{Every: d.Milliseconds(2000, 15000), Lasts: d.Milliseconds(500, 10000), Most: time.Hour}
		}},
	{name: "slow-disks", odds: 2, help: "syncing a disk takes a long time",
		disturbance: func(d draw.Source) disturbance.Disturbance { return disturbance.SlowDisks{Mean: d.Milliseconds(5, 60)} }},
	{name: "slow-execution", odds: 2, help: "executing a block takes a long time",
		disturbance: func(d draw.Source) disturbance.Disturbance {
			return disturbance.SlowExecution{Mean: d.Milliseconds(5, 100)}
		}},
	{name: "short-epochs", odds: 3, help: "an epoch has a few slots in place of thousands",
		shape: func(d draw.Source, x *Shard) { x.Slots = uint64(3 + d.IntN(60)) }},
	{name: "vouched", odds: 2, help: "f+1 replicas check the signatures of a batch, and vouch for it, in place of all",
		shape: func(d draw.Source, x *Shard) { x.Vouched = 1 + d.IntN(5)/4 }},

	{name: "silent", help: "Byzantine: sends nothing",
		behaviour: func(draw.Source) adversary.Behaviour { return &adversary.Silent{} }},
	{name: "equivocating-leader", help: "Byzantine: proposes two blocks for a slot, and votes for both",
		behaviour: func(draw.Source) adversary.Behaviour { return &adversary.EquivocatingLeader{} }},
	{name: "equivocating-lane", help: "Byzantine: signs two batches for a number of its lane",
		behaviour: func(d draw.Source) adversary.Behaviour { return &adversary.EquivocatingLane{Every: d.IntN(2) == 0} }},
	{name: "double-votes", help: "Byzantine: sends further votes, Finalize messages and acks for other values, and repeats old messages",
		behaviour: func(draw.Source) adversary.Behaviour { return &adversary.DoubleVoting{} }},
	{name: "withholding", help: "Byzantine: withholds batches, proposals, votes, Status, messages of the agreement or shares from f of the others",
		behaviour: func(d draw.Source) adversary.Behaviour { return adversary.NewWithholding(d) }},
	{name: "garbage", help: "Byzantine: sends frames with flipped bits and missing ends",
		behaviour: func(draw.Source) adversary.Behaviour { return &adversary.Garbage{Rate: 0.01} }},
	{name: "forging", help: "Byzantine: forges certificates and signatures",
		behaviour: func(draw.Source) adversary.Behaviour { return &adversary.Forging{Rate: 0.01} }},
	{name: "relabelling", help: "Byzantine: sends signatures of others with a changed epoch, slot, round or number",
		behaviour: func(draw.Source) adversary.Behaviour { return &adversary.Relabelling{Rate: 0.05} }},
	{name: "false-leaving", help: "Byzantine: leaves every epoch at once, with a Status that claims slot 0",
		behaviour: func(draw.Source) adversary.Behaviour { return &adversary.FalseLeaving{} }},
	{name: "far-epochs", help: "Byzantine: sends many messages for epochs, slots and rounds far ahead and long past",
		behaviour: func(d draw.Source) adversary.Behaviour { return &adversary.FarEpochs{Every: d.Milliseconds(3, 100)} }},
	{name: "mutation", help: "Byzantine: sends messages with one wrong field",
		behaviour: func(d draw.Source) adversary.Behaviour { return &adversary.Mutation{Rate: d.Float(0.01, 0.2)} }},
	{name: "slow-progress", stream: "dripping", help: "Byzantine: as a leader proposes a block just before the others leave, or never orders one lane",
		behaviour: func(d draw.Source) adversary.Behaviour {
			return &adversary.SlowProgress{Share: d.Float(0.5, 0.95), Past: d.IntN(3) == 0}
		}},
	{name: "stale-status", help: "Byzantine: leaves with old or forged QCs and tips, and proposes on old blocks",
		behaviour: func(d draw.Source) adversary.Behaviour { return &adversary.StaleStatus{Rate: d.Float(0.3, 1)} }},
	{name: "bad-cuts", help: "Byzantine: proposes cuts that shrink, or name positions that do not exist",
		behaviour: func(d draw.Source) adversary.Behaviour { return &adversary.BadCuts{Rate: d.Float(0.05, 0.5)} }},
	{name: "bad-coin", help: "Byzantine: forges, replays, withholds and releases early its shares of the coin",
		behaviour: func(d draw.Source) adversary.Behaviour { return &adversary.BadCoin{Withholds: d.IntN(4) == 0} }},
	{name: "bad-inputs", help: "Byzantine: proposes invalid inputs to the agreement, and signs two values in it",
		behaviour: func(d draw.Source) adversary.Behaviour { return &adversary.BadInputs{Rate: d.Float(0.2, 1)} }},
	{name: "unrequested-blocks", stream: "pushing", help: "Byzantine: sends certified blocks without a request, and answers requests for them badly",
		behaviour: func(d draw.Source) adversary.Behaviour { return &adversary.UnrequestedBlocks{Rate: d.Float(0.01, 0.2)} }},
	{name: "twins", help: "Byzantine: two nodes with one identity, and all nodes in rounds of partitions",
		behaviour: func(d draw.Source) adversary.Behaviour { return twins.Random(d) }},

	{name: "bad-signatures", vouched: true, help: "Byzantine: makes batches with bad signatures",
		behaviour: func(d draw.Source) adversary.Behaviour {
			return &adversary.BadSignatures{Rate: d.Float(0.02, 0.6), Twin: d.IntN(3) == 0}
		}},
	{name: "false-vouches", vouched: true, help: "Byzantine: vouches for every batch, good or bad, and for others that do not exist",
		behaviour: func(draw.Source) adversary.Behaviour { return &adversary.FalseVouches{} }},
	{name: "few-vouches", vouched: true, help: "Byzantine: vouches never, late, or to f of the others",
		behaviour: func(d draw.Source) adversary.Behaviour { return adversary.NewFewVouches(d) }},

	{name: "gossip-loss", odds: 2, among: 2, help: "a share of gossip does not arrive",
		crossShard: func(d draw.Source) disturbance.CrossShard { return disturbance.GossipLoss{Rate: d.Float64()} }},
	{name: "no-gossip", odds: 8, among: 2, help: "gossip never arrives, also when other disturbances have ended",
		crossShard: func(draw.Source) disturbance.CrossShard { return disturbance.GossipLoss{Rate: 1} }},
	{name: "gossip-bursts", odds: 2, among: 2, help: "no gossip arrives for a while, again and again",
		crossShard: func(d draw.Source) disturbance.CrossShard {
			return disturbance.GossipBursts{Every: d.Milliseconds(1000, 10000), Lasts: d.Milliseconds(100, 8000)}
		}},
	{name: "gossip-duplication", odds: 2, among: 2, help: "gossip arrives twice",
		crossShard: func(d draw.Source) disturbance.CrossShard { return disturbance.GossipDuplication{Rate: d.Float64()} }},
	{name: "shard-partitions", odds: 2, among: 2, help: "a shard cannot reach another, or all others",
		crossShard: func(d draw.Source) disturbance.CrossShard {
			return disturbance.ShardPartitions{Every: d.Milliseconds(4000, 20000), Lasts: d.Milliseconds(500, 8000)}
		}},
	{name: "shard-outages", odds: 2, among: 2, help: "all replicas of a shard crash at once",
		crossShard: func(d draw.Source) disturbance.CrossShard {
			return disturbance.ShardOutages{Every: d.Milliseconds(8000, 30000), Down: d.Milliseconds(100, 4000)}
		}},
	{name: "silent-to-shards", among: 2, help: "Byzantine: sends nothing to other shards",
		behaviour: func(draw.Source) adversary.Behaviour { return &adversary.SilentToShards{} }},
	{name: "forged-lds", among: 2, help: "Byzantine: sends other shards LDs that its shard did not make",
		behaviour: func(draw.Source) adversary.Behaviour { return &adversary.ForgedLDs{Rate: 0.3} }},
	{name: "forged-cls", among: 2, help: "Byzantine: states of any transaction that it can never be SPENT, forges CLs, and repeats CLs and LDs at any time",
		behaviour: func(d draw.Source) adversary.Behaviour { return &adversary.ForgedCLs{Rate: d.Float(0.02, 0.2)} }},
	{name: "false-sign", among: 2, help: "Byzantine: signs LDs that it does not hold",
		behaviour: func(draw.Source) adversary.Behaviour { return &adversary.FalseSIGN{} }},
}

func catalogued(name string) *entry {
	if i := slices.IndexFunc(catalogue, func(e entry) bool { return e.name == name }); i >= 0 {
		return &catalogue[i]
	}
	return nil
}

// FaultNames lists the names of all disturbances and behaviours.
func FaultNames() []string {
	var names []string
	for i := range catalogue {
		names = append(names, catalogue[i].name)
	}
	return names
}

// FaultHelp is a description of a disturbance or behaviour in one line.
func FaultHelp(name string) string {
	if e := catalogued(name); e != nil {
		return e.help
	}
	return ""
}
