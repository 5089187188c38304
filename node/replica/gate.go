package replica

import (
	"fmt"
	"time"

	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/cancel"
	"bdtnode/protocols/inbound"
	"bdtnode/protocols/lanes"
	"bdtnode/protocols/mvba"
	"bdtnode/protocols/vouch"
)

// budget is the number of messages of one kind that a peer may send.
type budget struct {
	perSecond, burst int
	repeats          bool // its sender repeats it by itself, or nothing depends on it, so it may be dropped
}

// budgets by kind. Requests beyond their budget are dropped, since they are repeated, and CL_Ms and Vouches, since nothing
// depends on one. All others are protocol messages that are sent once in a session: beyond their budget the peer's stream
// is read more slowly. Messages with many signatures, or with large answers, have small budgets.
var budgets = map[protocols.Kind]budget{
	KindPosition:            {50, 200, true},
	KindRequest:             {50, 100, true},
	lanes.KindFetch:         {500, 2000, true},
	bolt.KindFetchBlock:     {200, 400, true},
	inbound.KindFetchLD:     {500, 2000, true},
	lanes.KindBatch:         {500, 2000, false},
	lanes.KindCertified:     {500, 2000, false},
	inbound.KindCertificate: {500, 2000, false},
	bolt.KindPropose:        {300, 1000, false},
	vouch.KindVouch:         {1000, 4000, true},
	cancel.KindCLM:          {cancel.PerSecond, 2 * cancel.Burst, true},
	bdt.KindStatus:          {200, 400, false},
	mvba.KindProposal:       {200, 400, false},
	mvba.KindValue:          {50, 200, false},
	mvba.KindFetchValue:     {50, 200, false},
	mvba.KindResendRequest:  {50, 200, false},
}

// standard is the budget of each other kind: four times the rate of a replica under full load, and at once the number
// of messages that a replica sends again to a peer that connects.
var standard = budget{2000, 8000, false}

// byKind is the budget of every kind, also of those without messages. It panics for a budget of a kind that has no entry in
// the table of messages.
var byKind = func() (all [256]budget) {
	for k := range all {
		all[k] = standard
	}
	for kind, b := range budgets {
		if messages.Of(kind) == nil {
			panic(fmt.Sprintf("replica: a budget of message kind %#x, which is unknown", uint8(kind)))
		}
		all[kind] = b
	}
	return all
}()

// Bounds of the answers that a peer may still give.
const (
	maxHistories = 4
	maxLDs       = 2 * inbound.Window
)

// loose is the budget of LDs that were not asked for, such as answers that come after a restart. They are allowed since
// an LD is proved by itself.
var loose = budget{5, 16, true}

// Pause of a stream for each dropped frame, and for each MiB of it.
const (
	slowFrame = 2 * time.Millisecond
	slowMiB   = 64 * time.Millisecond
)

// laneShare is the part of a lane's window, one in laneShare, whose bytes a peer may send in a second as new batches of its
// own lane, and laneBurst of that at once. It bounds the time that the verification and execution of one lane take from the others: the rate is several
// times that of a lane in a shard under full load.
const (
	laneShare = 8
	laneBurst = 4
)

// Gate decides whether a peer's frames are accepted, before they are decoded. Budgets for each kind of message bound
// the cost of a member's frames, and answers are accepted only up to the number of requests. It is not safe for
// concurrent use.
type Gate struct {
	peer      protocols.Index
	meters    [256]*meter // by kind, nil before its first frame
	lane      meter       // KiB of batches of the peer's own lane
	loose     meter
	histories int // answers to Requests that may still come
	lds       int // requested LDs that may still come
	over      uint64
	unasked   uint64
}

// NewGate returns a gate of a peer, with all budgets full. window is the window of a lane in bytes, 0 is
// lanes.WindowBytes.
func NewGate(peer protocols.Index, window int) *Gate {
	rate := laneRate(window)
	return &Gate{
		peer: peer, lane: newMeter(rate, max(1, rate/laneBurst)), loose: newMeter(loose.perSecond, loose.burst),
	}
}

// laneRate is the budget of a lane in KiB a second.
func laneRate(window int) int {
	if window == 0 {
		window = lanes.WindowBytes
	}
	return max(1, window/laneShare>>10)
}

// Asks records a message to the peer before it leaves, since some messages have answers.
func (g *Gate) Asks(m protocols.Message) {
	switch x := m.(type) {
	case *Request:
		g.histories = min(g.histories+1, maxHistories)
	case *inbound.FetchLD:
		// Twice as many: a link may deliver a frame twice, and a request that is repeated to the same peer may have two
		// answers, which is no fault of the peer.
		g.lds = min(g.lds+2*int(x.Tip.Seq-x.After), maxLDs)
	}
}

// Admit reports whether a frame of at least one byte is accepted, and how long its stream must pause before that or instead
// of it. The bytes of a new batch of the peer's own lane count cost times, see [Congestion].
func (g *Gate) Admit(now protocols.Time, frame []byte, cost int) (take bool, wait time.Duration) {
	kind, size := protocols.Kind(frame[0]), len(frame)
	m, b := g.budget(kind)
	switch {
	case kind == KindHistory && g.histories == 0:
		g.unasked++
		return false, slow(size)
	case kind == KindHistory:
		g.histories--
	case kind == inbound.KindLD && g.lds == 0:
		m, b = &g.loose, loose
	case kind == inbound.KindLD:
		g.lds--
	}
	if wait = max(0, m.due().Sub(now)); wait > 0 {
		g.over++
		if b.repeats {
			return false, slow(size)
		}
	}
	m.take(now, 1)
	if lane, ok := lanes.BatchLane(frame); ok && lane == g.peer {
		wait = max(wait, g.lane.due().Sub(now)) // not counted: an honest lane reaches this budget after a pause of its link
		g.lane.take(now, cost*(1+size>>10))
	}
	return true, wait
}

// budget returns the budget of a kind, and the meter of its use.
func (g *Gate) budget(kind protocols.Kind) (*meter, budget) {
	b := byKind[kind]
	m := g.meters[kind]
	if m == nil {
		x := newMeter(b.perSecond, b.burst)
		m = &x
		g.meters[kind] = m
	}
	return m, b
}

func slow(size int) time.Duration { return slowFrame + slowMiB*time.Duration(size)>>20 }

// Refused is the number of frames beyond their budget, and of answers without a request.
func (g *Gate) Refused() (over, unasked uint64) { return g.over, g.unasked }
