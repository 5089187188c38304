package replica

import (
	"slices"
	"time"

	"bdtnode/protocols"
)

// Delays of catching up, none of which safety or liveness depends on.
const (
	stall      = 300 * time.Millisecond // without progress for so long, what others certified is fetched
	answerWait = 2 * time.Second        // then another peer is asked
	againGap   = 100 * time.Millisecond // a peer gets what was sent before at most this often
	checkGap   = 25 * time.Millisecond  // how often it is looked whether others are ahead
	// aheadOfExecution is how many committed blocks may wait for execution before more are fetched.
	aheadOfExecution = 2 * MaxHistory
)

// catchup notices that others have certified what this replica lacks, and fetches it from one of them at a time.
type catchup struct {
	committee *protocols.Committee
	self      protocols.Index
	reported  []uint64         // by peers, in a Position
	again     []protocols.Time // when each was last sent everything again
	owed      protocols.Set    // who asked for that too soon after the last time
	oweAt     protocols.Time   // when the first of them gets it, zero if there is none
	certified uint64           // own, as last seen
	committed uint64           // own, as last seen
	moved     bool             // certified moved since the last look
	progress  protocols.Time   // when one of the two was last seen to have moved
	checkAt   protocols.Time   // no look before
	wake      protocols.Time   // the next look, zero if only an input can change anything
	asked     bool
	whom      protocols.Index // was asked
	askedAt   protocols.Time
	turn      int
	lagging   bool // others were ahead at the last look
	adopted   bool // something was adopted since peers were last asked to send again
}

func newCatchup(cfg Config, certified uint64) catchup {
	n := cfg.Committee.N()
	return catchup{
		committee: cfg.Committee, self: cfg.Self, certified: certified,
		reported: make([]uint64, n), again: make([]protocols.Time, n),
	}
}

func (x *catchup) heard(from protocols.Index, certified uint64) { x.reported[from] = certified }

// repay sends peers that asked for it everything again, each at most once in againGap. A question that comes too
// soon is kept, since who asks may wait for nothing else.
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
		c.resend(st, i)
	}
}

// target is a height that others have come to: f+1 of them showed it, by what they report or sent VOTEs for. What one
// says alone counts for nothing, or it could keep the others asking for ever.
func (c *Core) target() uint64 {
	x := &c.catchup
	seen := make([]uint64, len(x.reported))
	for i := range seen {
		seen[i] = max(x.reported[i], c.votes.Highest(protocols.Index(i)))
	}
	slices.Sort(seen)
	return seen[len(seen)-x.committee.WeakQuorum()]
}

// Behind reports whether others had certified more than this replica when that was last looked at.
func (c *Core) Behind() bool { return c.catchup.lagging }

func (c *Core) behind() bool { return c.target() > c.votes.CertifiedHeight() }

// pursue asks a peer for certified blocks if others have some that this replica lacks and it stands still.
func (c *Core) pursue(now protocols.Time, st *Step) {
	x := &c.catchup
	c.repay(now, st)
	again := c.bdt.Refused()
	for _, i := range again.Members() {
		st.Send(i, &Position{Certified: c.votes.CertifiedHeight(), Again: true})
	}
	if now < x.checkAt {
		x.wake = x.checkAt
		return
	}
	x.checkAt, x.wake = now.Add(checkGap), 0
	if h := c.bdt.Base().Height; h > x.committed || x.moved {
		x.committed, x.moved, x.progress = h, false, now
	}
	if x.asked && now < x.askedAt.Add(answerWait) {
		x.wake = x.askedAt.Add(answerWait)
		return
	}
	if x.lagging = c.behind(); !x.lagging {
		x.asked = false
		if x.adopted {
			x.adopted = false
			st.Broadcast(&Position{Certified: c.votes.CertifiedHeight(), Again: true})
		}
		return
	}
	if due := x.progress.Add(stall); now < due {
		x.wake = due
		return
	}
	c.ask(now, st)
	x.wake = now.Add(answerWait)
}

func (c *Core) ask(now protocols.Time, st *Step) {
	x := &c.catchup
	from := min(c.votes.CertifiedHeight(), c.bdt.Base().Height) + 1
	n := x.committee.N()
	for range n {
		x.turn++
		i := protocols.Index(x.turn % n)
		if i != x.self && (x.reported[i] >= from || c.votes.Highest(i) >= from) {
			x.asked, x.whom, x.askedAt = true, i, now
			st.Send(i, &Request{From: from})
			return
		}
	}
}

// history takes certified blocks from a peer, and asks for more while there are some. What does not help counts only as
// the answer of who was asked: or one peer that keeps saying that it has nothing would keep all others from being asked.
func (c *Core) history(now protocols.Time, st *Step, from protocols.Index, h *History) {
	x := &c.catchup
	answer := x.asked && x.whom == from
	if answer {
		x.asked = false
	}
	if len(h.Items) == 0 {
		if !answer {
			return
		}
		// There may be nothing to fetch yet, as after a crash a peer first executes again what it knows to be certified: it
		// is asked again, after another stall. That ends, since one of f+1 who showed a height is honest.
		x.progress = now
		return
	}
	before := c.bdt.Base().Height
	c.fromBDT(st, c.bdt.Adopt(now, from, blocksOf(h)))
	for i := range h.Items {
		c.fromVotes(st, c.votes.Adopt(h.Items[i].Certificate))
	}
	after := c.bdt.Base().Height
	if after > before {
		x.asked, x.adopted = false, true
		x.committed, x.progress = after, now
		x.wake = now.Add(stall)
		if c.target() > after && after < c.votes.CertifiedHeight()+aheadOfExecution {
			c.ask(now, st)
		}
	}
}
