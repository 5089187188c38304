// Package courier decides what a replica does to bring LDs to other shards and to get theirs: what it publishes, whom
// it asks, what it gives and what it fetches. It knows numbers only; whoever drives it reads, encodes and sends.
//
// Gossip is a hint. Of each LD f+1 replicas of the source publish at once, chosen by its number, so one honest among
// them. All of the source look a while later, again and again, until the destination has shown that it applied the LD,
// or n-f of its replicas said that they have it: then f+1 honest ones do, which is what it takes to order it. Each look
// asks another replica, and gives it what it lacks.
//
// A destination replica that sees a gap fetches the missing numbers from a replica of the source, another one each
// time, until the gap is closed. One that starts asks f+1 of each source whether there is more than it has, since what
// it said it had may be gone with what a crash took.
//
// So no replica is indispensable, no single one is believed, and once everything has arrived nothing is sent.
package courier

import (
	"slices"
	"time"

	"bdtnode/protocols"
)

// Delays and bounds.
const (
	stepIn   = 1 * time.Second        // a replica of the source looks for the first time whether its LDs have arrived
	nextLook = 250 * time.Millisecond // and for the next, when the last one went well
	gapGrace = 150 * time.Millisecond // a gap in a channel may close by itself
	maxPause = 15 * time.Second       // between two looks, or two fetches, for which there was no success
	maxGiven = 64                     // LDs a look gives a replica
)

// Config is what a machine is made of.
type Config struct {
	Shard      uint16
	Self       protocols.Index
	Committees []*protocols.Committee     // of all shards, by number
	Next       func(source uint16) uint64 // the number of the first LD of a source that this replica lacks
}

// What an Ask is about.
type What uint8

// The questions a replica asks one of another shard.
const (
	Position What = iota + 1 // what is the first LD of my shard that you lack?
	Take                     // here is LD Number; then as Position
	Fetch                    // give me the LDs for my shard from Number on
)

// Ask is a question to one replica of another shard. Its answer, or that there is none, must be reported.
type Ask struct {
	What   What
	Shard  uint16
	To     protocols.Index
	Number uint64
}

// Publication is an LD to be published on its destination's topic.
type Publication struct {
	Destination uint16
	Number      uint64
}

// Step is what one input made the machine want.
type Step struct {
	Publish []Publication
	Asks    []Ask
}

// Machine is one replica's part. It is not safe for concurrent use.
type Machine struct {
	cfg Config
	out []outbound // by destination
	in  []inbound  // by source
}

// outbound is the channel to another shard.
type outbound struct {
	known  uint64   // LDs up to here are certified, or were shown applied
	acked  uint64   // shown applied
	said   []uint64 // by each replica of the destination: it has all up to here
	asking bool
	turn   int            // replicas asked
	given  int            // LDs in this look
	at     protocols.Time // of the next look, zero if there is no need of one
	pause  time.Duration
}

// inbound is the channel from another shard.
type inbound struct {
	seen   uint64        // greatest number of a verified LD
	sure   protocols.Set // replicas of the source that had nothing more, since the start
	asking bool
	turn   int            // replicas asked
	last   uint64         // number asked for last
	at     protocols.Time // of the next fetch, zero if there is no need of one
	pause  time.Duration
}

// New makes a machine that knows of no LDs, of a replica that starts now.
func New(cfg Config, now protocols.Time) *Machine {
	m := &Machine{cfg: cfg}
	for s, c := range cfg.Committees {
		o, i := outbound{said: make([]uint64, c.N()), turn: int(cfg.Self)}, inbound{turn: int(cfg.Self), pause: gapGrace}
		if uint16(s) != cfg.Shard {
			i.at = now.Add(gapGrace)
		}
		m.out, m.in = append(m.out, o), append(m.in, i)
	}
	return m
}

// Known is up to which number LDs to a destination were reported certified or applied.
func (m *Machine) Known(destination uint16) uint64 { return m.out[destination].known }

// Certified reports that the LDs to a destination are certified up to a number, those above [Machine.Known] being new,
// and that the destination has shown that it applied those up to acked.
func (m *Machine) Certified(now protocols.Time, destination uint16, acked, number uint64) Step {
	var st Step
	o := &m.out[destination]
	o.acked = max(o.acked, acked)
	o.known = max(o.known, o.acked) // what is applied need not be certified here any more
	for o.known < number {
		o.known++
		if m.first(o.known) {
			st.Publish = append(st.Publish, Publication{destination, o.known})
		}
	}
	if o.at == 0 && !o.asking && !m.arrived(destination) {
		o.at, o.pause = now.Add(stepIn), stepIn
	}
	return st
}

// first reports whether this replica is one of the f+1 that publish an LD at once.
func (m *Machine) first(number uint64) bool {
	c := m.cfg.Committees[m.cfg.Shard]
	n := uint64(c.N())
	return (uint64(m.cfg.Self)+n-number%n)%n < uint64(c.WeakQuorum())
}

