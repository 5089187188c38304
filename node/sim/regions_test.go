package sim

import (
	"slices"
	"testing"
	"time"

	"bdtnode/internal/wan"
	"bdtnode/ledger"
	"bdtnode/node/sim/adversary"
	"bdtnode/node/sim/clock"
	"bdtnode/node/sim/disturbance"
	"bdtnode/node/sim/machine"
	"bdtnode/node/sim/network"
	"bdtnode/protocols"
	"bdtnode/protocols/lanes"
)

// regions are eight regions of AWS.
var regions = wan.AWS8()

// travellers submits transactions to each replica at a rate, and records the time until that replica has executed each.
type travellers struct {
	each time.Duration // mean interval at one replica
	took [][]time.Duration
}

// start is a hook of the configuration.
func (v *travellers) start(w *world) {
	s := w.Shards[0]
	v.took = make([][]time.Duration, len(s.Machines))
	for _, n := range s.Machines {
		s.Repeat(v.each, func() { v.submit(w, n) })
	}
}

func (v *travellers) submit(w *world, n *machine.Machine) {
	if w.Now() < clock.Begin.Add(warmup) {
		return
	}
	if tx := w.workload.Payment(n.Shard()); tx != nil {
		begun := w.Now()
		w.workload.Submit(n, tx)
		v.watch(w, n, tx.ID(), begun)
	}
}

// warmup is the time until all connections are up.
const warmup = 2 * time.Second

func (v *travellers) watch(w *world, n *machine.Machine, id ledger.TxID, begun protocols.Time) {
	w.After(time.Millisecond, func() {
		if _, known, err := n.Receipt(id); err != nil || !known {
			v.watch(w, n, id, begun)
			return
		}
		v.took[n.ID()] = append(v.took[n.ID()], w.Now().Sub(begun))
	})
}

// TestEightRegions: with a replica in each of eight regions and a few transactions a second at each, half of each
// replica's transactions are committed in little more than the minimal time for the distances, with each leader. This
// also holds for a lane far from the leader, and for lanes whose batches are sometimes late or requested without need.
func TestEightRegions(t *testing.T) {
	for _, x := range []struct {
		name         string
		leader       int
		byzantine    []Byzantine
		disturbances []disturbance.Disturbance
	}{
		{"leader in Virginia", 0, nil, nil},
		{"leader in Tokyo", 4, nil, nil},
		{"f ask the leader for each batch", 0, []Byzantine{{Replica: 1, Behaviour: &asking{}}, {Replica: 7, Behaviour: &asking{}}}, nil},
		{"batches are late here and there", 0, nil, []disturbance.Disturbance{lateBatches{}}},
		{"one gives its batches to half of the others", 0, []Byzantine{{Replica: 3, Behaviour: &toHalf{}}}, nil},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			v := &travellers{each: 200 * time.Millisecond}
			delays := turned(regions.Delays(len(regions.Regions)), x.leader)
			cfg := Config{
				Seed: 1, Active: 14 * time.Second, Settle: settleAlone, Load: 0.01, started: v.start,
				Shards: []Shard{{Nodes: len(delays), Delay: time.Millisecond, Links: delays, Disturbances: x.disturbances, Byzantine: x.byzantine}},
			}
			r, err := Run(t.Context(), cfg, nil)
			if err != nil {
				report(t, err)
				return
			}
			if r.Epochs > 0 {
				t.Errorf("%d epochs ended", r.Epochs)
			}
			for i, took := range v.took {
				if slices.ContainsFunc(x.byzantine, func(l Byzantine) bool { return int(l.Replica) == i }) {
					continue
				}
				slices.Sort(took)
				least, half := wan.Least(delays, 0, i), took[len(took)/2]
				name, ratio := regions.Region(i+x.leader), float64(half)/float64(least)
				if len(took) < 30 || ratio > 1.15 {
					t.Errorf("%s: half of %d transactions take %v, %.2f times the least, %v", name, len(took), half, ratio, least)
				}
				t.Logf("%s: %v for half of %d, %.2f times the least, %v", name, half, len(took), ratio, least)
			}
		})
	}
}

// asking requests every batch of the others from the leader, as if it lacked them.
type asking struct{}

func (*asking) String() string { return "asks for what it has" }

func (*asking) Replace(_ *adversary.View, _ protocols.Index, m protocols.Message) []network.Packet {
	return adversary.Unchanged(m)
}

func (*asking) Receive(v *adversary.View, from protocols.Index, m protocols.Message) {
	if b, ok := m.(*lanes.Batch); ok && b.Lane == from && from != 0 {
		v.Submit(0, &lanes.Fetch{Lane: b.Lane, Tip: b.Tip(), After: b.Seq - 1})
	}
}

// toHalf sends its batches only to the leader and half of the others.
type toHalf struct{}

func (*toHalf) String() string { return "gives its batches to half of the others" }

func (*toHalf) Replace(v *adversary.View, to protocols.Index, m protocols.Message) []network.Packet {
	if b, ok := m.(*lanes.Batch); ok && b.Lane == v.Self && to >= 4 {
		return nil
	}
	return adversary.Unchanged(m)
}

// lateBatches delays one of a hundred batches that a replica receives.
type lateBatches struct{}

func (lateBatches) String() string { return "late batches" }

func (lateBatches) Start(s *machine.Shard) {
	s.Network.Hinder(func(from, to protocols.Index, p network.Packet) (time.Duration, bool) {
		if b, ok := p.Message.(*lanes.Batch); ok && b.Lane == from && s.Rand.IntN(100) == 0 {
			return 150 * time.Millisecond, true
		}
		return 0, false
	})
}

// turned is delays with another replica in the first place: it leads the first epoch.
func turned(d [][]time.Duration, first int) [][]time.Duration {
	n := len(d)
	out := make([][]time.Duration, n)
	for i := range n {
		for j := range n {
			out[i] = append(out[i], d[(i+first)%n][(j+first)%n])
		}
	}
	return out
}
