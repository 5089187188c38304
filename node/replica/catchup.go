package replica

import (
	"slices"
	"time"

	"bdtnode/protocols"
)

// Delays of catching up, none of which safety or liveness depends on.
const (
	stall      = 300 * time.Millisecond // without progress for so long, blocks certified by others are fetched
	hedge      = 300 * time.Millisecond // without an answer for so long, a second peer is asked
	quick      = 50 * time.Millisecond  // a peer that answers within this is asked again before others are tried
	answerWait = 2 * time.Second        // the least time until a peer that has not answered is asked again
	againGap   = 100 * time.Millisecond // the least time between two repetitions of all messages to a peer
	checkGap   = 25 * time.Millisecond  // the time between two comparisons with the other replicas
	usualLag   = time.Second            // a replica that needs no more for the others' height has not fallen behind
	usualGap   = MaxHistory             // heights that others may have certified more while it has not fallen behind
	// aheadOfExecution is how many committed blocks may wait for execution before more are fetched.
	aheadOfExecution = 2 * MaxHistory
)

// catchup notices that other replicas have certified blocks or headers that this replica lacks, and fetches them:
// blocks that are not committed here, and certificates of blocks that are. Progress is measured by the first height
// that lacks one of the two. So neither commits without certificates nor certificates without blocks hide a stall.
//
// It asks one peer at a time, the one that was the quickest. A peer that does not answer costs one hedge: then the next
// peer is asked too, and the slow one is asked last from then on.
type catchup struct {
	committee *protocols.Committee
	self      protocols.Index
	reported  []uint64         // by peers, in a Position
	again     []protocols.Time // by peer: when all messages were last sent to it again
	owed      protocols.Set    // peers that asked for that too soon after the last time
	oweAt     protocols.Time   // when the first of them gets it, zero if owed is empty
	certified uint64           // the own certified height, as last seen
	lacks     uint64           // the first height that lacks block or certificate, as last seen
	progress  protocols.Time   // when lacks last grew, or when no other replica was ahead
	checkAt   protocols.Time   // no comparison before
	wake      protocols.Time   // the next comparison, zero if only an input can change the result
	asks      []ask            // by peer
	took      []time.Duration  // by peer: the duration of its last answers, 0 if it was never asked
	poor      protocols.Set    // peers whose last answer did not come in time, or did not help
	nextAsk   protocols.Time   // no other peer is asked before, since an asked one may still answer
	turn      int
	flowing   bool // the last answer helped: the next Request does not wait for a stall
	lagging   bool // others were ahead at the last comparison
	pace      pace // decides [Core.FallenBehind]
	adopted   bool // a block was adopted since peers were last asked to send again
}

// pace measures how long a replica needs for a height that others have certified.
type pace struct {
	mark uint64         // certified by others when it was set, and not here; 0 if there was none
	at   protocols.Time // when it was set
	late bool           // the mark before was reached late
}

// compare takes the height that others have certified and the own one.
func (p *pace) compare(now protocols.Time, others, own uint64) {
	if own < p.mark {
		return
	}
	p.late = p.mark > 0 && now.Sub(p.at) >= usualLag
	p.mark, p.at = 0, now
	if others > own {
		p.mark = others
	}
}

func (p *pace) slow(now protocols.Time, others, own uint64) bool {
	switch {
	case others <= own:
		return false
	case others-own > usualGap || p.late:
		return true
	}
	return own < p.mark && now.Sub(p.at) >= usualLag
}

// ask is a Request without an answer yet. Only its answer is accepted.
type ask struct {
	from uint64 // 0 if there is none
	at   protocols.Time
}

func newCatchup(cfg Config, certified uint64) catchup {
	n := cfg.Committee.N()
	return catchup{
		committee: cfg.Committee, self: cfg.Self, certified: certified,
		reported: make([]uint64, n), again: make([]protocols.Time, n),
		asks: make([]ask, n), took: make([]time.Duration, n),
	}
}

func (x *catchup) heard(from protocols.Index, certified uint64) { x.reported[from] = certified }

// repay sends all messages again to the peers that asked for it, at most once in againGap to each. A question that
// comes too soon is kept, since its sender may have no other way to continue.
func (c *Core) repay(now protocols.Time, st *Step) {
	x := &c.catchup
	x.oweAt = 0
	for _, i := range x.owed.Members() {
		if due := x.again[i].Add(againGap); x.again[i] != 0 && now < due {
			x.oweAt = protocols.Earliest(x.oweAt, due)
			continue
		}
		x.owed.Remove(i)
		x.again[i] = now
		st.Send(i, &Position{Certified: c.certify.CertifiedHeight()}) // a peer that has just started has received none
		c.resend(st, i)
	}
}

// shown is the height that a peer showed to be certified, by a Position or a VOTE.
func (c *Core) shown(i protocols.Index) uint64 {
	return max(c.catchup.reported[i], c.certify.HighestVOTE(i))
}

// target is the highest height that f+1 other replicas have shown. A height shown by fewer does not count, since
// Byzantine replicas alone could then keep this one asking for ever.
func (c *Core) target() uint64 {
	seen := make([]uint64, c.catchup.committee.N())
	for i := range seen {
		seen[i] = c.shown(protocols.Index(i))
	}
	slices.Sort(seen)
	return seen[len(seen)-c.catchup.committee.WeakQuorum()]
}

// lacks is the first height without a committed block or without a certified header here. It never decreases.
func (c *Core) lacks() uint64 { return min(c.certify.FirstUncertified(), c.bdt.Base().Height+1) }

