package replica

import (
	"slices"
	"time"

	"bdtnode/internal/wire"
	"bdtnode/protocols"
)

// Kinds of the messages that show whether the loops of other replicas run, and the state of their clocks.
const (
	KindPing = protocols.KindsCatchup + 7
	KindPong = protocols.KindsCatchup + 8
)

const (
	// pingEvery is the usual time between two Pings to all peers, see nextPings. A new connection gets one at once.
	pingEvery = time.Second
	// AnswerAge is how old the newest answered Ping of a replica may be while the replica counts as answering.
	AnswerAge = 3 * time.Second
	// pongGap is the least time between two Pongs to one peer.
	pongGap = 200 * time.Millisecond
	// maxRoundTrip is how long an answer may take to be used for comparing clocks: its error is up to half of that.
	maxRoundTrip = 500 * time.Millisecond
	// MaxClockOffset is how far the median of the shard's clocks may be from the own one. Voters refuse a block that is
	// ahead of their clock by as much.
	MaxClockOffset = 500 * time.Millisecond
	// latest bounds a peer's clock so that differences of clocks do not overflow.
	latest = 1 << 62
	// clockPings is how many comparisons in a row make a clock wrong, or right again.
	clockPings = 3
)

// Ping asks a peer for a Pong. Sent is the time on the sender's clock for deadlines, in nanoseconds. It is meaningful
// only to the sender.
type Ping struct{ Sent uint64 }

// Kind is KindPing.
func (*Ping) Kind() protocols.Kind { return KindPing }

// Append encodes the time.
func (m *Ping) Append(b []byte) []byte { return wire.AppendU64(b, m.Sent) }

func decodePing(b []byte) (*Ping, error) {
	r := wire.NewReader(b)
	m := &Ping{Sent: r.U64()}
	return m, r.Done()
}

// Pong answers a Ping. It has the time of the Ping and the wall clock of the answering replica, in nanoseconds.
type Pong struct{ Sent, Wall uint64 }

// Kind is KindPong.
func (*Pong) Kind() protocols.Kind { return KindPong }

// Append encodes the times.
func (m *Pong) Append(b []byte) []byte {
	return wire.AppendU64(wire.AppendU64(b, m.Sent), m.Wall)
}

func decodePong(b []byte) (*Pong, error) {
	r := wire.NewReader(b)
	m := &Pong{Sent: r.U64(), Wall: r.U64()}
	return m, r.Done()
}

// PeerClock is the result of a replica's Pongs.
type PeerClock struct {
	// Answered is when the newest answered Ping was sent, 0 if none was answered. The time of the Ping counts and not
	// that of the Pong, so answers that come after a pause of seconds do not count as new.
	Answered  protocols.Time
	RoundTrip time.Duration
	Ahead     time.Duration // of its wall clock before the own one, if Compared
	Compared  bool          // the newest answer was quick enough to compare clocks
}

// Presence has the results of the Pings for each replica of the shard, and the comparison of clocks.
type Presence struct {
	Peers []PeerClock // by index; the own entry stays zero
	// ClockOffset is the median of all compared clocks, the own one included, less the own clock: positive if the own
	// clock is behind.
	ClockOffset time.Duration
	ClockOff    bool // the offset was beyond MaxClockOffset in several comparisons, and has not been right again since
}

// Answering is the number of replicas that answered a Ping sent in the last AnswerAge, this replica included.
func (p *Presence) Answering(now protocols.Time) int {
	n := 1
	for i := range p.Peers {
		if p.Peers[i].answers(now) {
			n++
		}
	}
	return n
}

// Answers reports whether a peer answered a Ping sent in the last AnswerAge.
func (p *Presence) Answers(i protocols.Index, now protocols.Time) bool {
	return int(i) < len(p.Peers) && p.Peers[i].answers(now)
}

func (c *PeerClock) answers(now protocols.Time) bool {
	return c.Answered != 0 && now.Sub(c.Answered) <= AnswerAge
}

