// Package channels brings ledger deliveries (LD) of other shards into the order of this one (DESIGN §6.3; Kronos,
// arXiv 2403.03655). It knows their positions, not what they say.
//
// Each other shard has one channel to this one: LDs numbered without gaps, each naming the digest of the one before.
// A replica that holds an LD, and with it all before, sends SIGN to its shard, in channel order. An LD that f+1
// replicas signed, or that the voter holds itself, may be in a cut.
//
// Guarantee: every replica applies the same LDs of a channel, each once, in order of number; and what a cut names can
// be fetched from an honest replica of the shard. Why f+1 suffices: one of the signers is honest, so it holds the LD
// and checked its certificate. Whether two replicas could be shown different LDs under one number is the source
// shard's fault, if more than its f are Byzantine; the one that is ordered counts, and execution freezes a channel
// whose LD does not name the one before.
package channels

import (
	"slices"
	"time"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/protocols"
	"bdtnode/protocols/lanes"
)

// Bounds and delays.
const (
	// Window is how many LDs of a channel above the last ordered one are kept.
	Window = 512
	// Backlog bounds the bytes of the LDs of a channel above the last ordered one. An LD beyond it is not taken; its
	// source gives it again.
	Backlog = 8 << 20
	// PerBlock is how many LDs of one channel a block may order.
	PerBlock = 64

	fetchGrace    = 60 * time.Millisecond
	fetchRetryMin = 150 * time.Millisecond
	fetchRetryMax = 3 * time.Second
)

// Output is what the machine has to tell its parent.
type Output struct {
	Grew bool // something new can be proposed, or content that a block waited for has come
}

// Step is one step of the machine.
type Step = protocols.Step[Output]

// Config is what a machine is made of.
type Config struct {
	Committee *protocols.Committee
	Self      protocols.Index
	Signer    sig.Signer
	Shards    int // in the network; the own one has a channel that stays empty
}

// Machine is one replica's view of all inbound channels.
type Machine struct {
	cfg   Config
	chans []*channel
	wants map[Ref]*want // by position: a leader may name an LD with another's number
}

type channel struct {
	base    lanes.Tip // executed
	ordered lanes.Tip // in the last committed cut
	signed  lanes.Tip // highest SIGNed
	held    map[digest.Digest]link
	byNum   map[uint64][]digest.Digest
	own     map[uint64]digest.Digest // SIGNed, above base
	signs   map[uint64]*count
	top     uint64 // highest number that f+1 replicas signed
	ahead   int    // bytes of the LDs that are held above ordered
}

// link is what is kept in memory of an LD that is held: its bytes are in the store alone.
type link struct {
	number   uint64
	previous digest.Digest
	size     int // bytes
}

type count struct {
	signers   protocols.Set
	tallies   map[digest.Digest]*protocols.Tally
	certified digest.Digest // the first that f+1 replicas signed
}

// New makes a machine at the channels' origins.
func New(cfg Config) *Machine {
	m := &Machine{cfg: cfg, chans: make([]*channel, cfg.Shards), wants: make(map[Ref]*want)}
	for i := range m.chans {
		m.chans[i] = &channel{
			held: make(map[digest.Digest]link), byNum: make(map[uint64][]digest.Digest),
			own: make(map[uint64]digest.Digest), signs: make(map[uint64]*count),
		}
	}
	return m
}

// known is the channel of a source, or nil if there is none.
func (m *Machine) known(source uint16) *channel {
	if int(source) >= len(m.chans) || source == m.cfg.Committee.Shard() {
		return nil
	}
	return m.chans[source]
}

// HandleLD is called upon a checked LD, from gossip, from its source or from a replica of this shard.
func (m *Machine) HandleLD(now protocols.Time, d *LD) Step {
	var st Step
	c := m.known(d.Source)
	if c == nil || d.Number <= c.base.Seq || c.holds(d.Digest) {
		return st
	}
	at := Ref{d.Source, d.Tip()}
	w := m.wants[at]
	if w == nil && (d.Number > c.ordered.Seq+Window || len(c.byNum[d.Number]) >= 2) || !c.room(&st, d) {
		return st
	}
	c.hold(d)
	st.Record(StoredKey(d.Source, d.Tip()), d.EncodeStored())
	if w != nil {
		delete(m.wants, at)
		m.moveOn(now, c, w)
	}
	m.signOn(&st, c, d.Source)
	st.Emit(Output{Grew: true})
	return st
}

// holds reports whether an LD is in the store.
func (c *channel) holds(d digest.Digest) bool {
	_, ok := c.held[d]
	return ok
}

