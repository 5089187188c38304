package vouch

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"bdtnode/protocols"
	"bdtnode/protocols/lanes"
)

// model is a shard of machines on a virtual clock, of which the last f are Byzantine. Batches of Byzantine owners may be
// bad. It knows the truth about every batch.
type model struct {
	t        *testing.T
	b        *bench
	rng      *rand.Rand
	kind     string // of the Byzantine replicas
	machines []*Machine
	bad      map[lanes.Ref]bool
	now      protocols.Time
	events   []event
	checks   int // own checks of honest replicas
}

type event struct {
	at protocols.Time
	do func()
}

func (x *model) after(d time.Duration, do func()) {
	x.events = append(x.events, event{x.now.Add(d), do})
}

func (x *model) honest(i int) bool { return x.kind == "none" || i < x.b.c.N()-x.b.c.F() }

// hop is the time of a message.
func (x *model) hop() time.Duration {
	return time.Millisecond + time.Duration(x.rng.IntN(2000))*time.Microsecond
}

// carry carries out the step of an honest replica.
func (x *model) carry(i int, st Step) {
	m := x.machines[i]
	for _, o := range st.Out {
		if o.Check == nil {
			continue
		}
		r := *o.Check
		x.after(5*time.Millisecond, func() {
			x.checks++
			x.carry(i, m.Checked([]Result{{r, !x.bad[r]}}))
		})
	}
	for _, s := range st.Sends {
		for j := range x.machines {
			if j != i && x.honest(j) && (s.To == protocols.Everyone || int(s.To) == j) {
				x.after(x.hop(), func() { x.carry(j, x.machines[j].HandleVouch(x.now, protocols.Index(i), s.Message.(*Vouch))) })
			}
		}
	}
	if w := m.Wake(); w != 0 {
		x.after(max(0, w.Sub(x.now)), func() { x.carry(i, m.Tick(x.now, false)) })
	}
}

// byzantine lets a Byzantine replica act on a batch.
func (x *model) byzantine(i int, r lanes.Ref) {
	for j := range x.machines {
		if !x.honest(j) {
			continue
		}
		late := time.Duration(0)
		switch x.kind {
		case "silent":
			continue
		case "selective":
			if x.bad[r] || x.rng.IntN(2) == 0 {
				continue
			}
		case "late":
			late = time.Duration(x.rng.IntN(200)) * time.Millisecond
		case "lying": // also for bad batches
		}
		for range 1 + x.rng.IntN(2) {
			x.after(late+x.hop(), func() { x.carry(j, x.machines[j].HandleVouch(x.now, protocols.Index(i), vouchFor(r))) })
		}
	}
}

// run carries out all events in the order of their times.
func (x *model) run() {
	for len(x.events) > 0 {
		k := 0
		for i := range x.events {
			if x.events[i].at < x.events[k].at {
				k = i
			}
		}
		e := x.events[k]
		x.events = slices.Delete(x.events, k, k+1)
		x.now = max(x.now, e.at)
		e.do()
	}
}

// TestRandomShards: with each behaviour of f replicas, all honest replicas come to know each batch within a bounded time, and know
// good ones as good and bad ones as bad. Without attacks f+1 replicas check each batch, the owner among them.
func TestRandomShards(t *testing.T) {
	for _, n := range []int{4, 5, 7, 10} {
		for _, kind := range []string{"none", "silent", "selective", "late", "lying"} {
			t.Run(fmt.Sprint(n, " ", kind), func(t *testing.T) {
				x := &model{t: t, b: newBench(t, n), rng: rand.New(rand.NewPCG(uint64(n), 7)), kind: kind, bad: make(map[lanes.Ref]bool), now: t0}
				for i := range n {
					x.machines = append(x.machines, x.b.machine(protocols.Index(i)))
				}
				const numbers = 20
				var all []lanes.Ref
				for seq := uint64(1); seq <= numbers; seq++ {
					for lane := range n {
						r := ref(protocols.Index(lane), seq, fmt.Sprint("batch ", lane, seq))
						x.bad[r] = !x.honest(lane) && kind == "lying" && x.rng.IntN(4) == 0
						all = append(all, r)
						for i := range n {
							x.after(time.Duration(seq)*30*time.Millisecond+x.hop(), func() {
								if x.honest(i) {
									x.carry(i, x.machines[i].Held(x.now, r, large))
								} else if i != lane {
									x.byzantine(i, r)
								}
							})
						}
					}
				}
				x.run()
				for _, r := range all {
					for i := range n {
						if !x.honest(i) {
							continue
						}
						m := x.machines[i]
						if m.Knows(r, large) == Unknown { // of a lane with a bad batch: a block needs it
							x.carry(i, m.Needed(x.now, r, large))
						}
					}
				}
				x.run()
				for _, r := range all {
					for i := range n {
						if k := x.machines[i].Knows(r, large); x.honest(i) && (k == Unknown || k.Good() == x.bad[r]) {
							t.Fatalf("replica %d: batch %d of lane %d is %v, bad %v", i, r.Tip.Seq, r.Lane, k, x.bad[r])
						}
					}
				}
				perBatch := float64(x.checks) / float64(len(all))
				if most := float64(x.b.c.F()); kind == "none" && perBatch != most {
					t.Errorf("%.2f checks for each batch besides the owner's, want %.0f", perBatch, most)
				}
				if perBatch > float64(n-1) {
					t.Errorf("%.2f checks for each batch", perBatch)
				}
				t.Logf("%.2f honest checks for each batch, last event after %v", perBatch, x.now.Sub(t0))
			})
		}
	}
}
