// Package lanes spreads data before consensus orders it (DESIGN §4.1; Autobahn, arXiv 2401.10369, §5).
//
// Each replica owns a lane: a hash-chained stream of batches. A receiver stores a batch durably, its payload
// checked, and acknowledges it with a signature.
//
// Guarantee: two positions of one lane that are certified, or are in committed cuts, lie on one chain; and what
// either names can be fetched from at least f+1 honest replicas.
//
// Why the thresholds suffice. A certificate is n-f acknowledgements. An honest replica acknowledges one digest
// per (lane, number) ever, so two certificates at one number would share an honest signer, which signed both: no.
// It acknowledges number s only if the parent is what it acknowledged at s-1, or is certified or committed, so by
// induction a certified position has one chain below it. It acknowledges nothing at or below its ordered position, since
// what it acknowledged there may be forgotten. n-f acknowledgements include f+1 honest holders (f+1
// would do for that alone). A vote for a cut with an uncertified tip acknowledges every header up to the tip, not
// the tip alone: with only the tip, two committed cuts could lie on different chains.
//
// The package orders nothing: bolt asks it what can be proposed and voted for, and reports what was committed.
package lanes

import (
	"slices"
	"time"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/protocols"
)

// Delays of the machine, none of which safety or liveness depends on.
const (
	ackDelay         = 15 * time.Millisecond // a batch that is committed by then needs no acks
	certificateDelay = 20 * time.Millisecond // an idle lane's certificate goes alone after this
	fetchGrace       = 60 * time.Millisecond // what is named but not here is probably on its way
	fetchRetryMin    = 150 * time.Millisecond
	fetchRetryMax    = 3 * time.Second
	// askRounds is how often everyone is asked for what no committed cut names: a block that is given up, or a batch
	// that nobody has, must not be asked for for ever. Whatever names it again starts anew.
	askRounds = 3
)

// Output is what the machine has to tell its parent.
type Output struct {
	// Grew: something new can be proposed, or content that a block waited for has come.
	Grew bool
}

// Step is one step of the machine.
type Step = protocols.Step[Output]

// Config is what a machine is made of.
type Config struct {
	Committee *protocols.Committee
	Self      protocols.Index
	Signer    sig.Signer
	AckAtOnce bool // acks are not held back, since nothing is ordered without a certificate
	Wall      *protocols.Wall
	Window    int // bytes of payload that a lane may have above the last commit; 0 is WindowBytes
}

// Machine is one replica's view of all lanes of its shard.
type Machine struct {
	cfg     Config
	lanes   []*lane
	acks    map[uint64]*protocols.Tally // of the own lane, above its certified tip
	wants   map[Ref]*want               // by position: a leader may name a batch with another's number or lane
	own     ownLane
	acksDue protocols.Time // when acks that were held back go; zero if there are none
	beyond  bool           // a cut reached beyond the window since it last moved
	ripeAt  protocols.Time // when a tip that was held back may be proposed; zero if none is
}

type ownLane struct {
	tip     Tip
	certDue protocols.Time // when the newest certificate goes alone; zero if it went or needs not to
}

type lane struct {
	base          Tip // executed: nothing at or below it is kept in memory
	ordered       Tip // position in the last committed cut
	entries       map[digest.Digest]*SignedHeader
	bySeq         map[uint64][]digest.Digest
	acked         map[uint64]digest.Digest // above base
	tip           Tip                      // highest acknowledged
	certified     Tip                      // highest certified
	cert          *TipCertificate
	certAt        map[uint64]digest.Digest // certified digests above base
	sent          uint64                   // acks up to here were sent to the owner
	certifiedOnly bool                     // the owner signed two headers for one number
	frozen        bool                     // a committed chain missed the cut before it
	frozenAt      uint64                   // the lane's number in that cut: what lies above it contributes nothing
	lag           lag
	refused       bool // a batch beyond the window was refused since the window last moved
	bytes         weight
}

// New makes a machine at the lanes' origin.
func New(cfg Config) *Machine {
	if cfg.Window == 0 {
		cfg.Window = WindowBytes
	}
	m := &Machine{
		cfg:   cfg,
		lanes: make([]*lane, cfg.Committee.N()),
		acks:  make(map[uint64]*protocols.Tally),
		wants: make(map[Ref]*want),
	}
	for i := range m.lanes {
		m.lanes[i] = &lane{
			entries: make(map[digest.Digest]*SignedHeader),
			bySeq:   make(map[uint64][]digest.Digest),
			acked:   make(map[uint64]digest.Digest),
			certAt:  make(map[uint64]digest.Digest),
		}
	}
	return m
}

