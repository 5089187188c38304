package sim

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"bdtnode/ledger"
	"bdtnode/protocols"
)

// NetworkConfig is one run of several shards. Everything follows from it.
type NetworkConfig struct {
	Seed   uint64
	Shards []Config      // replicas, delays, faults and liars of each; the rest is the network's
	Active time.Duration // virtual time in which there is load and there are faults
	Calm   time.Duration // the end of the active time, in which there are faults and no load
	Settle time.Duration // virtual time after it in which everything must have its answer
	Delay  time.Duration // mean one-way delay between shards
	Load   float64       // transactions a second of all clients together
	Faults []NetworkFault

	Ed25519 bool // production signatures, in place of ideal ones
}

// NetworkFault disturbs what passes between shards while the run is active.
type NetworkFault interface {
	String() string
	begin(w *world)
}

// NetworkScenario makes the run of a seed: delays, load, faults and Byzantine replicas in and between three shards of
// four all follow from it.
func NetworkScenario(seed uint64) NetworkConfig {
	rng := rand.New(rand.NewPCG(seed, 0x5ce9a811))
	every := func(from, to int) time.Duration { return time.Duration(from+rng.IntN(to-from)) * time.Millisecond }
	cfg := NetworkConfig{
		Seed: seed, Active: 60 * time.Second, Settle: 90 * time.Second,
		Delay: every(1, 150), Load: 1 + 4*rng.Float64(),
	}
	if rng.IntN(2) == 0 {
		cfg.Calm = every(500, 20000)
	}
	for _, f := range []NetworkFault{
		GossipLoss{Rate: rng.Float64()},
		GossipBursts{Every: every(1000, 10000), Lasts: every(100, 8000)},
		GossipDuplication{Rate: rng.Float64()},
		ShardPartitions{Every: every(4000, 20000), Lasts: every(500, 8000)},
		ShardOutages{Every: every(8000, 30000), Down: every(100, 4000)},
	} {
		if rng.IntN(2) == 0 {
			cfg.Faults = append(cfg.Faults, f)
		}
	}
	if rng.IntN(8) == 0 {
		cfg.Faults = append(cfg.Faults, GossipLoss{Rate: 1})
	}
	liars := []func() Adversary{
		func() Adversary { return &Hermit{} }, func() Adversary { return &Hermit{} }, func() Adversary { return &ForgedLDs{Rate: 0.3} },
		func() Adversary { return &ForgedLDs{Rate: 0.3} }, func() Adversary { return &FalseSIGN{} }, func() Adversary { return &FalseSIGN{} },
		func() Adversary { return &Withholding{} }, func() Adversary { return &Garbage{Rate: 0.01} }, func() Adversary { return &DoubleVoting{} },
		func() Adversary { return &Forging{Rate: 0.01} }, func() Adversary { return &EquivocatingLane{} },
		func() Adversary { return &EquivocatingLeader{} }, func() Adversary { return &Silent{} },
	}
	for range 3 {
		c := Config{Nodes: 4, Delay: every(1, 40)}
		for _, f := range []Fault{
			Crashes{Every: every(1500, 9000), Down: every(100, 6000)},
			LinkBreaks{Every: every(500, 5000)},
			Partitions{Every: every(4000, 15000), Lasts: every(300, 4000)},
			Duplication{Rate: 0.2 * rng.Float64()},
			Reordering{Rate: 0.3 * rng.Float64()},
			ClockSkew{Max: every(1, 240)},
			SlowDisks{Mean: every(2, 40)},
			SlowExecution{Mean: every(2, 100)},
		} {
			if rng.IntN(3) == 0 {
				c.Faults = append(c.Faults, f)
			}
		}
		if rng.IntN(3) == 0 {
			c.Slots = uint64(3 + rng.IntN(60))
		}
		switch rng.IntN(8) { // one of four may be Byzantine or dead
		case 0:
			c.Faults = append(c.Faults, LeaderDies{After: every(500, 50000)})
		case 1:
			c.Faults = append(c.Faults, SlowLeader{Min: time.Second, Max: every(1000, 10000)})
		case 2, 3, 4, 5:
			c.Liars = []Liar{{protocols.Index(rng.IntN(c.Nodes)), liars[rng.IntN(len(liars))]()}}
		}
		cfg.Shards = append(cfg.Shards, c)
	}
	return cfg
}

// String names the run in one line.
func (c NetworkConfig) String() string {
	s := fmt.Sprintf("seed %d: %d shards, %v apart, load %.1f/s", c.Seed, len(c.Shards), c.Delay, c.Load)
	for _, f := range c.Faults {
		s += ", " + f.String()
	}
	for k := range c.Shards {
		x := &c.Shards[k]
		s += fmt.Sprintf("; shard %d: %d replicas, delay %v", k, x.Nodes, x.Delay)
		for _, f := range x.Faults {
			s += ", " + f.String()
		}
		if x.Slots > 0 {
			s += fmt.Sprintf(", %d slots", x.Slots)
		}
		for _, l := range x.Liars {
			s += fmt.Sprintf(", replica %d %s", l.Replica, l.Adversary)
		}
	}
	return s
}

// complete fills in the shards' configurations and checks them.
func (c *NetworkConfig) complete() error {
	switch {
	case len(c.Shards) < 2 || len(c.Shards) > ledger.MaxShards:
		return fmt.Errorf("a network of %d shards, want 2 to %d", len(c.Shards), ledger.MaxShards)
	case c.Delay <= 0:
		return errors.New("the delay between shards must be above 0")
	case c.Load < 0:
		return errors.New("the load cannot be negative")
	}
	for k := range c.Shards {
		x := &c.Shards[k]
		x.Seed, x.Active, x.Settle, x.Load, x.among = c.Seed, c.Active, c.Settle, 0, len(c.Shards)
		if err := x.validate(); err != nil {
			return fmt.Errorf("shard %d: %w", k, err)
		}
	}
	return nil
}