// FallenBehind reports whether others certified a block a second ago that this replica still lacks, or many more blocks
// than it has. Under load the others are often a block ahead for some milliseconds, which is no fault.
func (c *Core) FallenBehind(now protocols.Time) bool {
	return c.catchup.pace.slow(now, c.target(), c.certify.CertifiedHeight())
}

// Expects reports whether a History of the peer would answer a Request. Any other is ignored, so it need not be
// verified.
func (c *Core) Expects(from protocols.Index) bool { return c.catchup.asks[from].from != 0 }

// pursue asks a peer for certified blocks if this replica lacks some and makes no progress.
func (c *Core) pursue(now protocols.Time, st *Step) {
	x := &c.catchup
	c.repay(now, st)
	again := c.bdt.TakeRefusedPeers()
	for _, i := range again.Members() {
		st.Send(i, &Position{Certified: c.certify.CertifiedHeight(), Again: true})
	}
	if now < x.checkAt {
		x.wake = x.checkAt
		return
	}
	c.look(now, st)
}

// look compares this replica with the others, and sends a Request if one is due.
func (c *Core) look(now protocols.Time, st *Step) {
	x := &c.catchup
	x.checkAt, x.wake = now.Add(checkGap), 0
	lacks := c.lacks()
	if lacks > x.lacks {
		x.lacks, x.progress = lacks, now
	}
	target := c.target()
	x.lagging = target > c.certify.CertifiedHeight()
	x.pace.compare(now, target, c.certify.CertifiedHeight())
	if target < lacks {
		x.progress, x.flowing, x.nextAsk = now, false, 0
		if x.adopted && !x.lagging {
			x.adopted = false
			st.Broadcast(&Position{Certified: c.certify.CertifiedHeight(), Again: true})
		}
		return
	}
	if lacks > c.certify.CertifiedHeight()+aheadOfExecution {
		return // the next executed block leads to the next comparison
	}
	due := x.nextAsk
	if !x.flowing {
		due = max(due, x.progress.Add(stall))
	}
	if now < due {
		x.wake = due
		return
	}
	c.ask(now, st, lacks)
	x.wake = x.nextAsk
}

// ask sends a Request to the quickest peer that has shown the height and has no recent Request to answer.
func (c *Core) ask(now protocols.Time, st *Step, from uint64) {
	x := &c.catchup
	n := x.committee.N()
	x.turn++
	best, found := protocols.Index(0), false
	x.nextAsk = now.Add(answerWait)
	for k := range n {
		i := protocols.Index((x.turn + k) % n)
		if i == x.self || c.shown(i) < from {
			continue
		}
		a := &x.asks[i]
		if a.from != 0 {
			x.fails(i)
			if again := a.at.Add(answerWait); now < again {
				x.nextAsk = min(x.nextAsk, again)
				continue
			}
		}
		if !found || x.cost(i) < x.cost(best) {
			best, found = i, true
		}
	}
	if !found {
		return
	}
	x.asks[best] = ask{from: from, at: now}
	x.nextAsk = now.Add(hedge)
	if !x.poor.Has(best) {
		x.nextAsk = now.Add(min(max(hedge, 3*x.took[best]), answerWait))
	}
	st.Send(best, &Request{From: from})
}

// cost is the expected duration of a peer's answer. A peer that was never asked precedes all peers that are not quick.
func (x *catchup) cost(i protocols.Index) time.Duration {
	if x.took[i] == 0 {
		return quick
	}
	return x.took[i]
}

// answered records the duration of an answer, scaled to an answer with all wanted blocks.
func (x *catchup) answered(now protocols.Time, from protocols.Index, a ask, wanted, got uint64) {
	took := max(1, now.Sub(a.at)) * time.Duration(max(1, wanted/max(1, got)))
	if x.took[from] != 0 && !x.poor.Has(from) {
		took = (x.took[from] + took) / 2
	}
	x.poor.Remove(from)
	x.took[from] = took
}

// fails records that a peer's answer is late or did not help, so that the peer is asked last.
func (x *catchup) fails(i protocols.Index) {
	x.poor.Add(i)
	x.took[i] = max(x.took[i], answerWait)
}

// history adopts certified blocks and certificates from a peer that was asked, and asks for more while there are some.
// A History without a Request is ignored: it would fill memory faster than blocks are executed, and a peer that keeps
// sending empty ones would keep all others from being asked.
func (c *Core) history(now protocols.Time, st *Step, from protocols.Index, h *History) {
	x := &c.catchup
	a := x.asks[from]
	if a.from == 0 {
		return
	}
	x.asks[from] = ask{}
	before, base := c.lacks(), c.bdt.Base().Height
	wanted := min(MaxHistory, max(c.target(), a.from)-a.from+1)
	if len(h.Items) > 0 {
		c.fromBDT(st, c.bdt.Adopt(now, from, blocksOf(h)))
	}
	for i := range h.Items {
		c.fromCertify(st, c.certify.Adopt(h.Items[i].Certificate))
	}
	x.adopted = x.adopted || c.bdt.Base().Height > base
	switch lacks := c.lacks(); {
	case lacks > before:
		x.answered(now, from, a, wanted, uint64(len(h.Items)))
		x.flowing, x.nextAsk = true, 0
	case a.from < before && len(h.Items) > 0:
		x.answered(now, from, a, wanted, uint64(len(h.Items))) // another peer was quicker
	default:
		// The peer may have nothing yet: after a crash it first executes again the blocks that it knows to be certified. It
		// is asked again after another stall. That ends, since one of the f+1 replicas that showed the height is honest.
		x.fails(from)
		x.flowing, x.progress, x.nextAsk = false, now, 0
	}
	x.checkAt = 0
}
