package sim

import (
	"errors"
	"fmt"
	"time"

	"bdtnode/ledger"
	"bdtnode/node/admission"
	"bdtnode/protocols"
)

// Config is one run. It determines every event of the run.
type Config struct {
	Seed        uint64
	Shards      []Shard
	Active      time.Duration // virtual time with load and faults
	Calm        time.Duration // the last part of the active time, with faults and without load
	Settle      time.Duration // virtual time after it, within which every transaction must have its answer
	Apart       time.Duration // mean one-way delay between shards
	Load        float64       // transactions a second of all clients together
	Bursts      bool          // in a single shard load comes in bursts with pauses between them
	Once        bool          // clients submit each transaction once, so that no answer depends on a resubmission
	Dumbo       bool          // there is no fast lane
	Ed25519     bool          // production signatures and coin, in place of ideal ones
	Disruptions []Disruption  // of the messages between shards
}

// Shard is the replicas of one shard and their faults.
type Shard struct {
	Nodes    int
	Delay    time.Duration     // mean one-way delay of a message; each link has its own, between half and twice this
	Links    [][]time.Duration // one-way delay from each replica to each, in place of Delay; nil is none
	Slots    uint64            // of an epoch; 0 is the usual number
	Faults   []Fault
	Liars    []Liar
	Hostile  Hostile // LDs that it sends if more than f of its replicas are Byzantine, else nil
	Mempool  int     // maximal number of transactions in a replica's mempool; 0 is the usual number
	Coins    uint32  // of each account at genesis; 0 is the usual number
	mutation mutation
}

// Liar is a Byzantine replica.
type Liar struct {
	Replica   protocols.Index
	Adversary Adversary
}

// Fault disturbs the replicas of a shard while the run is active. Safety must hold under all of them, and liveness once
// they stop.
type Fault interface {
	String() string
	start(s *cluster)
}

// Disruption disturbs messages between shards while the run is active.
type Disruption interface {
	String() string
	begin(w *world)
}

// Adversary decides which messages a Byzantine replica sends in place of those of its honest core. Liveness must hold
// against every adversary.
type Adversary interface {
	String() string
	// tamper returns the frames that a peer gets in place of m.
	tamper(n *node, to protocols.Index, m protocols.Message) []packet
}

// listener is an adversary that uses the messages that its replica receives.
type listener interface {
	hear(n *node, from protocols.Index, m protocols.Message)
}

// mutation makes the simulator carry out steps wrongly, for tests that show that the checks can fail.
type mutation struct {
	persist   func([]protocols.Record) []protocols.Record
	sendEarly bool // messages leave before their records are on disk
}

// String describes the run in one line.
func (c Config) String() string {
	s := fmt.Sprintf("seed %d: ", c.Seed)
	if len(c.Shards) > 1 {
		s += fmt.Sprintf("%d shards %v apart, ", len(c.Shards), c.Apart)
	}
	s += fmt.Sprintf("load %.1f/s", c.Load)
	if c.Bursts {
		s += " in bursts"
	}
	if c.Once {
		s += ", clients submit each transaction once"
	}
	if c.Dumbo {
		s += ", no fast lane"
	}
	for _, f := range c.Disruptions {
		s += ", " + f.String()
	}
	for k := range c.Shards {
		if len(c.Shards) > 1 {
			s += fmt.Sprintf("; shard %d", k)
		}
		s += c.Shards[k].describe()
	}
	return s
}

func (x *Shard) describe() string {
	s := fmt.Sprintf(", %d replicas, delay %v", x.Nodes, x.Delay)
	if x.Slots > 0 {
		s += fmt.Sprintf(", %d slots", x.Slots)
	}
	for _, f := range x.Faults {
		s += ", " + f.String()
	}
	for _, l := range x.Liars {
		s += fmt.Sprintf(", replica %d %s", l.Replica, l.Adversary)
	}
	if x.Hostile != nil {
		s += ", " + x.Hostile.String()
	}
	return s
}

func (c *Config) validate() error {
	switch {
	case len(c.Shards) < 1 || len(c.Shards) > ledger.MaxShards:
		return fmt.Errorf("a network of %d shards, want 1 to %d", len(c.Shards), ledger.MaxShards)
	case c.Active <= 0 || c.Settle <= 0:
		return errors.New("the active and the settling time must be above 0")
	case len(c.Shards) > 1 && c.Apart <= 0:
		return errors.New("the delay between shards must be above 0")
	case len(c.Shards) == 1 && len(c.Disruptions) > 0:
		return fmt.Errorf("%v: that takes two shards or more", c.Disruptions[0])
	case !(c.Load >= 0):
		return errors.New("the load cannot be negative")
	}
	for k := range c.Shards {
		if err := c.Shards[k].validate(); err != nil {
			return fmt.Errorf("shard %d: %w", k, err)
		}
	}
	return nil
}

func (x *Shard) validate() error {
	switch {
	case x.Nodes < protocols.MinReplicas || x.Nodes > protocols.MaxReplicas:
		return fmt.Errorf("%d replicas, want %d to %d", x.Nodes, protocols.MinReplicas, protocols.MaxReplicas)
	case x.Links != nil && len(x.Links) != x.places():
		return fmt.Errorf("delays of %d replicas, there are %d", len(x.Links), x.places())
	case x.Delay <= 0:
		return errors.New("the delay of messages must be above 0")
	case len(x.Liars)+x.deaths() > x.faulty():
		return fmt.Errorf("%d of %d replicas are Byzantine or fail for good, at most %d may", len(x.Liars)+x.deaths(), x.Nodes, x.faulty())
	}
	var seen protocols.Set
	for _, l := range x.Liars {
		if int(l.Replica) >= x.Nodes || !seen.Add(l.Replica) {
			return fmt.Errorf("replica %d of the Byzantine ones does not exist, or is named twice", l.Replica)
		}
	}
	return nil
}

// faulty is the number of replicas that may be Byzantine or fail for good.
func (x *Shard) faulty() int { return (x.Nodes - 1) / 3 }

// limits are those of the replicas' admission checks.
func (x *Shard) limits() admission.Limits {
	l := admission.StandardLimits()
	if x.Mempool > 0 {
		l.Txs = x.Mempool
	}
	return l
}

// places is the number of nodes: twins are two.
func (x *Shard) places() int {
	n := x.Nodes
	for _, l := range x.Liars {
		if twinned(l.Adversary) {
			n++
		}
	}
	return n
}

// deaths is the number of replicas that go down for good.
func (x *Shard) deaths() int {
	n := 0
	for _, f := range x.Faults {
		switch f.(type) {
		case LeaderDies, LosesDisk, OldStore:
			n++
		}
	}
	return n
}
