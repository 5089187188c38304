// Package xshard is the state machine of one replica for the transfer of LDs between shards: which LDs it publishes,
// which replicas of other shards it asks, which LDs it gives them, and which it fetches. It handles numbers of LDs
// only; its caller reads, encodes and sends the LDs.
//
// # Sending
//
// Publication by gossip may be lost. Each LD is published at once by f+1 replicas of the source, chosen by its
// number, so at least one of them is honest. Later all replicas of the source check repeatedly whether the LD has
// arrived. Each check asks another replica of the destination, and gives it the LDs that it lacks. The checks end
// when the destination has acknowledged that it applied the LD, or when n-f of its replicas have reported that they
// hold it: then f+1 honest ones do, which is enough to order it.
//
// CLs are published in the same way, once. A replica that has a transaction in escrow for a second asks replicas of the
// shards whose verdicts are missing for a CL, three times at most.
//
// # Fetching
//
// A destination replica that finds a gap fetches the missing numbers from a replica of the source, each time from
// another one, until the gap is closed. A replica that starts asks f+1 replicas of each source for LDs that it lacks,
// since LDs that it had reported to hold may have been lost in a crash.
//
// So every replica can be replaced by another one, no report of a single replica is relied on, and nothing is sent
// once everything has arrived.
package xshard

import (
	"slices"
	"time"

	"bdtnode/internal/digest"
	"bdtnode/protocols"
)

// Delays and bounds.
const (
	firstCheck = 1 * time.Second        // until a replica of the source checks for the first time whether its LDs have arrived
	nextCheck  = 250 * time.Millisecond // until the next check, after one that succeeded
	gapGrace   = 150 * time.Millisecond // until a gap is fetched, since gossip may close it
	maxPause   = 15 * time.Second       // longest pause between two checks, or two fetches, without success
	maxGiven   = 64                     // LDs that one check gives a replica
)

// Config has the settings of a machine.
type Config struct {
	Shard      uint16
	Self       protocols.Index
	Committees []*protocols.Committee     // of all shards, by shard number
	Next       func(source uint16) uint64 // returns the number of the first LD of a source that this replica lacks
}

// Kind is the kind of a Request.
type Kind uint8

// The kinds of questions to a replica of another shard.
const (
	Position Kind = iota + 1 // asks for the number of the first LD of this shard that the replica lacks
	Give                     // gives LD Number; then like Position
	Fetch                    // asks for the LDs to this shard from Number on
	Pull                     // asks for CLs of the asked shard for the transactions IDs
)

// Request is a question to one replica of another shard. The caller must report its answer, or that there is none, by
// [Machine.Answered] or [Machine.Fetched].
type Request struct {
	Kind   Kind
	Shard  uint16
	To     protocols.Index
	Number uint64
	IDs    []digest.Digest // of a Pull, at most [MaxPulled]
}

// Publication is an LD that the caller publishes on its destination's topic.
type Publication struct {
	Destination uint16
	Number      uint64
}

// Step is the output of the machine for one input.
type Step struct {
	Publish  []Publication
	Requests []Request
}

// Machine is the state of one replica. It is not safe for concurrent use.
type Machine struct {
	cfg Config
	out []outbound // by destination
	in  []inbound  // by source
	// pulls are by shard; that of the own shard is unused.
	pulls []pulls
}

// outbound is the state of the channel to another shard.
type outbound struct {
	known     uint64   // LDs up to this number are certified or acknowledged
	acked     uint64   // LDs up to this number are acknowledged: the destination has shown that it applied them
	held      []uint64 // by replica of the destination: it has reported to hold all LDs up to this number
	asking    bool
	lastAsked int            // index of the replica asked last
	given     int            // LDs given in the current check
	at        protocols.Time // time of the next check, zero if none is needed
	pause     time.Duration
}

