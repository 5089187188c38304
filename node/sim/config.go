package sim

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"bdtnode/internal/wan"
	"bdtnode/ledger"
	"bdtnode/node/admission"
	"bdtnode/node/sim/adversary"
	"bdtnode/node/sim/disturbance"
	"bdtnode/node/sim/machine"
	"bdtnode/protocols"
)

// Config is one run. It determines every event of the run.
type Config struct {
	Seed        uint64
	Shards      []Shard
	Active      time.Duration            // virtual time with load and disturbances
	Calm        time.Duration            // the last part of the active time, with disturbances and without load
	Settle      time.Duration            // virtual time after it, within which every transaction must have its answer
	Apart       time.Duration            // mean one-way delay between shards
	Load        float64                  // transactions a second of all clients together
	Bursts      bool                     // in a single shard load comes in bursts with pauses between them
	Once        bool                     // clients submit each transaction once, so that no answer depends on a resubmission
	Dumbo       bool                     // there is no fast lane
	Log         bool                     // the only shard orders opaque payloads in place of payments
	Ed25519     bool                     // production signatures and coin, in place of ideal ones
	Disruptions []disturbance.CrossShard // of the messages between shards
	forgotten   func(*world)             // called when all records are forgotten, for tests; may be nil
	started     func(*world)             // called before the machines start, for tests; may be nil
}

// Shard is the replicas of one shard and their disturbances.
type Shard struct {
	Nodes        int
	Delay        time.Duration     // mean one-way delay of a message; each link has its own, between half and twice this
	Links        [][]time.Duration // one-way delay from each replica to each, in place of Delay; nil is none
	WAN          *wan.Matrix       // matrix from which Links are, for the description; nil is none
	Slots        uint64            // of an epoch; 0 is the usual number
	Vouched      int               // entries of a batch from which on replicas vouch for its signatures; 0: they vouch for none
	Disturbances []disturbance.Disturbance
	Byzantine    []Byzantine
	Hostile      adversary.Hostile // LDs that it sends if more than f of its replicas are Byzantine, else nil
	Mempool      int               // maximal number of transactions in a replica's mempool; 0 is the usual number
	Coins        uint32            // of each account at genesis; 0 is the usual number
	mutation     machine.Mutation
}

// Byzantine is a Byzantine replica.
type Byzantine = machine.Byzantine

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
	if c.Log {
		s += ", a log of payloads"
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
	if x.WAN != nil {
		s = fmt.Sprintf(", %d replicas in %s", x.Nodes, strings.Join(x.WAN.Regions, ", "))
	}
	if x.Slots > 0 {
		s += fmt.Sprintf(", %d slots", x.Slots)
	}
	if x.Vouched > 0 {
		s += fmt.Sprintf(", vouches for batches from %d entries on", x.Vouched)
	}
	for _, f := range x.Disturbances {
		s += ", " + f.String()
	}
	for _, l := range x.Byzantine {
		s += fmt.Sprintf(", replica %d %s", l.Replica, l.Behaviour)
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
	case c.Log && len(c.Shards) > 1:
		return errors.New("a log is simulated in one shard")
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
	case len(x.Byzantine)+x.deaths() > x.faulty():
		return fmt.Errorf("%d of %d replicas are Byzantine or fail for good, at most %d may", len(x.Byzantine)+x.deaths(), x.Nodes, x.faulty())
	}
	var seen protocols.Set
	for _, l := range x.Byzantine {
		if int(l.Replica) >= x.Nodes || !seen.Add(l.Replica) {
			return fmt.Errorf("replica %d of the Byzantine ones does not exist, or is named twice", l.Replica)
		}
	}
	return nil
}

// faulty is the number of replicas that may be Byzantine or fail for good.
func (x *Shard) faulty() int { return (x.Nodes - 1) / 3 }

// machines is the configuration of the shard's machines.
func (x *Shard) machines() machine.ShardConfig {
	limits := admission.StandardLimits()
	if x.Mempool > 0 {
		limits.Txs = x.Mempool
	}
	return machine.ShardConfig{
		Replicas: x.Nodes, Delay: x.Delay, Links: x.Links, Slots: x.Slots, Vouched: x.Vouched, Limits: limits, Byzantine: x.Byzantine,
		Hostile: x.Hostile, Mutation: x.mutation,
	}
}

// places is the number of nodes: twins are two.
func (x *Shard) places() int {
	m := x.machines()
	return m.Places()
}

// deaths is the number of replicas that go down for good.
func (x *Shard) deaths() int {
	n := 0
	for _, f := range x.Disturbances {
		switch f.(type) {
		case disturbance.LeaderDies, disturbance.LosesDisk, disturbance.OldStore:
			n++
		}
	}
	return n
}
