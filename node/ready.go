package node

import (
	"fmt"
	"time"

	"bdtnode/node/engine"
)

// maxUncommitted is how long something may wait without any commit while a replica counts as ready. It is several
// times what a commit takes between far regions, an epoch change included.
const maxUncommitted = 5 * time.Second

// reading is what readiness is judged by.
type reading struct {
	replicas, quorum int
	answering        int           // engines of the shard that answered lately, the own one included
	waited           time.Duration // since the last commit at the earliest, something to commit is known
	work             engine.Work   // what that is
	behind           bool          // others have certified blocks that this replica lacks
	height           uint64        // committed
	clockOffset      time.Duration // of the shard's clocks before the own one
	clockOff         bool          // that is too much
}

// notReady is why the replica does not take part, empty if it does.
func (r *reading) notReady() string {
	few := fmt.Sprintf("%d of %d replicas answer, %d needed", r.answering, r.replicas, r.quorum)
	switch {
	case r.waited >= maxUncommitted && r.answering < r.quorum:
		return r.uncommitted() + "; " + few
	case r.answering < r.quorum:
		return few
	case r.clockOff && r.clockOffset > 0:
		return r.clock() + ": it votes for no block until that is set right"
	case r.behind:
		return fmt.Sprintf("catching up: at height %d", r.height)
	case r.waited >= maxUncommitted:
		return r.uncommitted() + fmt.Sprintf("; %d of %d replicas answer", r.answering, r.replicas)
	}
	return ""
}

func (r *reading) uncommitted() string {
	return fmt.Sprintf("no commit for %d s although %s", int(r.waited.Seconds()), r.work)
}

// degraded is what is wrong with a replica, whether or not it takes part; empty if nothing is.
func (r *reading) degraded() string {
	if !r.clockOff {
		return ""
	}
	if r.clockOffset > 0 {
		return r.clock()
	}
	return r.clock() + ": the others refuse its blocks when it leads"
}

func (r *reading) clock() string {
	side, off := "behind", r.clockOffset
	if off < 0 {
		side, off = "ahead of", -off
	}
	return fmt.Sprintf("the clock is %s %s the shard's", off.Round(time.Millisecond), side)
}

// read takes what readiness is judged by.
func (n *Node) read() reading {
	p, s := n.engine.Presence(), n.engine.Status()
	r := reading{
		replicas: n.committee.N(), quorum: n.committee.Quorum(), answering: p.Answering(),
		behind: s.Behind, height: s.Committed, clockOffset: p.ClockOffset, clockOff: p.ClockOff,
	}
	if since, work := n.engine.Waiting(); !since.IsZero() {
		r.waited, r.work = time.Since(since), work
	}
	return r
}
