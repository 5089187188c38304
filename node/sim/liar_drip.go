package sim

import (
	"fmt"
	"slices"
	"time"

	"bdtnode/internal/digest"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/lanes"
)

// Dripping orders as little as possible while it leads: one block at a time, each just before the patience of the
// others ends, and only the positions for which they wait. Or it orders everything without delay except one lane of
// another replica.
type Dripping struct {
	Share float64 // share of the patience that it lets pass before it orders a position
	Past  bool    // it never orders one lane

	epoch   uint64
	base    *bolt.Block    // committed; the next block extends it
	open    *bolt.Propose  // not committed
	commits protocols.Set  // of open
	due     protocols.Time // of the timer that is set, zero if none is
	life    int            // life in which it was set
	inbound lanes.Cut      // positions that its core would propose
	lanes   []dripLane
	lies    lies
}

// dripLane is the state of a lane above the last block.
type dripLane struct {
	waiting []sighting // in order of number
	moved   protocols.Time
}

// sighting is the time at which a batch was first seen.
type sighting struct {
	tip    lanes.Tip
	parent digest.Digest
	at     protocols.Time
}

func (a *Dripping) String() string {
	if a.Past {
		return "never orders one lane"
	}
	return fmt.Sprintf("proposes after %.2f of the patience", a.Share)
}

// leads reports whether the replica leads its current epoch. Without a fast lane no replica leads.
func (a *Dripping) leads(n *node) bool {
	st := n.core.Status()
	if st.Leader != n.id || n.s.world.cfg.Dumbo {
		return false
	}
	if a.epoch != st.Epoch {
		a.epoch, a.base, a.open, a.inbound = st.Epoch, nil, nil, nil
		a.lies.told("led")
	}
	return true
}

func (a *Dripping) hear(n *node, from protocols.Index, m protocols.Message) {
	switch x := m.(type) {
	case *lanes.Batch:
		a.saw(n, x)
	case *bolt.Finalize:
		if !a.leads(n) || a.open == nil || a.open.Block.Digest() != x.Digest {
			return
		}
		if a.commits.Add(from); a.commits.Len() == n.s.committee.Quorum() {
			a.ordered(n, a.open.Block)
			a.open = nil
		}
	}
	if a.leads(n) {
		a.arm(n)
	}
}

func (a *Dripping) tamper(n *node, _ protocols.Index, m protocols.Message) []packet {
	switch x := m.(type) {
	case *lanes.Batch:
		a.saw(n, x)
	case *bolt.Propose:
		if x.Leader != n.id || !a.leads(n) || x.Block.Epoch != a.epoch {
			break
		}
		a.inbound = x.Block.Inbound
		a.arm(n)
		if a.open != nil {
			return honestly(a.open) // for a peer that has reconnected
		}
		return nil
	case *bolt.Vote:
		if a.leads(n) && x.Epoch == a.epoch {
			return nil // in place of its core's proposal
		}
	}
	return honestly(m)
}

// saw records a batch.
func (a *Dripping) saw(n *node, b *lanes.Batch) {
	if a.lanes == nil {
		a.lanes = make([]dripLane, n.s.committee.N())
	}
	l := &a.lanes[b.Lane]
	k, have := slices.BinarySearchFunc(l.waiting, b.Seq, func(s sighting, seq uint64) int { return int(int64(s.tip.Seq - seq)) })
	if !have {
		l.waiting = slices.Insert(l.waiting, k, sighting{b.Tip(), b.Parent, n.s.now})
	}
}

// ordered advances to a committed block.
func (a *Dripping) ordered(n *node, b *bolt.Block) {
	for i := range a.lanes {
		l := &a.lanes[i]
		if a.base != nil && b.Cut[i] != a.base.Cut[i] {
			l.moved = n.s.now
		}
		l.waiting = slices.DeleteFunc(l.waiting, func(s sighting) bool { return s.tip.Seq <= b.Cut[i].Seq })
	}
	a.base = b
}

// next is the position to which a lane has to be ordered, and the time since which the others wait for it; ok is false
// if they wait for none.
func (l *dripLane) next(on lanes.Tip) (tip lanes.Tip, since protocols.Time, ok bool) {
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
func (a *Dripping) arm(n *node) {
	if a.open != nil || a.due != 0 && a.life == n.life {
		return
	}
	if at := a.wait(n); at != 0 {
		a.due, a.life = at, n.life
		n.after(max(at.Sub(n.s.now), time.Millisecond), func() {
			a.due = 0
			if a.leads(n) && a.open == nil {
				a.drip(n)
			}
		})
	}
}

// wait is the time at which a position has to be ordered, zero if there is none.
func (a *Dripping) wait(n *node) (at protocols.Time) {
	if !a.settleOn(n) {
		return 0
	}
	for i := range a.lanes {
		if _, since, ok := a.lanes[i].next(a.base.Cut[i]); ok && !a.skips(n, i) {
			at = protocols.Earliest(at, since.Add(a.pause(n)))
		}
	}
	return at
}

func (a *Dripping) pause(n *node) time.Duration {
	if a.Past {
		return 20 * time.Millisecond
	}
	return time.Duration(a.Share * float64(n.core.Patience()))
}

func (a *Dripping) skips(n *node, lane int) bool {
	return a.Past && lane == (int(n.id)+1)%n.s.committee.N()
}

// settleOn ensures that base is at least the last block that the replica itself has committed.
func (a *Dripping) settleOn(n *node) bool {
	height := n.core.Status().Committed
	if a.base != nil && a.base.Height >= height {
		return true
	}
	value, ok, err := n.store.Get(bdt.CommitKey(height))
	if err != nil {
		panic(err)
	}
	if !ok {
		return false // it will be written soon
	}
	b, err := bdt.DecodeCommit(n.s.committee, value)
	if err != nil {
		panic(err)
	}
	a.ordered(n, b)
	return true
}

// drip proposes a block that orders the due positions and no others.
func (a *Dripping) drip(n *node) {
	if !a.settleOn(n) {
		return
	}
	parent := a.base
	b := &bolt.Block{
		Epoch: a.epoch, Slot: 1, Height: parent.Height + 1, Parent: parent.Digest(),
		TimeMS: max(n.clock().Millis(), parent.TimeMS), Cut: slices.Clone(parent.Cut), Inbound: slices.Clone(parent.Inbound),
	}
	if parent.Epoch == a.epoch {
		b.Slot = parent.Slot + 1
	}
	for i := range a.lanes {
		tip, since, ok := a.lanes[i].next(b.Cut[i])
		switch {
		case !ok:
		case a.skips(n, i):
			a.lies.told("passed over")
		case n.s.now >= since.Add(a.pause(n)):
			b.Cut[i] = tip
		}
	}
	if a.inbound.Extends(parent.Inbound) {
		b.Inbound = slices.Clone(a.inbound)
	}
	if !b.Grows(parent) {
		a.arm(n)
		return
	}
	a.lies.told("dripped")
	a.open, a.commits = n.signPropose(b, nil), protocols.Set{}
	for j := range n.s.nodes {
		if j != int(n.id) {
			n.s.network.send(int(n.id), j, honestly(a.open)[0])
		}
	}
}