// Room reports whether the own lane may grow: its window of uncommitted headers and bytes is not full.
func (m *Machine) Room() bool {
	l := m.lanes[m.cfg.Self]
	return !l.frozen && m.own.tip.Seq-l.ordered.Seq < WindowHeaders && l.bytes.held < m.cfg.Window
}

// Uncertified is how many batches of the own lane have neither a certificate nor a commit.
func (m *Machine) Uncertified() int {
	l := m.lanes[m.cfg.Self]
	return int(m.own.tip.Seq - min(m.own.tip.Seq, max(l.certified.Seq, l.ordered.Seq)))
}

// Append makes payload, of count entries, the next batch of the own lane. The caller has seen that there is Room.
func (m *Machine) Append(now protocols.Time, payload []byte, count int) (Step, *Batch) {
	if !m.Room() {
		panic("lanes: append to a full lane")
	}
	l := m.lanes[m.cfg.Self]
	b := NewBatch(m.cfg.Committee, m.cfg.Signer, Header{
		Lane: m.cfg.Self, Seq: m.own.tip.Seq + 1, Parent: m.own.tip.Digest,
		Count: uint32(count), TimeMS: m.cfg.Wall.At(now).Millis(),
	}, payload)
	if l.cert != nil && l.certified.Seq > l.ordered.Seq {
		b.Certificate, m.own.certDue = l.cert, 0
	}
	var st Step
	m.own.tip = b.Tip()
	m.store(&st, l, b)
	m.ack(now, &st, l, &b.SignedHeader)
	st.Broadcast(b)
	st.Emit(Output{Grew: true})
	return st, b
}

// HandleBatch is called upon a checked batch, from its owner or in answer to a Fetch.
func (m *Machine) HandleBatch(now protocols.Time, from protocols.Index, b *Batch) Step {
	var st Step
	l := m.lanes[b.Lane]
	if b.Certificate != nil {
		m.certify(now, &st, b.Certificate)
	}
	d := b.Digest()
	w := m.wants[Ref{b.Lane, b.Tip()}]
	switch {
	case b.Seq <= l.base.Seq || l.frozen && b.Seq > l.frozenAt:
		return st
	case l.entries[d] != nil:
		// The owner sent it again after a reconnect: the ack may have been lost.
		if from == b.Lane && l.acked[b.Seq] == d && b.Seq > max(l.ordered.Seq, l.certified.Seq) {
			m.sendAck(&st, &b.SignedHeader)
		}
		if l.acked[b.Seq] != d {
			m.wantParent(now, l, b, from) // nobody asks for it any more if this replica crashed since
		}
		return st
	case !m.takes(l, b, w):
		if b.Seq > l.ordered.Seq {
			l.refused = true
		}
		delete(m.wants, Ref{b.Lane, b.Tip()})
		return st
	case w == nil && len(l.bySeq[b.Seq]) >= 2:
		return st // evidence is kept once
	}
	delete(m.wants, Ref{b.Lane, b.Tip()})
	m.store(&st, l, b)
	if others := l.bySeq[b.Seq]; len(others) > 1 {
		m.equivocated(&st, l, b.Lane, b.Seq)
	}
	if b.Lane == m.cfg.Self && b.Seq > m.own.tip.Seq {
		m.own.tip = b.Tip() // an own batch that this replica had lost, fetched because a cut names it
	}
	m.ackFrom(now, &st, l, &b.SignedHeader)
	m.wantParent(now, l, b, from)
	st.Emit(Output{Grew: true})
	return st
}

// wantParent asks for what a batch was put on, unless its owner has already shown two headers for that number: with a
// chain of its own below each header, two for each of a window's numbers would come to the window's square. Which of
// them matters a cut says, and then it is asked for.
func (m *Machine) wantParent(now protocols.Time, l *lane, b *Batch, from protocols.Index) {
	if p := (Tip{b.Seq - 1, b.Parent}); p.Seq > l.base.Seq && l.entries[p.Digest] == nil && len(l.bySeq[p.Seq]) < 2 {
		m.want(now, b.Lane, p, fetchGrace, from, b.Lane)
	}
}

func (m *Machine) store(st *Step, l *lane, b *Batch) {
	h := b.SignedHeader
	l.entries[h.digest] = &h
	l.bySeq[h.Seq] = append(l.bySeq[h.Seq], h.digest)
	l.weigh(&h, 1)
	st.Record(StoredKey(h.Lane, h.Tip()), b.Stored())
}

// ackFrom acknowledges h and, after it, what of the lane was waiting for h.
func (m *Machine) ackFrom(now protocols.Time, st *Step, l *lane, h *SignedHeader) {
	for h != nil && m.mayAck(l, h) {
		m.ack(now, st, l, h)
		h = l.child(h.Tip())
	}
}