// arrived reports whether nothing need be done any more for the LDs to a destination.
func (m *Machine) arrived(destination uint16) bool {
	o := &m.out[destination]
	if o.acked >= o.known {
		return true
	}
	said := slices.Sorted(slices.Values(o.said))
	return said[len(said)-m.cfg.Committees[destination].Quorum()] >= o.known
}

// Position answers a Position or Take: the first LD that the replica lacks. ok is false if there was no answer, or if
// the LD to be given is not there any more, which happens once it was shown applied.
func (m *Machine) Position(now protocols.Time, a Ask, next uint64, ok bool) Step {
	var st Step
	o := &m.out[a.Shard]
	o.asking = false
	if ok && next > 0 {
		o.said[a.To] = max(o.said[a.To], min(next-1, o.known))
		if next <= o.known && next > a.Number && o.given < maxGiven {
			o.asking = true
			o.given++
			st.Asks = append(st.Asks, Ask{Take, a.Shard, a.To, next})
			return st
		}
	}
	switch {
	case m.arrived(a.Shard):
		o.at = 0
	case ok && next > o.known:
		o.at, o.pause = now.Add(nextLook), stepIn
	default:
		o.at = now.Add(o.pause + m.spread(o))
		o.pause = min(2*o.pause, maxPause)
	}
	return st
}

// spread is up to half of a pause, and differs between replicas and from one time to the next.
func (m *Machine) spread(o *outbound) time.Duration {
	n := m.cfg.Committees[m.cfg.Shard].N()
	return o.pause / 2 * time.Duration((o.turn+int(m.cfg.Self))%n) / time.Duration(n)
}

// Seen reports a verified LD of another shard, or that of a number there must be one.
func (m *Machine) Seen(now protocols.Time, source uint16, number uint64) {
	i := &m.in[source]
	i.seen = max(i.seen, number)
	if number >= m.cfg.Next(source) && (i.at == 0 || i.at > now.Add(gapGrace)) && !i.asking {
		i.at, i.pause = now.Add(gapGrace), gapGrace
	}
}

// Fetched answers a Fetch: how many LDs came. ok is false if there was no answer.
func (m *Machine) Fetched(now protocols.Time, a Ask, count int, ok bool) {
	i := &m.in[a.Shard]
	i.asking = false
	if ok && count == 0 {
		i.sure.Add(a.To)
	}
	moved := a.Number > i.last // what an earlier answer brought was taken: a replica takes only so much above the order
	i.last = a.Number
	if ok && (count > 0 && moved || i.seen < m.cfg.Next(a.Shard)) {
		i.pause = gapGrace
	} else {
		i.pause = min(2*i.pause, maxPause)
	}
	i.at = now.Add(i.pause)
}

// lacking reports whether there is, or may be, something to fetch of a source.
func (m *Machine) lacking(source uint16) bool {
	i := &m.in[source]
	return i.seen >= m.cfg.Next(source) || i.sure.Len() < m.cfg.Committees[source].WeakQuorum()
}

// Wake is when the machine next wants a Tick, or zero.
func (m *Machine) Wake() protocols.Time {
	var at protocols.Time
	for s := range m.out {
		if o := &m.out[s]; !o.asking {
			at = protocols.Earliest(at, o.at)
		}
		if i := &m.in[s]; !i.asking {
			at = protocols.Earliest(at, i.at)
		}
	}
	return at
}

// Tick looks and fetches where it is time to.
func (m *Machine) Tick(now protocols.Time) Step {
	var st Step
	for s := range m.out {
		shard := uint16(s)
		if o := &m.out[s]; o.at != 0 && o.at <= now && !o.asking {
			o.at = 0
			if !m.arrived(shard) {
				o.asking, o.given = true, 0
				st.Asks = append(st.Asks, Ask{What: Position, Shard: shard, To: o.other()})
			}
		}
		if i := &m.in[s]; i.at != 0 && i.at <= now && !i.asking {
			i.at = 0
			if m.lacking(shard) {
				i.asking = true
				st.Asks = append(st.Asks, Ask{Fetch, shard, i.other(m.cfg.Committees[s].N()), m.cfg.Next(shard)})
			}
		}
	}
	return st
}

// other is a replica of the destination that is not known to have everything, another one each time.
func (o *outbound) other() protocols.Index {
	for range o.said {
		if o.turn = (o.turn + 1) % len(o.said); o.said[o.turn] < o.known {
			break
		}
	}
	return protocols.Index(o.turn)
}

// other is one of the source's n replicas, another one each time.
func (i *inbound) other(n int) protocols.Index {
	i.turn = (i.turn + 1) % n
	return protocols.Index(i.turn)
}
