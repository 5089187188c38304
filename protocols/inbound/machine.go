// package inbound brings ledger deliveries (LD) of other shards into the order of this shard (docs/design.md §6.3;
// Kronos, arXiv 2403.03655). It handles the positions of LDs in their channels. It does not read their content.
//
// Each other shard has one channel to this shard: LDs numbered without gaps, each with the digest of the LD before it. A
// replica that holds an LD and all LDs of the channel before it sends a SIGN to its shard, in the order of the channel. A
// cut may contain an LD that f+1 replicas signed. A replica also votes for an LD that it holds itself.
//
// So a leader does not wait for signatures: it proposes an LD as soon as it holds it, in the same step as its own SIGN. That
// saves a message delay and a sync, since the others get the LD from the same publishers. If they do not, the slot waits until
// f of them have it, which a Byzantine source could cause. Then the leader proposes later LDs of the channel uncertified only
// after a time, see [lanes.Lag]; f+1 signatures end the time at once. It does not do it again for a channel of which it holds
// two LDs with one number.
//
// Guarantee: every replica applies the same LDs of a channel, each once, in order of number; and the LDs that a cut names
// can be fetched from an honest replica of the shard. Why f+1 suffices: one of the signers is honest, so it holds the LD
// and has checked its certificate. Two different LDs under one number are possible only if more than f replicas of the
// source shard are Byzantine. Then the LD that is ordered counts, and execution freezes a channel if an LD does not name
// the digest of the LD before it.
package inbound

import (
	"slices"
	"time"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/protocols"
	"bdtnode/protocols/lanes"
)

// Bounds and delays. Safety and liveness do not depend on the delays.
const (
	// Window is the number of LDs of a channel, above the last ordered one, that are kept.
	Window = 512
	// Backlog is the largest total size, in bytes, of the LDs of a channel above the last ordered one that are kept. An LD
	// above this bound is refused; its source sends it again later.
	Backlog = 8 << 20
	// PerBlock is the largest number of LDs of one channel that a block may order.
	PerBlock = 64

	fetchGrace    = 60 * time.Millisecond  // before the first request: the LD may already be on its way
	fetchRetryMin = 150 * time.Millisecond // first pause between two requests
	fetchRetryMax = 3 * time.Second        // longest pause
)

// Output is an event for the parent of the machine.
type Output struct {
	Progressed bool // a new position can be proposed, or content that a block waited for has arrived
}

// Step is one step of the machine.
type Step = protocols.Step[Output]

// Config has the parameters of a machine.
type Config struct {
	Committee *protocols.Committee
	Self      protocols.Index
	Signer    sig.Signer
	Shards    int // in the network; the channel of the own shard stays empty
}

// Machine is the state of all inbound channels at one replica.
type Machine struct {
	cfg   Config
	chans []*channel
	wants map[Ref]*want // by position, not by digest: a leader may name an LD with the number of another

	tipDue protocols.Time // when an LD that is held back may be proposed; zero if there is none
}

type channel struct {
	base    lanes.Tip                  // last applied position
	ordered lanes.Tip                  // position in the last committed cut
	signed  lanes.Tip                  // highest position that this replica signed
	held    map[digest.Digest]link     // LDs in the store, above base
	byNum   map[uint64][]digest.Digest // digests in held by number
	own     map[uint64]digest.Digest   // signed by this replica, above base
	signs   map[uint64]*count          // by number, above ordered
	top     uint64                     // highest number that f+1 replicas signed
	ahead   int                        // bytes of the held LDs above ordered
	forked  bool                       // two LDs with one number were held since the start
	lag     lanes.Lag                  // of the signed LDs
}

// link is the part of a held LD that is kept in memory. Its bytes are only in the store.
type link struct {
	number   uint64
	previous digest.Digest
	size     int // bytes
}

// count has the signatures on LDs of one number. The first SIGN of each replica counts.
type count struct {
	signers   protocols.Set
	tallies   map[digest.Digest]*protocols.Tally
	certified digest.Digest // the first LD that f+1 replicas signed
}

// New makes a machine with all channels at their origin.
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

// known is the channel of a source, or nil if source is the own shard or not a shard.
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
	m.signOn(now, &st, c, d.Source)
	st.Emit(Output{Progressed: true})
	return st
}

// holds reports whether the LD with digest d is in the store.
func (c *channel) holds(d digest.Digest) bool {
	_, ok := c.held[d]
	return ok
}

// hold adds an LD to the channel's state in memory.
func (c *channel) hold(d *LD) {
	c.held[d.Digest] = link{d.Number, d.Previous, len(d.Raw)}
	c.byNum[d.Number] = append(c.byNum[d.Number], d.Digest)
	c.forked = c.forked || len(c.byNum[d.Number]) > 1
	if d.Number > c.ordered.Seq {
		c.ahead += len(d.Raw)
	}
}

// room makes room for an LD and reports whether it fits. An ordered LD always fits. Above the ordered position, a lower
// number displaces higher numbers that are not signed yet. So each replica holds the same first part of the channel, and
// the next LD to sign is never displaced: the channel progresses even if many LDs arrive out of order.
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

// lacking is the first position, from t down to after without after itself, whose LD is not held. ok is false if all are
// held. It is also false if t names an LD with the number of another LD: below such a position there is nothing to fetch.
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

