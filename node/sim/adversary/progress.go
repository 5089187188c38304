package adversary

import (
	"fmt"
	"slices"
	"time"

	"bdtnode/internal/digest"
	"bdtnode/node/sim/network"
	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/lanes"
)

// SlowProgress orders as little as possible while it leads: one block at a time, each just before the patience of the
// others ends, and only the positions for which they wait. Or it orders everything without delay except one lane of
// another replica.
type SlowProgress struct {
	Share float64 // share of the patience that it lets pass before it orders a position
	Past  bool    // it never orders one lane

	epoch   uint64
	base    *bolt.Block    // committed; the next block extends it
	open    *bolt.Propose  // not committed
	commits protocols.Set  // of open
	due     protocols.Time // of the timer that is set, zero if none is
	life    int            // life in which it was set
	inbound lanes.Cut      // positions that its core would propose
	lanes   []laneProgress
	tally
}

// laneProgress is the state of a lane above the last block.
type laneProgress struct {
	waiting []sighting // in order of number
	moved   protocols.Time
}

// sighting is the time at which a batch was first seen.
type sighting struct {
	tip    lanes.Tip
	parent digest.Digest
	at     protocols.Time
}

func (a *SlowProgress) String() string {
	if a.Past {
		return "never orders one lane"
	}
	return fmt.Sprintf("proposes after %.2f of the patience", a.Share)
}

// leads reports whether the replica leads its current epoch. Without a fast lane no replica leads.
func (a *SlowProgress) leads(v *View) bool {
	st := v.Status()
	if st.Leader != v.Self || v.Dumbo {
		return false
	}
	if a.epoch != st.Epoch {
		a.epoch, a.base, a.open, a.inbound = st.Epoch, nil, nil, nil
		a.note("led")
	}
	return true
}

func (a *SlowProgress) Receive(v *View, from protocols.Index, m protocols.Message) {
	switch x := m.(type) {
	case *lanes.Batch:
		a.saw(v, x)
	case *bolt.Finalize:
		if !a.leads(v) || a.open == nil || a.open.Block.Digest() != x.Digest {
			return
		}
		if a.commits.Add(from); a.commits.Len() == v.Committee.Quorum() {
			a.ordered(v, a.open.Block)
			a.open = nil
		}
	}
	if a.leads(v) {
		a.arm(v)
	}
}

func (a *SlowProgress) Replace(v *View, _ protocols.Index, m protocols.Message) []network.Packet {
	switch x := m.(type) {
	case *lanes.Batch:
		a.saw(v, x)
	case *bolt.Propose:
		if x.Leader != v.Self || !a.leads(v) || x.Block.Epoch != a.epoch {
			break
		}
		a.inbound = x.Block.Inbound
		a.arm(v)
		if a.open != nil {
			return Unchanged(a.open) // for a peer that has reconnected
		}
		return nil
	case *bolt.Vote:
		if a.leads(v) && x.Epoch == a.epoch {
			return nil // in place of its core's proposal
		}
	}
	return Unchanged(m)
}

// saw records a batch.
func (a *SlowProgress) saw(v *View, b *lanes.Batch) {
	if a.lanes == nil {
		a.lanes = make([]laneProgress, v.Committee.N())
	}
	l := &a.lanes[b.Lane]
	k, have := slices.BinarySearchFunc(l.waiting, b.Seq, func(s sighting, seq uint64) int { return int(int64(s.tip.Seq - seq)) })
	if !have {
		l.waiting = slices.Insert(l.waiting, k, sighting{b.Tip(), b.Parent, v.Now()})
	}
}

// ordered advances to a committed block.
func (a *SlowProgress) ordered(v *View, b *bolt.Block) {
	for i := range a.lanes {
		l := &a.lanes[i]
		if a.base != nil && b.Cut[i] != a.base.Cut[i] {
			l.moved = v.Now()
		}
		l.waiting = slices.DeleteFunc(l.waiting, func(s sighting) bool { return s.tip.Seq <= b.Cut[i].Seq })
	}
	a.base = b
}

// next is the position to which a lane has to be ordered, and the time since which the others wait for it; ok is false
// if they wait for none.
func (l *laneProgress) next(on lanes.Tip) (tip lanes.Tip, since protocols.Time, ok bool) {
	for _, s := range l.waiting {
		if s.tip.Seq <= on.Seq {
			continue
		}
		if s.tip.Seq != on.Seq+1 || s.parent != on.Digest {
			break
		}
		if !ok {
			since = max(s.at, l.moved)
		} else if s.at > since {
			break // the wait began before this one arrived
		}
		tip, on, ok = s.tip, s.tip, true
	}
	return tip, since, ok
}

// arm sets the timer to the time of the next block.
func (a *SlowProgress) arm(v *View) {
	if a.open != nil || a.due != 0 && a.life == v.Life() {
		return
	}
	if at := a.wait(v); at != 0 {
		a.due, a.life = at, v.Life()
		v.After(max(at.Sub(v.Now()), time.Millisecond), func() {
			a.due = 0
			if a.leads(v) && a.open == nil {
				a.propose(v)
			}
		})
	}
}

// wait is the time at which a position has to be ordered, zero if there is none.
func (a *SlowProgress) wait(v *View) (at protocols.Time) {
	if !a.settleOn(v) {
		return 0
	}
	for i := range a.lanes {
		if _, since, ok := a.lanes[i].next(a.base.Cut[i]); ok && !a.skips(v, i) {
			at = protocols.Earliest(at, since.Add(a.pause(v)))
		}
	}
	return at
}

func (a *SlowProgress) pause(v *View) time.Duration {
	if a.Past {
		return 20 * time.Millisecond
	}
	return time.Duration(a.Share * float64(v.Patience()))
}

func (a *SlowProgress) skips(v *View, lane int) bool {
	return a.Past && lane == (int(v.Self)+1)%v.Committee.N()
}

// settleOn ensures that base is at least the last block that the replica itself has committed.
func (a *SlowProgress) settleOn(v *View) bool {
	height := v.Status().Committed
	if a.base != nil && a.base.Height >= height {
		return true
	}
	b := v.Block(height)
	if b == nil {
		return false // it will be written soon
	}
	a.ordered(v, b)
	return true
}

// drip proposes a block that orders the due positions and no others.
func (a *SlowProgress) propose(v *View) {
	if !a.settleOn(v) {
		return
	}
	parent := a.base
	b := &bolt.Block{
		Epoch: a.epoch, Slot: 1, Height: parent.Height + 1, Parent: parent.Digest(),
		TimeMS: max(v.Wall().Millis(), parent.TimeMS), Cut: slices.Clone(parent.Cut), Inbound: slices.Clone(parent.Inbound),
	}
	if parent.Epoch == a.epoch {
		b.Slot = parent.Slot + 1
	}
	for i := range a.lanes {
		tip, since, ok := a.lanes[i].next(b.Cut[i])
		switch {
		case !ok:
		case a.skips(v, i):
			a.note("left out a lane")
		case v.Now() >= since.Add(a.pause(v)):
			b.Cut[i] = tip
		}
	}
	if a.inbound.Extends(parent.Inbound) {
		b.Inbound = slices.Clone(a.inbound)
	}
	if !b.Grows(parent) {
		a.arm(v)
		return
	}
	a.note("proposed late")
	a.open, a.commits = v.signPropose(b, nil), protocols.Set{}
	for j := range v.Places {
		if j != int(v.Self) {
			v.Send(j, Unchanged(a.open)[0])
		}
	}
}