func (c *channel) hold(d *LD) {
	c.held[d.Digest] = link{d.Number, d.Previous, len(d.Raw)}
	c.byNum[d.Number] = append(c.byNum[d.Number], d.Digest)
	if d.Number > c.ordered.Seq {
		c.ahead += len(d.Raw)
	}
}

// room makes room for an LD and reports whether there is any. What is ordered is always taken. Above that, lower
// numbers displace higher ones that are not signed: each replica holds the same first part of the channel, and the
// next to sign is never displaced, so the channel goes on however much of it comes out of order.
func (c *channel) room(st *Step, d *LD) bool {
	if d.Number <= c.ordered.Seq {
		return true
	}
	for c.ahead+len(d.Raw) > Backlog {
		last := uint64(0)
		for s := range c.byNum {
			last = max(last, s)
		}
		if last <= max(d.Number, c.signed.Seq) {
			return false
		}
		for _, h := range c.byNum[last] {
			c.ahead -= c.held[h].size
			delete(c.held, h)
			st.Record(StoredKey(d.Source, lanes.Tip{Seq: last, Digest: h}), nil)
		}
		delete(c.byNum, last)
	}
	return true
}

// lacking is the first position, from t down to but without number after, whose LD is not held; ok is false if all are,
// or if t names an LD with another's number, below which there is nothing to ask for.
func (c *channel) lacking(t lanes.Tip, after uint64) (_ lanes.Tip, ok bool) {
	for t.Seq > after {
		x, held := c.held[t.Digest]
		switch {
		case !held:
			return t, true
		case x.number != t.Seq:
			return lanes.Tip{}, false
		}
		t = lanes.Tip{Seq: t.Seq - 1, Digest: x.previous}
	}
	return lanes.Tip{}, false
}

// upon holding the next LD of a channel: sign it, and those after it that were waiting.
func (m *Machine) signOn(st *Step, c *channel, source uint16) {
	for {
		t, ok := c.child(c.signed)
		if !ok {
			return
		}
		c.signed = t
		c.own[t.Seq] = t.Digest
		st.Record(signedKey(source, t.Seq), t.Digest[:])
		if t.Seq > c.ordered.Seq {
			s := m.sign(source, t)
			m.count(st, c, m.cfg.Self, s)
			st.Broadcast(s)
		}
	}
}

// child is the position of the held LD that follows another; ok is false if there is none.
func (c *channel) child(t lanes.Tip) (_ lanes.Tip, ok bool) {
	for _, h := range c.byNum[t.Seq+1] {
		if c.held[h].previous == t.Digest {
			return lanes.Tip{Seq: t.Seq + 1, Digest: h}, true
		}
	}
	return lanes.Tip{}, false
}

func (m *Machine) sign(source uint16, t lanes.Tip) *SIGN {
	return &SIGN{Source: source, Tip: t, Signature: m.cfg.Signer.Sign(statement(m.cfg.Committee, source, t))}
}

// HandleSIGN is called upon a checked SIGN.
func (m *Machine) HandleSIGN(from protocols.Index, s *SIGN) Step {
	var st Step
	if c := m.known(s.Source); c != nil && s.Tip.Seq > c.ordered.Seq && s.Tip.Seq <= c.ordered.Seq+Window {
		m.count(&st, c, from, s)
	}
	return st
}

// upon f+1 SIGN for one LD: it may be proposed.
func (m *Machine) count(st *Step, c *channel, from protocols.Index, s *SIGN) {
	if x := c.signs[s.Tip.Seq]; x != nil && x.signers.Has(from) {
		return
	}
	t := c.tally(s.Tip)
	c.signs[s.Tip.Seq].signers.Add(from)
	if t.Add(from, s.Signature) && t.Len() == m.cfg.Committee.WeakQuorum() {
		c.certify(s.Tip)
		st.Emit(Output{Grew: true})
	}
}

// certify notes that f+1 replicas signed a position.
func (c *channel) certify(t lanes.Tip) {
	if x := c.signs[t.Seq]; x.certified.IsZero() {
		x.certified = t.Digest
	}
	c.top = max(c.top, t.Seq)
}

// tally counts SIGN for a position.
func (c *channel) tally(t lanes.Tip) *protocols.Tally {
	x := c.signs[t.Seq]
	if x == nil {
		x = &count{tallies: make(map[digest.Digest]*protocols.Tally)}
		c.signs[t.Seq] = x
	}
	if x.tallies[t.Digest] == nil {
		x.tallies[t.Digest] = protocols.NewTally(t.Digest)
	}
	return x.tallies[t.Digest]
}

// certified reports whether f+1 replicas signed a position.
func (m *Machine) certified(c *channel, t lanes.Tip) bool {
	x := c.signs[t.Seq]
	return x != nil && x.tallies[t.Digest] != nil && x.tallies[t.Digest].Len() >= m.cfg.Committee.WeakQuorum()
}