// child is a header on top of a position, if one is held; else nil.
func (l *lane) child(t Tip) *SignedHeader {
	for _, d := range l.bySeq[t.Seq+1] {
		if e := l.entries[d]; e.Parent == t.Digest {
			return e
		}
	}
	return nil
}

// mayAck is the rule of §4.1: above the ordered position, in sequence, one digest per number ever, the parent
// acknowledged, certified or committed, and not beyond the window. Acks at or below the ordered position may be forgotten,
// and a ledger that came back older than they are would let a fork of them begin there.
func (m *Machine) mayAck(l *lane, h *SignedHeader) bool {
	if h.Seq <= l.ordered.Seq || h.Seq > l.ordered.Seq+maxGrowth || l.frozen || l.bytes.acked+int(h.Size) > m.limit() {
		return false
	}
	if _, done := l.acked[h.Seq]; done {
		return false
	}
	p := h.Seq - 1
	if p == l.ordered.Seq {
		return h.Parent == l.ordered.Digest
	}
	return l.acked[p] == h.Parent || l.certAt[p] == h.Parent
}

// ack records and sends the acknowledgement of h, which the caller has found allowed.
func (m *Machine) ack(now protocols.Time, st *Step, l *lane, h *SignedHeader) {
	l.acked[h.Seq] = h.digest
	if h.Seq > l.ordered.Seq {
		l.bytes.acked += int(h.Size)
		l.lag.arrived(h.Seq, now)
	}
	if h.Seq > l.tip.Seq {
		l.tip = h.Tip()
	}
	st.Record(ackedKey(h.Lane, h.Seq), h.digest[:])
	switch {
	case h.Seq <= max(l.ordered.Seq, l.certified.Seq):
	case h.Lane == m.cfg.Self:
		m.countAck(now, st, m.cfg.Self, m.signAck(h))
	case m.cfg.AckAtOnce:
		l.sent = h.Seq
		m.sendAck(st, h)
	case m.acksDue == 0:
		m.acksDue = now.Add(ackDelay)
	}
}

// sendAcks sends what was held back: a certificate is for data that is not ordered at once, and while the fast lane
// is fast none is needed.
func (m *Machine) sendAcks(st *Step) {
	m.acksDue = 0
	for i, l := range m.lanes {
		if protocols.Index(i) == m.cfg.Self {
			continue
		}
		for s := max(l.ordered.Seq, l.certified.Seq, l.sent) + 1; s <= l.tip.Seq; s++ {
			if e := l.entries[l.acked[s]]; e != nil {
				m.sendAck(st, e)
			}
		}
		l.sent = max(l.sent, l.tip.Seq)
	}
}

func (m *Machine) signAck(h *SignedHeader) *Ack {
	t := h.Tip()
	return &Ack{Lane: h.Lane, Tip: t, Signature: m.cfg.Signer.Sign(ackStatement(m.cfg.Committee, h.Lane, t))}
}

func (m *Machine) sendAck(st *Step, h *SignedHeader) { st.Send(h.Lane, m.signAck(h)) }

func (m *Machine) equivocated(st *Step, l *lane, owner protocols.Index, seq uint64) {
	if !l.certifiedOnly {
		l.certifiedOnly = true
		st.Record(markKey(owner), l.marks())
		st.Blame(owner, "signed two headers for number %d of its lane", seq)
	}
}

// HandleAck is called upon a checked acknowledgement.
func (m *Machine) HandleAck(now protocols.Time, from protocols.Index, a *Ack) Step {
	var st Step
	m.countAck(now, &st, from, a)
	return st
}

func (m *Machine) countAck(now protocols.Time, st *Step, from protocols.Index, a *Ack) {
	l := m.lanes[m.cfg.Self]
	if a.Lane != m.cfg.Self || a.Tip.Seq <= max(l.certified.Seq, l.ordered.Seq) || l.acked[a.Tip.Seq] != a.Tip.Digest {
		return
	}
	t := m.acks[a.Tip.Seq]
	if t == nil {
		t = protocols.NewTally(a.Tip.Digest)
		m.acks[a.Tip.Seq] = t
	}
	if t.Add(from, a.Signature) && t.Len() == m.cfg.Committee.Quorum() {
		m.certify(now, st, &TipCertificate{Lane: m.cfg.Self, Tip: a.Tip, Certificate: t.Certificate()})
		m.own.certDue = now.Add(certificateDelay)
	}
}

// HandleCertificate is called upon a checked certificate, alone or out of a proposal.
func (m *Machine) HandleCertificate(now protocols.Time, c *TipCertificate) Step {
	var st Step
	m.certify(now, &st, c)
	return st
}