// inbound is the state of the channel from another shard.
type inbound struct {
	seen      uint64        // greatest number of a verified LD
	exhausted protocols.Set // replicas of the source that had no further LD when asked since the start
	asking    bool
	lastAsked int            // index of the replica asked last
	last      uint64         // first number of the last fetch
	at        protocols.Time // time of the next fetch, zero if none is needed
	pause     time.Duration
}

// New makes the machine of a replica that starts at now. It knows no LDs.
func New(cfg Config, now protocols.Time) *Machine {
	m := &Machine{cfg: cfg}
	for s, c := range cfg.Committees {
		o, i := outbound{held: make([]uint64, c.N()), lastAsked: int(cfg.Self)}, inbound{lastAsked: int(cfg.Self), pause: gapGrace}
		if uint16(s) != cfg.Shard {
			i.at = now.Add(gapGrace)
		}
		m.out, m.in = append(m.out, o), append(m.in, i)
		m.pulls = append(m.pulls, pulls{open: make(map[digest.Digest]struct{}), lastAsked: int(cfg.Self)})
	}
	return m
}

// Known returns the number up to which LDs to a destination are reported certified or acknowledged.
func (m *Machine) Known(destination uint16) uint64 { return m.out[destination].known }

// Certified is called when the LDs to a destination are certified up to a number; those above [Machine.Known] are
// new. The destination has acknowledged that it applied those up to acked.
func (m *Machine) Certified(now protocols.Time, destination uint16, acked, number uint64) Step {
	var st Step
	o := &m.out[destination]
	o.acked = max(o.acked, acked)
	o.known = max(o.known, o.acked) // an acknowledged LD need not be certified here
	for o.known < number {
		o.known++
		if m.publishesAtOnce(o.known) {
			st.Publish = append(st.Publish, Publication{destination, o.known})
		}
	}
	if o.at == 0 && !o.asking && !m.arrived(destination) {
		o.at, o.pause = now.Add(firstCheck), firstCheck
	}
	return st
}

// publishesAtOnce reports whether this replica is one of the f+1 that publish an LD at once.
func (m *Machine) publishesAtOnce(number uint64) bool {
	c := m.cfg.Committees[m.cfg.Shard]
	n := uint64(c.N())
	return (uint64(m.cfg.Self)+n-number%n)%n < uint64(c.WeakQuorum())
}

// arrived reports whether all LDs to a destination are acknowledged, or held by a quorum of its replicas by their
// reports.
func (m *Machine) arrived(destination uint16) bool {
	o := &m.out[destination]
	if o.acked >= o.known {
		return true
	}
	held := slices.Sorted(slices.Values(o.held))
	return held[len(held)-m.cfg.Committees[destination].Quorum()] >= o.known
}

// Answered is called with the answer to a Position or Give: next is the number of the first LD that the replica
// lacks. ok is false if there was no answer, or if the LD to give does not exist any more, which happens after it was
// acknowledged. The end of a Pull, answered or not, is told by Answered too.
func (m *Machine) Answered(now protocols.Time, r Request, next uint64, ok bool) Step {
	var st Step
	if r.Kind == Pull {
		m.pulls[r.Shard].asking = false
		return st
	}
	o := &m.out[r.Shard]
	o.asking = false
	if ok && next > 0 {
		o.held[r.To] = max(o.held[r.To], min(next-1, o.known))
		if next <= o.known && next > r.Number && o.given < maxGiven {
			o.asking = true
			o.given++
			st.Requests = append(st.Requests, Request{Kind: Give, Shard: r.Shard, To: r.To, Number: next})
			return st
		}
	}
	switch {
	case m.arrived(r.Shard):
		o.at = 0
	case ok && next > o.known:
		o.at, o.pause = now.Add(nextCheck), firstCheck
	default:
		o.at = now.Add(o.pause + m.jitter(o))
		o.pause = min(2*o.pause, maxPause)
	}
	return st
}

