package sim

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"testing"
	"time"

	"bdtnode/node/sim/adversary"
	"bdtnode/node/sim/disturbance"
)

var (
	seeds   = flag.Int("sim.seeds", 40, "how many seeds TestSweep runs")
	first   = flag.Uint64("sim.first", 1, "the first of them")
	tracing = flag.Bool("sim.events", false, "print the last events of a violation")
)

func TestMain(m *testing.M) {
	flag.Parse()
	debug.SetGCPercent(400) // a run allocates much short-lived memory
	os.Exit(m.Run())
}

// alone is the run of a seed with one shard, and that shard.
func alone(seed uint64) (Config, *Shard) {
	p := Plan{Shards: 1, Nodes: []int{4, 4, 4, 5, 6, 7}, All: true, For: 40 * time.Second}
	cfg, err := p.Scenario(seed)
	if err != nil {
		panic(err)
	}
	return cfg, &cfg.Shards[0]
}

func report(t *testing.T, err error) {
	t.Helper()
	var v *Violation
	if errors.As(err, &v) && *tracing {
		t.Errorf("%s", v.Story())
		return
	}
	t.Error(err)
}

func TestSweep(t *testing.T) {
	run := func(seed uint64) Config { cfg, _ := alone(seed); return cfg }
	sweep(t, *seeds, run, func(r *Report) string {
		return fmt.Sprintf("height %d, %d epochs, %d fallbacks, %.2f rounds, %d settled, %d rejected, %d crashes, %d refused",
			r.Commits, r.Epochs, r.Fallbacks, r.Agreements.Mean(), r.Settled, r.Rejected, r.Crashes, r.Refused)
	})
}

// sweep runs so many seeds, each as a test, and logs a line about each result.
func sweep(t *testing.T, seeds int, run func(seed uint64) Config, line func(r *Report) string) {
	t.Helper()
	for k := range seeds {
		cfg := run(*first + uint64(k))
		t.Run(cfg.String(), func(t *testing.T) {
			t.Parallel()
			begun := time.Now()
			r, err := Run(t.Context(), cfg, nil)
			if err != nil {
				report(t, err)
				return
			}
			t.Logf("%v: %s, %d events, %s", time.Since(begun).Round(time.Millisecond), line(r), r.Events, r.Hash.Short())
		})
	}
}

// TestReplay: one seed gives one run, event by event.
func TestReplay(t *testing.T) {
	for _, seed := range []uint64{3, 17, 41} {
		hashes := make(map[string]bool)
		for range 2 {
			again, _ := alone(seed) // adversaries keep state
			again.Active = 6 * time.Second
			r, err := Run(t.Context(), again, nil)
			if err != nil {
				report(t, err)
				return
			}
			hashes[r.Hash.String()] = true
		}
		if len(hashes) != 1 {
			t.Errorf("seed %d gave two traces", seed)
		}
		other, _ := alone(seed)
		other.Active, other.Seed = 6*time.Second, seed+1
		if r, err := Run(t.Context(), other, nil); err != nil {
			report(t, err)
		} else if hashes[r.Hash.String()] {
			t.Errorf("seeds %d and %d gave one trace", seed, seed+1)
		}
	}
}

// TestEd25519 runs the production signatures.
func TestEd25519(t *testing.T) {
	cfg, x := alone(7)
	cfg.Active, cfg.Load, cfg.Ed25519, cfg.Bursts = 3*time.Second, 10, true, false
	x.Nodes = 4
	x.Disturbances = []disturbance.Disturbance{disturbance.Crashes{Every: time.Second, Down: 300 * time.Millisecond}, disturbance.Duplication{Rate: 0.1}}
	x.Byzantine = []Byzantine{{Replica: 2, Behaviour: &adversary.Forging{Rate: 0.05}}}
	r, err := Run(t.Context(), cfg, nil)
	if err != nil {
		report(t, err)
	} else if r.Settled == 0 || r.Refused == 0 {
		t.Errorf("%d settled, %d refused, want some of both", r.Settled, r.Refused)
	}
}

// TestConfigRefused: a configuration without guarantees is refused before it runs.
func TestConfigRefused(t *testing.T) {
	for name, spoil := range map[string]func(*Config){
		"too few replicas": func(c *Config) { c.Shards[0].Nodes = 3 },
		"too many Byzantine replicas": func(c *Config) {
			c.Shards[0].Byzantine = []Byzantine{{Replica: 1, Behaviour: &adversary.Garbage{}}, {Replica: 2, Behaviour: &adversary.Garbage{}}}
		},
		"a Byzantine replica twice": func(c *Config) {
			c.Shards[0].Nodes, c.Shards[0].Byzantine = 7, []Byzantine{{Replica: 1, Behaviour: &adversary.Garbage{}}, {Replica: 1, Behaviour: &adversary.Garbage{}}}
		},
		"an unknown Byzantine replica": func(c *Config) { c.Shards[0].Byzantine = []Byzantine{{Replica: 4, Behaviour: &adversary.Garbage{}}} },
		"no delay":                     func(c *Config) { c.Shards[0].Delay = 0 },
		"no time":                      func(c *Config) { c.Active = 0 },
		"no time to settle":            func(c *Config) { c.Settle = 0 },
		"negative load":                func(c *Config) { c.Load = -1 },
		"no shard":                     func(c *Config) { c.Shards = nil },
		"no way between":               func(c *Config) { c.Apart = 0 },
		"nothing between": func(c *Config) {
			c.Shards, c.Disruptions = c.Shards[:1], []disturbance.CrossShard{disturbance.GossipLoss{}}
		},
	} {
		cfg := Config{
			Seed: 1, Active: time.Second, Settle: time.Second, Apart: time.Millisecond,
			Shards: []Shard{{Nodes: 4, Delay: time.Millisecond}, {Nodes: 4, Delay: time.Millisecond}},
		}
		spoil(&cfg)
		if _, err := Run(t.Context(), cfg, nil); err == nil {
			t.Errorf("%s: ran", name)
		}
	}
}
