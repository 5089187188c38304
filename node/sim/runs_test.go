package sim

import (
	"fmt"
	"testing"
	"time"

	"bdtnode/node/sim/clock"
	"bdtnode/node/sim/disturbance"
	"bdtnode/node/sim/machine"
	"bdtnode/node/sim/network"
)

// quietNetwork is a network of shards of four replicas without load and faults.
func quietNetwork(shards int) Config {
	cfg := Config{Seed: 1, Active: time.Second, Settle: settleAmong, Apart: 20 * time.Millisecond}
	for range shards {
		cfg.Shards = append(cfg.Shards, Shard{Nodes: 4, Delay: 5 * time.Millisecond, Coins: 24})
	}
	return cfg
}

// heights are the heights of the shards.
func (w *world) heights() []uint64 {
	out := make([]uint64, len(w.Shards))
	for k, s := range w.Shards {
		for _, n := range s.Machines {
			if n.Alive() {
				out[k] = max(out[k], n.Height())
			}
		}
	}
	return out
}

// members are the shards of a mask.
func members(mask int) (out []uint16) {
	for s := uint16(0); mask>>s > 0; s++ {
		if mask>>s&1 == 1 {
			out = append(out, s)
		}
	}
	return out
}

// TestConsensusRuns counts the blocks for one transaction after the other, with 1 to 3 input and 1 to 3 output shards, among
// three shards and among six with disjoint sets. Each input shard gives its verdict in one block, and each output shard
// creates its outputs in one block: x + y blocks, of which an output shard that is also an input shard may do both in one. A
// transaction whose input was consumed in one shard is cancelled by a CL, and no shard makes a block for it.
func TestConsensusRuns(t *testing.T) {
	t.Parallel()
	type combination struct{ in, out int }
	for shards, all := range map[int][]combination{3: nil, 6: nil} {
		if shards == 3 {
			for in := 1; in < 8; in++ {
				for out := 1; out < 8; out++ {
					if in != out || len(members(in)) > 1 {
						all = append(all, combination{in, out})
					}
				}
			}
		} else {
			for x := 1; x <= 3; x++ {
				for y := 1; y <= 3; y++ {
					all = append(all, combination{1<<x - 1, (1<<y - 1) << x})
				}
			}
		}
		t.Run(fmt.Sprint(shards), func(t *testing.T) {
			t.Parallel()
			w, err := newWorld(t.Context(), quietNetwork(shards))
			if err != nil {
				t.Fatal(err)
			}
			w.begin()
			at := clock.Begin
			play := func(d time.Duration) {
				at = at.Add(d)
				if w.play(at); w.violation != nil {
					t.Fatal(w.violation)
				}
			}
			play(time.Second)
			for _, c := range all {
				x, y := len(members(c.in)), len(members(c.out))
				name := fmt.Sprintf("inputs %v, outputs %v", members(c.in), members(c.out))
				tx := w.workload.Across(members(c.in), members(c.out))
				for _, s := range members(c.in) {
					w.workload.Submit(w.Shards[s].Machines[0], tx)
				}
				play(5 * time.Second)
				verdicts, settled := w.checks.Blocks(tx.ID())
				if verdicts != x || settled != y {
					t.Errorf("%s: %d blocks gave a verdict and %d created outputs, want %d and %d", name, verdicts, settled, x, y)
				}
				if x == 1 {
					continue // no shard has anything in escrow that a CL of another could end, and none needs it
				}
				source := members(c.in)[x-1]
				tx = w.workload.Across(members(c.in), members(c.out))
				w.workload.Submit(w.Shards[source].Machines[0], w.workload.Rival(tx, source))
				play(5 * time.Second)
				before := w.heights()
				w.workload.Submit(w.Shards[source].Machines[1], tx) // it is refused, and cancelled
				play(time.Second)
				for _, s := range members(c.in)[:x-1] {
					w.workload.Submit(w.Shards[s].Machines[0], tx)
				}
				play(5 * time.Second)
				verdicts, settled = w.checks.Blocks(tx.ID())
				if after := w.heights(); verdicts+settled != 0 || fmt.Sprint(before) != fmt.Sprint(after) {
					t.Errorf("%s, cancelled: %d blocks gave a verdict, %d created outputs, heights %v before and %v after", name, verdicts, settled, before, after)
				}
			}
			if r := w.report(); r.Cancelled == 0 || r.ReturnedByCL+r.ReturnedByVerdict > 0 {
				t.Errorf("%d cancelled, %d returned by a CL, %d by a verdict", r.Cancelled, r.ReturnedByCL, r.ReturnedByVerdict)
			}
		})
	}
}