// jitter returns up to half of a pause. It differs between replicas and from one check to the next.
func (m *Machine) jitter(o *outbound) time.Duration {
	n := m.cfg.Committees[m.cfg.Shard].N()
	return o.pause / 2 * time.Duration((o.lastAsked+int(m.cfg.Self))%n) / time.Duration(n)
}

// Seen is called when an LD of another shard is verified, or when it is known that an LD of this number exists.
func (m *Machine) Seen(now protocols.Time, source uint16, number uint64) {
	i := &m.in[source]
	i.seen = max(i.seen, number)
	if number >= m.cfg.Next(source) && (i.at == 0 || i.at > now.Add(gapGrace)) && !i.asking {
		i.at, i.pause = now.Add(gapGrace), gapGrace
	}
}

// Fetched is called with the answer to a Fetch: the number of LDs that came. ok is false if there was no answer.
func (m *Machine) Fetched(now protocols.Time, r Request, count int, ok bool) {
	i := &m.in[r.Shard]
	i.asking = false
	if ok && count == 0 {
		i.exhausted.Add(r.To)
	}
	// progressed: the LDs of the answer before were accepted. A replica accepts only a limited number of LDs above the
	// ordered ones.
	progressed := r.Number > i.last
	i.last = r.Number
	if ok && (count > 0 && progressed || i.seen < m.cfg.Next(r.Shard)) {
		i.pause = gapGrace
	} else {
		i.pause = min(2*i.pause, maxPause)
	}
	i.at = now.Add(i.pause)
}

// lacking reports whether LDs of a source are, or may be, missing.
func (m *Machine) lacking(source uint16) bool {
	i := &m.in[source]
	return i.seen >= m.cfg.Next(source) || i.exhausted.Len() < m.cfg.Committees[source].WeakQuorum()
}

// Wake returns the time at which the machine next needs a Tick, zero if it needs none.
func (m *Machine) Wake() protocols.Time {
	var at protocols.Time
	for s := range m.out {
		if o := &m.out[s]; !o.asking {
			at = protocols.Earliest(at, o.at)
		}
		if i := &m.in[s]; !i.asking {
			at = protocols.Earliest(at, i.at)
		}
		at = protocols.Earliest(at, m.pulls[s].wake())
	}
	return at
}

// Tick starts the checks and fetches that are due at now.
func (m *Machine) Tick(now protocols.Time) Step {
	var st Step
	for s := range m.out {
		shard := uint16(s)
		if o := &m.out[s]; o.at != 0 && o.at <= now && !o.asking {
			o.at = 0
			if !m.arrived(shard) {
				o.asking, o.given = true, 0
				st.Requests = append(st.Requests, Request{Kind: Position, Shard: shard, To: o.nextReplica()})
			}
		}
		if i := &m.in[s]; i.at != 0 && i.at <= now && !i.asking {
			i.at = 0
			if m.lacking(shard) {
				i.asking = true
				st.Requests = append(st.Requests, Request{Kind: Fetch, Shard: shard, To: i.nextReplica(m.cfg.Committees[s].N()), Number: m.cfg.Next(shard)})
			}
		}
		if p := &m.pulls[s]; p.wake() != 0 && p.wake() <= now {
			ids := p.take(now)
			p.asking, p.lastAsked = true, (p.lastAsked+1)%m.cfg.Committees[s].N()
			st.Requests = append(st.Requests, Request{Kind: Pull, Shard: shard, To: protocols.Index(p.lastAsked), IDs: ids})
		}
	}
	return st
}

// nextReplica returns a replica of the destination that has not reported to hold all LDs, another one each time.
func (o *outbound) nextReplica() protocols.Index {
	for range o.held {
		if o.lastAsked = (o.lastAsked + 1) % len(o.held); o.held[o.lastAsked] < o.known {
			break
		}
	}
	return protocols.Index(o.lastAsked)
}

// nextReplica returns one of the source's n replicas, another one each time.
func (i *inbound) nextReplica(n int) protocols.Index {
	i.lastAsked = (i.lastAsked + 1) % n
	return protocols.Index(i.lastAsked)
}