// View is the highest inbound cut that this replica can propose on top of parent, whether it holds the LDs or not: f+1
// signatures say that an honest replica does.
func (m *Machine) View(parent lanes.Cut) lanes.Cut {
	cut := slices.Clone(parent)
	for i, c := range m.chans {
		for s := parent[i].Seq + PerBlock; s > parent[i].Seq; s-- {
			if x := c.signs[s]; x != nil && !x.certified.IsZero() {
				cut[i] = lanes.Tip{Seq: s, Digest: x.certified}
				break
			}
		}
	}
	return cut
}

// Check says whether every new position of an inbound cut on top of parent was signed by f+1 replicas or is held
// with all before it. What is missing is asked for, first from hint.
func (m *Machine) Check(now protocols.Time, parent, cut lanes.Cut, hint protocols.Index) lanes.Verdict {
	verdict := lanes.Votable
	for i, t := range cut {
		if t == parent[i] {
			continue
		}
		c := m.known(uint16(i))
		if c == nil || t.Seq > parent[i].Seq+PerBlock {
			return lanes.Refused
		}
		if m.certified(c, t) || t.Seq <= c.signed.Seq && c.own[t.Seq] == t.Digest {
			continue
		}
		m.want(now, uint16(i), t, min(c.signed.Seq, t.Seq-1), fetchGrace, hint)
		verdict = lanes.Missing
	}
	return verdict
}

// Ref names one LD of a committed block.
type Ref struct {
	Source uint16
	Tip    lanes.Tip
}

// Content lists the LDs between two committed inbound cuts in the order in which they are applied: by source, by
// number. If some are not here it asks for them and answers false.
func (m *Machine) Content(now protocols.Time, prev, cut lanes.Cut, signers protocols.Set) ([]Ref, bool) {
	var refs []Ref
	complete := true
	for i, t := range cut {
		c := m.chans[i]
		var rev []Ref
		for t.Seq > prev[i].Seq {
			if !c.holds(t.Digest) {
				m.want(now, uint16(i), t, prev[i].Seq, 0, signers.Members()...)
				complete = false
				break
			}
			rev = append(rev, Ref{uint16(i), t})
			t = lanes.Tip{Seq: t.Seq - 1, Digest: c.held[t.Digest].previous}
		}
		slices.Reverse(rev)
		refs = append(refs, rev...)
	}
	return refs, complete
}

// Ordered reports that an inbound cut was committed.
func (m *Machine) Ordered(cut lanes.Cut) Step {
	var st Step
	for i, t := range cut {
		c := m.chans[i]
		if t.Seq <= c.ordered.Seq {
			continue
		}
		c.ordered, c.ahead = t, 0
		for _, x := range c.held {
			if x.number > t.Seq {
				c.ahead += x.size
			}
		}
		for s := range c.signs {
			if s <= t.Seq {
				delete(c.signs, s)
			}
		}
		if c.signed.Seq < t.Seq || c.own[t.Seq] != t.Digest {
			c.signed = t // what is ordered is the channel
		}
		m.signOn(&st, c, uint16(i))
	}
	return st
}

// Executed reports that everything up to an inbound cut has been applied.
func (m *Machine) Executed(cut lanes.Cut) Step {
	var st Step
	for i, t := range cut {
		c := m.chans[i]
		for s := c.base.Seq + 1; s <= t.Seq; s++ {
			for _, h := range c.byNum[s] {
				delete(c.held, h)
			}
			delete(c.byNum, s)
			if _, ok := c.own[s]; ok {
				delete(c.own, s)
				st.Record(signedKey(uint16(i), s), nil)
			}
		}
		if t.Seq > c.base.Seq {
			c.base = t
		}
	}
	for at := range m.wants {
		if at.Tip.Seq <= m.chans[at.Source].base.Seq {
			delete(m.wants, at)
		}
	}
	return st
}

// Next is the number of the first LD of a channel that this replica lacks, for whoever asks its source for it.
func (m *Machine) Next(source uint16) uint64 {
	if c := m.known(source); c != nil {
		return c.signed.Seq + 1
	}
	return 0
}

// Resend gives a peer again the SIGNs whose LDs are not ordered.
func (m *Machine) Resend(to protocols.Index) Step {
	var st Step
	for i, c := range m.chans {
		for s := c.ordered.Seq + 1; s <= c.signed.Seq; s++ {
			if d, ok := c.own[s]; ok {
				st.Send(to, m.sign(uint16(i), lanes.Tip{Seq: s, Digest: d}))
			}
		}
	}
	return st
}
