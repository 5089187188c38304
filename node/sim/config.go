package sim

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"bdtnode/protocols"
)

// Config is one run. Everything follows from it.
type Config struct {
	Seed     uint64
	Nodes    int           // replicas of the shard
	Active   time.Duration // virtual time in which there is load and there are faults
	Settle   time.Duration // virtual time after it in which everything must have its answer
	Delay    time.Duration // mean one-way delay of a message; each link has its own between half and twice of it
	Load     float64       // transactions a second of all clients together
	Ed25519  bool          // production signatures, in place of ideal ones
	Faults   []Fault
	Liars    []Liar
	Bursts   bool   // load comes in bursts with pauses between them
	Dumbo    bool   // there is no fast lane
	Slots    uint64 // of an epoch; 0 is the usual number
	among    int    // shards in the network, 0 or 1 if this is the only one
	mutation mutation
}

// Liar is a Byzantine replica.
type Liar struct {
	Replica   protocols.Index
	Adversary Adversary
}

// Fault disturbs a run while it is active. Safety must hold under all of them, and liveness once they stop.
type Fault interface {
	String() string
	start(s *Sim)
}

// Adversary decides what a Byzantine replica says instead of what its honest core wants to say. Liveness must hold
// whatever it is.
type Adversary interface {
	String() string
	// tamper returns what goes to a peer in place of m.
	tamper(n *node, to protocols.Index, m protocols.Message) []packet
}

// listener is an adversary that makes use of what its replica is told.
type listener interface {
	hear(n *node, from protocols.Index, m protocols.Message)
}

// mutation breaks the simulator's carrying out of steps, for tests that see the checks fail.
type mutation struct {
	persist   func([]protocols.Record) []protocols.Record
	sendEarly bool // messages leave before the disk has their records
}

// Scenario makes the run of a seed: size, delays, load, faults and Byzantine replicas all follow from it.
func Scenario(seed uint64) Config {
	rng := rand.New(rand.NewPCG(seed, 0x5ce9a810))
	cfg := Config{
		Seed: seed, Nodes: []int{4, 4, 4, 5, 6, 7}[rng.IntN(6)],
		Active: 40 * time.Second, Settle: 40 * time.Second, // several times the longest patience
		Delay:  time.Duration(1+rng.IntN(60)) * time.Millisecond,
		Load:   2 + 10*rng.Float64(),
		Bursts: rng.IntN(3) == 0,
	}
	every := func(from, to int) time.Duration { return time.Duration(from+rng.IntN(to-from)) * time.Millisecond }
	for _, f := range []Fault{
		Crashes{Every: every(1500, 9000), Down: every(100, 6000)},
		PowerCuts{Every: every(5000, 20000), Down: every(50, 1000)},
		LinkBreaks{Every: every(200, 3000)},
		Partitions{Every: every(2000, 15000), Lasts: every(300, 5000)},
		Duplication{Rate: 0.02 + 0.2*rng.Float64()},
		Reordering{Rate: 0.02 + 0.3*rng.Float64()},
		ClockSkew{Max: every(1, 240)},
		SlowDisks{Mean: every(5, 60)},
		SlowExecution{Mean: every(5, 100)},
	} {
		if rng.IntN(2) == 0 {
			cfg.Faults = append(cfg.Faults, f)
		}
	}
	cfg.Dumbo = rng.IntN(5) == 0
	if rng.IntN(3) == 0 {
		cfg.Slots = uint64(3 + rng.IntN(60))
	}
	all := []Adversary{&Silent{}, &FalseLeaving{}, &Withholding{}, &Garbage{Rate: 0.01}, &DoubleVoting{}, &Forging{Rate: 0.01}, &EquivocatingLane{}, &EquivocatingLeader{}}
	spare := (cfg.Nodes - 1) / 3 // how many may be Byzantine or dead
	switch rng.IntN(4) {
	case 0:
		for range 1 + rng.IntN(spare) {
			spare--
			cfg.Faults = append(cfg.Faults, LeaderDies{After: every(500, 35000)})
		}
	case 1:
		cfg.Faults = append(cfg.Faults, SlowLeader{Min: time.Second, Max: every(1000, 10000)})
	}
	if rng.IntN(2) == 0 && spare > 0 {
		for _, i := range rng.Perm(cfg.Nodes)[:1+rng.IntN(spare)] {
			cfg.Liars = append(cfg.Liars, Liar{protocols.Index(i), all[rng.IntN(len(all))]})
		}
	}
	return cfg
}

// String names the run in one line.
func (c Config) String() string {
	s := fmt.Sprintf("seed %d: %d replicas, delay %v, load %.1f/s", c.Seed, c.Nodes, c.Delay, c.Load)
	for _, f := range c.Faults {
		s += ", " + f.String()
	}
	if c.Dumbo {
		s += ", no fast lane"
	}
	if c.Slots > 0 {
		s += fmt.Sprintf(", %d slots", c.Slots)
	}
	for _, l := range c.Liars {
		s += fmt.Sprintf(", replica %d %s", l.Replica, l.Adversary)
	}
	return s
}

func (c *Config) validate() error {
	switch {
	case c.Nodes < protocols.MinReplicas || c.Nodes > protocols.MaxReplicas:
		return fmt.Errorf("a shard of %d replicas, want %d to %d", c.Nodes, protocols.MinReplicas, protocols.MaxReplicas)
	case c.Active <= 0 || c.Settle <= 0:
		return errors.New("the active and the settling time must be above 0")
	case c.Delay <= 0:
		return errors.New("the delay of messages must be above 0")
	case c.Load < 0:
		return errors.New("the load cannot be negative")
	case len(c.Liars)+c.deaths() > (c.Nodes-1)/3:
		return fmt.Errorf("%d of %d replicas are Byzantine or die, at most %d may", len(c.Liars)+c.deaths(), c.Nodes, (c.Nodes-1)/3)
	}
	var seen protocols.Set
	for _, l := range c.Liars {
		if int(l.Replica) >= c.Nodes || !seen.Add(l.Replica) {
			return fmt.Errorf("liar %d is no replica or named twice", l.Replica)
		}
	}
	return nil
}

// deaths is how many replicas go down for good.
func (c *Config) deaths() int {
	n := 0
	for _, f := range c.Faults {
		if _, ok := f.(LeaderDies); ok {
			n++
		}
	}
	return n
}
