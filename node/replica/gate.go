package replica

import (
	"time"

	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/channels"
	"bdtnode/protocols/lanes"
	"bdtnode/protocols/mvba"
)

// budget is how many messages of one kind a peer may send.
type budget struct {
	perSecond, burst int
	repeats          bool // its sender sends it again by itself, so that it may be dropped
}

// budgets by kind. Requests are dropped beyond theirs, since they are repeated. All others are protocol messages that are
// sent once in a session: beyond their budget the peer's stream is read more slowly. Messages with many signatures, or
// whose answer is large, have small budgets.
var budgets = map[protocols.Kind]budget{
	KindPosition:             {50, 200, true},
	KindRequest:              {50, 100, true},
	lanes.KindFetch:          {500, 2000, true},
	bolt.KindFetchBlock:      {200, 400, true},
	channels.KindFetchLD:     {500, 2000, true},
	lanes.KindBatch:          {500, 2000, false},
	lanes.KindCertified:      {500, 2000, false},
	channels.KindCertificate: {500, 2000, false},
	bolt.KindPropose:         {300, 1000, false},
	bdt.KindStatus:           {200, 400, false},
	mvba.KindProposal:        {200, 400, false},
	mvba.KindValue:           {50, 200, false},
	mvba.KindWant:            {50, 200, false},
	mvba.KindAgain:           {50, 200, false},
}

// standard is the budget of each other kind: four times what a replica sends under full load, and at once as much as it
// sends again to a peer that connects.
var standard = budget{2000, 8000, false}

// Bounds of answers that are awaited of a peer.
const (
	maxHistories = 4
	maxLDs       = 2 * channels.Window
)

// loose is the budget of LDs that were not asked for, as answers that come after a restart: an LD is proved by itself.
var loose = budget{5, 16, true}

// Slowing of a stream on which frames are dropped: so long for each, and for each MiB of it.
const (
	slowFrame = 2 * time.Millisecond
	slowMiB   = 64 * time.Millisecond
)

// Gate decides what becomes of a peer's frames before they are decoded: the cost of what a member sends is bounded by
// budgets for each kind of message, and answers are taken only as far as they were asked for. It is not safe for
// concurrent use.
type Gate struct {
	meters    map[protocols.Kind]*meter
	loose     meter
	histories int // answers to a Request that may come
	lds       int // LDs that may come
	over      uint64
	unasked   uint64
}

// NewGate has all budgets full.
func NewGate() *Gate {
	return &Gate{meters: make(map[protocols.Kind]*meter), loose: newMeter(loose.perSecond, loose.burst)}
}

// Asks notes a message to the peer, before it leaves: some have answers.
func (g *Gate) Asks(m protocols.Message) {
	switch x := m.(type) {
	case *Request:
		g.histories = min(g.histories+1, maxHistories)
	case *channels.FetchLD:
		g.lds = min(g.lds+int(x.Tip.Seq-x.After), maxLDs)
	}
}

// Admit says of a frame whether it is taken, and how long its stream is not to be read before that or in its place.
func (g *Gate) Admit(now protocols.Time, kind protocols.Kind, size int) (take bool, wait time.Duration) {
	m, b := g.budget(kind)
	switch {
	case kind == KindHistory && g.histories == 0:
		g.unasked++
		return false, slow(size)
	case kind == KindHistory:
		g.histories--
	case kind == channels.KindLD && g.lds == 0:
		m, b = &g.loose, loose
	case kind == channels.KindLD:
		g.lds--
	}
	if wait = max(0, m.due().Sub(now)); wait > 0 {
		g.over++
		if b.repeats {
			return false, slow(size)
		}
	}
	m.take(now, 1)
	return true, wait
}

// budget is that of a kind, and how far it is used.
func (g *Gate) budget(kind protocols.Kind) (*meter, budget) {
	b, ok := budgets[kind]
	if !ok {
		b = standard
	}
	m := g.meters[kind]
	if m == nil {
		x := newMeter(b.perSecond, b.burst)
		m = &x
		g.meters[kind] = m
	}
	return m, b
}

func slow(size int) time.Duration { return slowFrame + slowMiB*time.Duration(size)>>20 }

// Refused is how many frames were beyond their budget, and how many were answers to no question.
func (g *Gate) Refused() (over, unasked uint64) { return g.over, g.unasked }
