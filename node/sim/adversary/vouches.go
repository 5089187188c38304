package adversary

import (
	"time"

	"bdtnode/node/sim/draw"
	"bdtnode/node/sim/network"
	"bdtnode/protocols"
	"bdtnode/protocols/lanes"
	"bdtnode/protocols/vouch"
)

// FalseVouches vouches at once for every batch that it receives, good or bad, for other digests at its number, for
// batches that do not exist, and often twice. It checks nothing.
type FalseVouches struct{ tally }

func (*FalseVouches) String() string { return "vouches for every batch" }

// Replace withholds the vouches of the core.
func (a *FalseVouches) Replace(_ *View, _ protocols.Index, m protocols.Message) []network.Packet {
	if _, ok := m.(*vouch.Vouch); ok {
		return nil
	}
	return Unchanged(m)
}

// Receive sends the false vouches.
func (a *FalseVouches) Receive(v *View, _ protocols.Index, m protocols.Message) {
	b, ok := m.(*lanes.Batch)
	if !ok || b.Lane == v.Self {
		return
	}
	tips := []lanes.Tip{b.Tip()}
	a.note("a batch that it did not check")
	if v.Rand.IntN(3) == 0 {
		tips = append(tips, lanes.Tip{Seq: b.Seq, Digest: invented(v.Rand.Uint64())})
		a.note("another digest")
	}
	if v.Rand.IntN(3) == 0 {
		tips = append(tips, lanes.Tip{Seq: b.Seq + uint64(v.Rand.IntN(2000)), Digest: invented(v.Rand.Uint64())})
		a.note("a batch that does not exist")
	}
	times := 1 + v.Rand.IntN(3)
	if times > 1 {
		a.note("twice")
	}
	for range times {
		for _, t := range tips {
			x := &vouch.Vouch{Batches: []lanes.Ref{{Lane: b.Lane, Tip: t}}}
			for i := range v.Committee.N() {
				if protocols.Index(i) != v.Self {
					v.Send(i, Unchanged(x)[0])
				}
			}
		}
	}
}

// FewVouches sends its vouches to none of the others, to f of them only, or late.
type FewVouches struct {
	Some bool          // f of the others get them
	Late time.Duration // all get them after up to this time, 0 for never

	tally
}

// NewFewVouches draws one of the three.
func NewFewVouches(d draw.Source) *FewVouches {
	a := &FewVouches{}
	switch d.IntN(3) {
	case 0:
		a.Some = true
	case 1:
		a.Late = d.Milliseconds(10, 3000)
	}
	return a
}

func (a *FewVouches) String() string {
	switch {
	case a.Some:
		return "vouches to some others"
	case a.Late > 0:
		return "vouches late"
	}
	return "never vouches"
}

func (a *FewVouches) Replace(v *View, to protocols.Index, m protocols.Message) []network.Packet {
	x, ok := m.(*vouch.Vouch)
	if !ok {
		return Unchanged(m)
	}
	n := v.Committee.N()
	switch {
	case a.Late > 0:
		out := Unchanged(m)
		out[0].Late = v.Between(0, a.Late)
		a.note("late")
		return out
	case a.Some && (int(to)+n-int(v.Self)+int(x.Batches[0].Tip.Seq))%n <= v.Committee.F():
		a.note("to some")
		return Unchanged(m)
	}
	a.note("withheld")
	return nil
}