func (m *Machine) certify(now protocols.Time, st *Step, c *TipCertificate) {
	l := m.lanes[c.Lane]
	if c.Tip.Seq <= l.base.Seq || l.certAt[c.Tip.Seq] == c.Tip.Digest {
		return
	}
	if d, other := l.certAt[c.Tip.Seq]; other && d != c.Tip.Digest {
		panic("lanes: two certificates for one number of a lane: more than f replicas are Byzantine")
	}
	if len(l.certAt) > 4*WindowHeaders {
		return // more than any honest window: the highest cut that is ordered will bring it back
	}
	l.certAt[c.Tip.Seq] = c.Tip.Digest
	if c.Tip.Seq > l.certified.Seq {
		l.certified, l.cert = c.Tip, c
		if c.Lane == m.cfg.Self {
			m.forgetAcks(c.Tip.Seq)
		}
	}
	m.ackFrom(now, st, l, l.child(c.Tip))
	st.Emit(Output{Grew: true})
}

// HandleConflict is called upon a header that a peer acknowledged where this replica proposed or acknowledged another.
func (m *Machine) HandleConflict(h *Conflict) Step {
	var st Step
	l := m.lanes[h.Lane]
	mine, known := l.acked[h.Seq]
	if known && mine != h.digest {
		m.equivocated(&st, l, h.Lane, h.Seq)
	}
	return st
}

// Wake is when the machine next wants a Tick, or zero.
func (m *Machine) Wake() protocols.Time {
	w := protocols.Earliest(m.own.certDue, m.ripeAt)
	if w == 0 || m.acksDue != 0 && m.acksDue < w {
		w = m.acksDue
	}
	for _, x := range m.wants {
		if w == 0 || x.next < w {
			w = x.next
		}
	}
	return w
}

// Tick carries out what has become due: certificates that go alone, fetches, and tips that were held back.
func (m *Machine) Tick(now protocols.Time) Step {
	var st Step
	if m.ripeAt != 0 && now >= m.ripeAt {
		m.ripeAt = 0
		st.Emit(Output{Grew: true})
	}
	if m.acksDue != 0 && now >= m.acksDue {
		m.sendAcks(&st)
	}
	if m.own.certDue != 0 && now >= m.own.certDue {
		m.own.certDue = 0
		if l := m.lanes[m.cfg.Self]; l.certified.Seq > l.ordered.Seq {
			st.Broadcast(l.cert)
		}
	}
	m.fetchDue(now, &st)
	return st
}

// Resend gives a peer again what it may have missed while it was away: own batches without a commit, acks of its lane.
func (m *Machine) Resend(to protocols.Index) Step {
	var st Step
	l := m.lanes[m.cfg.Self]
	if m.own.tip.Seq > l.ordered.Seq {
		st.Send(to, &Chain{Lane: m.cfg.Self, Tip: m.own.tip, After: l.ordered.Seq})
	}
	if l.cert != nil && l.certified.Seq > l.ordered.Seq {
		st.Send(to, l.cert)
	}
	p := m.lanes[to]
	for s := max(p.ordered.Seq, p.certified.Seq) + 1; s <= p.tip.Seq; s++ {
		if d, ok := p.acked[s]; ok {
			if e := p.entries[d]; e != nil {
				m.sendAck(&st, e)
			}
		}
	}
	return st
}

// Pending is how far a lane is certified, and how far it is ordered. A lane that is frozen has nothing pending.
func (m *Machine) Pending(lane protocols.Index) (certified, ordered uint64) {
	l := m.lanes[lane]
	if l.frozen {
		return l.ordered.Seq, l.ordered.Seq
	}
	return max(l.certified.Seq, l.ordered.Seq), l.ordered.Seq
}

// Certificate proves the highest certified position of a lane, if that is above the last committed cut; else it is nil.
func (m *Machine) Certificate(lane protocols.Index) *TipCertificate {
	if certified, ordered := m.Pending(lane); certified > ordered {
		return m.lanes[lane].cert
	}
	return nil
}

// OwnTip is the newest batch of the own lane.
func (m *Machine) OwnTip() Tip { return m.own.tip }

// CertifiedOnly lists the lanes that are proposed certified-only for good: their owners signed two headers for a number.
func (m *Machine) CertifiedOnly() []protocols.Index {
	var out []protocols.Index
	for i, l := range m.lanes {
		if l.certifiedOnly {
			out = append(out, protocols.Index(i))
		}
	}
	return slices.Clip(out)
}

// Holds reports whether the batch is in memory's window and on disk.
func (m *Machine) Holds(lane protocols.Index, d digest.Digest) bool {
	return m.lanes[lane].entries[d] != nil
}
