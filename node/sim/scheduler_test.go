package sim

import (
	"fmt"
	"testing"
	"time"

	"bdtnode/node/sim/disturbance"
	"bdtnode/node/sim/network"
	"bdtnode/node/sim/scheduler"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
)

// rounds runs some seeds without a fast lane.
func rounds(t *testing.T, n, seeds int, disturbances ...disturbance.Disturbance) Rounds {
	t.Helper()
	var all Rounds
	for seed := range uint64(seeds) {
		cfg := undisturbed(seed+1, n, disturbances...)
		cfg.Dumbo, cfg.Active = true, 15*time.Second
		r, err := Run(t.Context(), cfg, nil)
		if err != nil {
			report(t, err)
			return all
		}
		all.Add(r.Agreements)
	}
	return all
}

// TestSchedulerRounds: a scheduler makes agreements take more rounds, about n/(n-f) on average. That is the maximum: a
// replica that releases a share knows of n-f complete broadcasts, and the coin elects one of these with probability
// (n-f)/n.
func TestSchedulerRounds(t *testing.T) {
	for _, n := range []int{4, 7} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			quiet := rounds(t, n, 3)
			starved := rounds(t, n, 3, scheduler.Scheduler{Patience: 3 * time.Second, Tactics: []scheduler.Tactic{scheduler.StarveBroadcasts{}}})
			split := rounds(t, n, 3, scheduler.Scheduler{Patience: 3 * time.Second, Tactics: []scheduler.Tactic{scheduler.SplitViews{}}})
			t.Logf("n=%d: %.3f rounds undisturbed, %.3f starved (at most %d, of %d), %.3f split", n, quiet.Mean(), starved.Mean(), starved.Max, starved.Agreements, split.Mean())
			if quiet.Mean() > 1.1 || starved.Mean() < quiet.Mean()+0.2 || split.Mean() < quiet.Mean()+0.02 {
				t.Errorf("%.3f rounds starved and %.3f split, %.3f undisturbed", starved.Mean(), split.Mean(), quiet.Mean())
			}
			most := float64(n)/float64(n-(n-1)/3) + 0.25 // some 5 standard deviations of the mean
			for _, r := range []Rounds{starved, split} {
				if r.Mean() > most || r.Max > 30 {
					t.Errorf("%.3f rounds, at most %d, want a mean below %.2f", r.Mean(), r.Max, most)
				}
			}
		})
	}
}

// watching is a tactic that records the state of a lone replica when others leave its epoch.
type watching struct {
	scheduler.LoneReplica
	ahead map[uint64]bool // epochs in which it had committed, or certified, a block that another replica lacked when it left
}

func (t watching) Until(k *scheduler.Scheduling, f *network.Flight) protocols.Time {
	if x, ok := f.Packet.Message.(*bdt.Status); ok {
		one, other := k.Shard().Machines[k.Lone(x.Epoch)], k.Shard().Machines[f.From]
		if one != other && one.Status().Epoch == x.Epoch && one.Status().Committed > other.Status().Committed {
			t.ahead[x.Epoch] = true
		}
	}
	return t.LoneReplica.Until(k, f)
}

// TestLoneReplica: repeatedly one replica alone commits, and the others leave without knowing of it. The committed
// blocks remain.
func TestLoneReplica(t *testing.T) {
	ahead := 0
	for seed := range uint64(4) {
		x := watching{scheduler.LoneReplica{Finalizes: true}, make(map[uint64]bool)}
		cfg := undisturbed(seed+1, []int{4, 7}[seed%2], scheduler.Scheduler{Patience: 5 * time.Second, Tactics: []scheduler.Tactic{x}})
		if _, err := Run(t.Context(), cfg, nil); err != nil {
			report(t, err)
		}
		ahead += len(x.ahead)
	}
	if ahead < 4 {
		t.Errorf("in %d epochs did one replica commit alone, want 4 or more", ahead)
	}
}

// TestSchedulerAndAdversaries: with a scheduler and f Byzantine replicas every accepted transaction gets its answer, with and
// without the fast lane. The shard commits while both are active.
func TestSchedulerAndAdversaries(t *testing.T) {
	for k, list := range []string{"scheduler,silent", "scheduler,false-leaving", "scheduler,equivocating-leader", "scheduler,double-votes"} {
		for _, consensus := range []string{"bdt", "dumbo"} {
			p := Plan{Shards: 1, Nodes: []int{4, 7}, For: 60 * time.Second, Consensus: consensus, Load: 6, Delay: 15 * time.Millisecond}
			if err := p.ParseFaults(list); err != nil {
				t.Fatal(err)
			}
			cfg, err := p.Scenario(uint64(k + 1))
			if err != nil {
				t.Fatal(err)
			}
			t.Run(list+" "+consensus, func(t *testing.T) {
				t.Parallel()
				during := uint64(0)
				_, err := Run(t.Context(), cfg, func(e Event) {
					if h, ok := e.Detail.(uint64); ok && e.What == "executed" && e.At < cfg.Active {
						during = max(during, h)
					}
				})
				if err != nil {
					report(t, err)
				}
				if during < 2 {
					t.Errorf("height %d when faults ended, want more", during)
				}
			})
		}
	}
}