// pings sends Pings to all peers every second, and keeps the results.
type pings struct {
	Presence
	self     protocols.Index
	wall     *protocols.WallClock
	ponged   []protocols.Time // when each peer last got a Pong
	due      protocols.Time   // of the next Pings, zero before the first connection
	contrary int              // comparisons in a row that contradict ClockOff
	version  uint64           // counts changes of Presence
}

func newPings(cfg *Config) pings {
	n := cfg.Committee.N()
	return pings{
		Presence: Presence{Peers: make([]PeerClock, n)}, self: cfg.Self, wall: cfg.WallClock, ponged: make([]protocols.Time, n),
	}
}

// connected makes the next Pings due at once.
func (x *pings) connected() { x.due = 1 }

// tick sends Pings and compares clocks if that is due, and reports whether it was.
func (x *pings) tick(now protocols.Time, st *Step) bool {
	if x.due == 0 || now < x.due {
		return false
	}
	x.compare(now)
	x.due = nextPings(now)
	st.Broadcast(&Ping{Sent: uint64(now)})
	return true
}

// nextPings is the multiple of pingEvery that is nearest to pingEvery from now. So replicas whose clocks agree send their Pings at
// the same time, and an idle process wakes once for its own and for those of the others.
func nextPings(now protocols.Time) protocols.Time {
	at := now.Add(pingEvery + pingEvery/2)
	return at - at%protocols.Time(pingEvery)
}

// asked answers a Ping, at most once in pongGap.
func (x *pings) asked(now protocols.Time, st *Step, from protocols.Index, m *Ping) {
	if last := x.ponged[from]; last != 0 && now < last.Add(pongGap) {
		return
	}
	x.ponged[from] = now
	st.Send(from, &Pong{Sent: m.Sent, Wall: uint64(x.wall.At(now))})
}

// answered handles a Pong. A false Pong changes only the clock and the round trip of its sender.
func (x *pings) answered(now protocols.Time, from protocols.Index, m *Pong) {
	p := &x.Peers[from]
	if m.Sent > uint64(now) || m.Sent <= uint64(p.Answered) || now.Sub(protocols.Time(m.Sent)) > AnswerAge {
		return
	}
	p.Answered = protocols.Time(m.Sent)
	p.RoundTrip = now.Sub(p.Answered)
	if p.Compared = p.RoundTrip <= maxRoundTrip; p.Compared {
		p.Ahead = protocols.Time(min(m.Wall, latest)).Sub(x.wall.At(now)) + p.RoundTrip/2
	}
	x.version++
}

// compare computes the median of the clocks. For an even number of clocks it is the one of the two middle ones that is
// nearer to the own clock. Among n-f or more clocks the median lies between those of honest replicas.
func (x *pings) compare(now protocols.Time) {
	offsets := []time.Duration{0}
	for i := range x.Peers {
		if p := &x.Peers[i]; p.Compared && p.answers(now) {
			offsets = append(offsets, p.Ahead)
		}
	}
	slices.Sort(offsets)
	low, high := offsets[(len(offsets)-1)/2], offsets[len(offsets)/2]
	if x.ClockOffset = high; max(low, -low) < max(high, -high) {
		x.ClockOffset = low
	}
	x.version++
	off := x.ClockOffset > MaxClockOffset || x.ClockOffset < -MaxClockOffset
	if off == x.ClockOff {
		x.contrary = 0
		return
	}
	if x.contrary++; x.contrary == clockPings {
		x.ClockOff, x.contrary = off, 0
	}
}

// Presence returns the results of the Pings, and a number that changes with them.
func (c *Core) Presence() (Presence, uint64) {
	p := c.pings.Presence
	p.Peers = slices.Clone(p.Peers)
	return p, c.pings.version
}

// PresenceVersion is the number that [Core.Presence] returns.
func (c *Core) PresenceVersion() uint64 { return c.pings.version }