// TestCrashBetweenSteps crashes each replica of each shard of the worked example in turn, between two of its steps, and
// starts it again. Inputs are in shards 1 and 2, the one in shard 1 is consumed, the output is in shard 0. With -sim.seeds
// above 40 every step is tried, else some.
func TestCrashBetweenSteps(t *testing.T) {
	t.Parallel()
	stride := 47
	if *seeds > 40 {
		stride = 1
	}
	runs, returned := 0, 0
	for shard := range 3 {
		for replica := range 4 {
			for step := (shard*4 + replica) % stride; ; step += stride {
				cfg := quietNetwork(3)
				cfg.Active = 8 * time.Second
				crashed := false
				cfg.started = func(w *world) {
					left := step
					w.Shards[shard].CrashPoint = func(n *machine.Machine) bool {
						if crashed || !w.Active || int(n.ID()) != replica {
							return false
						}
						if left--; left >= 0 {
							return false
						}
						crashed = true
						n.Fall(300 * time.Millisecond)
						return !n.Alive()
					}
					w.After(time.Second, func() {
						tx := w.workload.Across([]uint16{1, 2}, []uint16{0})
						w.workload.Submit(w.Shards[1].Machines[0], w.workload.Rival(tx, 1))
						w.After(200*time.Millisecond, func() { // in some runs shard 2 orders it before the CL comes
							w.workload.Submit(w.Shards[1].Machines[1], tx)
							w.workload.Submit(w.Shards[2].Machines[2], tx)
						})
					})
				}
				r, err := Run(t.Context(), cfg, nil)
				if err != nil {
					report(t, fmt.Errorf("replica %d of shard %d crashed after %d steps: %w", replica, shard, step, err))
					return
				}
				runs++
				returned += r.ReturnedByCL + r.ReturnedByVerdict
				if !crashed {
					break // it has fewer steps
				}
			}
		}
	}
	t.Logf("%d runs, in %d of them escrow was returned", runs, returned)
}

// TestReplaysChangeNothing gives the replicas every LD and CL of the run again: at any time during the run, also after
// restarts, and after all records were forgotten. Then no shard makes a block for them.
func TestReplaysChangeNothing(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2) {
		cfg := networkStories["conflicts"](seed)
		cfg.Disruptions = append(cfg.Disruptions, disturbance.GossipLoss{Rate: 0.3})
		for k := range cfg.Shards {
			cfg.Shards[k] = Shard{Nodes: 4, Delay: 5 * time.Millisecond, Disturbances: []disturbance.Disturbance{
				disturbance.Crashes{Every: 3 * time.Second, Down: 300 * time.Millisecond}, disturbance.PowerCuts{Every: 7 * time.Second, Down: 200 * time.Millisecond},
			}}
		}
		type packet struct {
			from, to *machine.Machine
			network.Packet
		}
		var seen []packet
		again := func(w *world) {
			for _, p := range seen {
				w.Gossip(p.from, p.to, p.Packet)
			}
		}
		cfg.started = func(w *world) {
			known := make(map[string]bool)
			w.Gossiped = func(from, to *machine.Machine, p network.Packet) {
				key := fmt.Sprint(to.Shard(), to.ID()) + string(p.Frame)
				if !known[key] {
					known[key] = true
					seen = append(seen, packet{from, to, p})
				}
			}
			w.Repeat(30*time.Millisecond, func() {
				if len(seen) > 0 {
					p := seen[w.Rand.IntN(len(seen))]
					w.Gossip(p.from, p.to, p.Packet)
				}
			})
		}
		ended := 0
		cfg.forgotten = func(w *world) {
			before := w.heights()
			again(w)
			w.play(w.Now().Add(10 * time.Second))
			if after := w.heights(); fmt.Sprint(before) != fmt.Sprint(after) {
				w.failed("channels", fmt.Sprintf("replays after the end: heights %v before, %v after", before, after))
			}
			if open := w.checks.Open(); open != "" {
				w.failed("channels", "replays after the end: "+open)
			}
			ended = len(seen)
		}
		r, err := Run(t.Context(), cfg, nil)
		if err != nil {
			report(t, err)
			return
		}
		t.Logf("%d LDs and CLs at receivers again; %d settled, %d cancelled, %d returned by a CL, %d by a verdict", ended, r.Settled, r.Cancelled, r.ReturnedByCL, r.ReturnedByVerdict)
		if ended == 0 {
			t.Error("nothing was given again")
		}
	}
}

// TestShardsApartForHours: two of three shards cannot reach each other for three hours. All go on with other transactions,
// the data that is stored for the other shard stays within its bounds, and everything settles afterwards.
func TestShardsApartForHours(t *testing.T) {
	t.Parallel()
	const apart = 3 * time.Hour
	cfg := quietNetwork(3)
	cfg.Active, cfg.Load, cfg.Settle = apart, 0.03, 3*settleAmong
	var before, after []uint64
	worst := uint64(0)
	cfg.started = func(w *world) {
		w.Muted = true // Pings
		w.After(time.Minute, func() {
			w.CrossShard.Part(0, 1)
			before = w.heights()
		})
		w.Repeat(10*time.Minute, func() {
			for _, s := range w.Shards {
				worst = max(worst, s.Machines[0].Audit().Open)
				for to := range w.Shards {
					if n := w.checks.Outstanding(int(s.Number), to); n > 1024 {
						t.Errorf("shard %d has %d LDs for shard %d", s.Number, n, to)
					}
				}
			}
		})
		w.After(apart-time.Second, func() {
			after = w.heights()
			w.Muted = false
		})
	}
	r, err := Run(t.Context(), cfg, nil)
	if err != nil {
		report(t, err)
		return
	}
	for k := range after {
		if after[k] < before[k]+20 {
			t.Errorf("shard %d: height %d before, %d after", k, before[k], after[k])
		}
	}
	t.Logf("%d settled, %d not; at most %d open records; heights %v and %v", r.Settled, r.Rejected, worst, before, after)
}