// upon holding the next LD of a channel: sign it, and all held LDs that follow it.
func (m *Machine) signOn(now protocols.Time, st *Step, c *channel, source uint16) {
	for {
		t, ok := c.child(c.signed)
		if !ok {
			return
		}
		c.signed = t
		c.own[t.Seq] = t.Digest
		st.Record(signedKey(source, t.Seq), t.Digest[:])
		if t.Seq > c.ordered.Seq {
			c.lag.Arrived(t.Seq, now)
			s := m.sign(source, t)
			m.count(st, c, m.cfg.Self, s)
			st.Broadcast(s)
		}
	}
}

// child is the position of the held LD that follows position t. ok is false if there is none.
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
		st.Emit(Output{Progressed: true})
	}
}

// certify records that f+1 replicas signed a position.
func (c *channel) certify(t lanes.Tip) {
	if x := c.signs[t.Seq]; x.certified.IsZero() {
		x.certified = t.Digest
	}
	c.top = max(c.top, t.Seq)
}

// tally gives the tally of SIGN for a position, which it makes if there is none.
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

// ProposableCut is the highest inbound cut that this replica can propose on top of parent. The replica need not hold
// the LDs that f+1 replicas signed: the signatures prove that an honest replica holds them. Other LDs it holds itself.
func (m *Machine) ProposableCut(now protocols.Time, parent lanes.Cut) lanes.Cut {
	m.tipDue = 0
	cut := slices.Clone(parent)
	for i, c := range m.chans {
		for s := parent[i].Seq + PerBlock; s > parent[i].Seq; s-- {
			if x := c.signs[s]; x != nil && !x.certified.IsZero() {
				cut[i] = lanes.Tip{Seq: s, Digest: x.certified}
				break
			}
		}
		if own := m.held(now, c, parent[i]); own.Seq > cut[i].Seq {
			cut[i] = own
		}
	}
	return cut
}

// held is the highest position that this replica signed on top of parent and that is not held back, or parent. It sets
// tipDue to the time at which the next one will not be held back.
func (m *Machine) held(now protocols.Time, c *channel, parent lanes.Tip) lanes.Tip {
	top := min(c.signed.Seq, parent.Seq+PerBlock)
	if c.forked || top <= parent.Seq {
		return parent
	}
	if seq, until := c.lag.HeldBack(now); seq != 0 && seq <= top {
		m.tipDue = protocols.Earliest(m.tipDue, until)
		top = seq - 1
	}
	if t := (lanes.Tip{Seq: top, Digest: c.own[top]}); top > parent.Seq && c.follows(t, parent) {
		return t
	}
	return parent
}

// follows reports whether all LDs from t down to p, without p, are held and make a chain on top of p.
func (c *channel) follows(t, p lanes.Tip) bool {
	for t.Seq > p.Seq {
		x, held := c.held[t.Digest]
		if !held || x.number != t.Seq {
			return false
		}
		t = lanes.Tip{Seq: t.Seq - 1, Digest: x.previous}
	}
	return t == p
}

// HeldUp is called when a slot of this leader got its QC by the time wait later than usual, because more than f replicas
// (the set late) voted late. It holds back the channels whose new LDs one of these replicas requested, and reports whether
// there is such a channel.
func (m *Machine) HeldUp(now protocols.Time, parent, cut lanes.Cut, late protocols.Set, wait time.Duration) bool {
	blamed := false
	for i, t := range cut {
		blamed = m.chans[i].lag.HeldUp(now, parent[i].Seq, t.Seq, late, wait) || blamed
	}
	return blamed
}

// CheckCut reports whether a replica may vote for an inbound cut on top of parent: every new position must be signed by
// f+1 replicas, or be held together with all positions before it. A held position above the last one that this replica
// signed does not suffice, since another LD may displace it (see room). The machine asks for missing LDs, hint first.
func (m *Machine) CheckCut(now protocols.Time, parent, cut lanes.Cut, hint protocols.Index) lanes.Verdict {
	verdict := lanes.Votable
	for i, t := range cut {
		if t == parent[i] {
			continue
		}
		c := m.known(uint16(i))
		if c == nil || t.Seq > parent[i].Seq+PerBlock {
			return lanes.Refused
		}
		if m.certified(c, t) || t.Seq <= c.signed.Seq && (c.own[t.Seq] == t.Digest || c.follows(t, parent[i])) {
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

// Content lists the LDs between two committed inbound cuts in the order in which they are applied: by source, then by
// number. If some are not held, it asks for them, signers first, and returns false.
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

// Ordered is called when an inbound cut was committed.
func (m *Machine) Ordered(now protocols.Time, cut lanes.Cut) Step {
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
			c.signed = t // continue on the ordered LD, also if this replica signed another one
		}
		c.lag.Ordered(t.Seq)
		m.signOn(now, &st, c, uint16(i))
	}
	return st
}

// Executed is called when all LDs up to an inbound cut have been applied. It forgets them.
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

// Next is the number of the first LD of a channel that this replica lacks, to request it from the source. It is 0 if source
// has no channel.
func (m *Machine) Next(source uint16) uint64 {
	if c := m.known(source); c != nil {
		return c.signed.Seq + 1
	}
	return 0
}

// Signed is the highest number of a channel that f+1 replicas signed, 0 if there is none.
func (m *Machine) Signed(source uint16) uint64 {
	if c := m.known(source); c != nil {
		return c.top
	}
	return 0
}

// Resend sends a peer again the own SIGNs for LDs that are not ordered.
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
