// Package lanes spreads data before consensus orders it (docs/design.md §4.1; Autobahn, arXiv 2401.10369, §5).
//
// Each replica owns a lane: a hash-chained stream of batches. A receiver checks the payload of a batch, stores the batch
// durably, and then acknowledges it with a signature.
//
// Guarantee: two positions of one lane that are certified, or are in committed cuts, lie on one chain; and the batches up to
// either can be fetched from at least f+1 honest replicas.
//
// Why the thresholds suffice. A certificate is n-f acknowledgements. An honest replica acknowledges at most one digest for
// each (lane, number), ever. Two certificates with different digests at one number would share an honest signer that signed
// both, which is impossible. An honest replica acknowledges number s only if the parent is the header that it acknowledged
// at s-1, or is certified or committed. So, by induction, there is one chain below a certified position. It acknowledges
// nothing at or below its ordered position, since it may have forgotten its earlier acknowledgements there. n-f
// acknowledgements include at least f+1 honest holders; for availability alone, f+1 acknowledgements would suffice. A vote
// for a cut with an uncertified tip acknowledges every header up to the tip, not only the tip: with only the tip, two
// committed cuts could lie on different chains.
//
// The package orders nothing. Package bolt asks it for cuts to propose and checks cuts with it before a vote, and reports
// committed cuts to it.
package lanes

import (
	"slices"
	"time"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/protocols"
)

// Delays of the machine. Safety and liveness do not depend on them.
const (
	ackDelay         = 15 * time.Millisecond  // before acks are sent: a batch that is committed by then needs none
	certificateDelay = 20 * time.Millisecond  // before the certificate of an idle lane is sent alone
	fetchGrace       = 60 * time.Millisecond  // before the first request: the batch is probably on its way
	fetchRetryMin    = 150 * time.Millisecond // first pause between two requests
	fetchRetryMax    = 3 * time.Second        // longest pause
	// askRounds is the number of times that each replica is asked for a batch which no committed cut names. Requests for a
	// block that was given up, or for a batch that nobody has, must end. A new cut that names the batch starts them anew.
	askRounds = 3
)

// Output is an event for the parent of the machine.
type Output struct {
	// Progressed: a new position can be proposed, or content that a block waited for has arrived.
	Progressed bool
}

// Step is one step of the machine.
type Step = protocols.Step[Output]

// Config has the parameters of a machine.
type Config struct {
	Committee *protocols.Committee
	Self      protocols.Index
	Signer    sig.Signer
	AckAtOnce bool // send acks without delay: for consensus that orders nothing without a certificate
	WallClock *protocols.WallClock
	Window    int // largest payload of a lane above the last commit, in bytes; 0 means WindowBytes
}

// Machine is the state of all lanes of the shard at one replica.
type Machine struct {
	cfg          Config
	lanes        []*lane
	own          ownLane
	acker        acker
	wants        wants
	beyondWindow bool           // CheckCut met a tip beyond the window since the window last moved
	tipDue       protocols.Time // when a tip that is held back may be proposed; zero if there is none
	horizon      struct {
		last    *[]laneHorizon // of the last snapshot
		scratch []laneHorizon
	}
}

type lane struct {
	base          Tip // last executed position: nothing at or below it is kept in memory
	ordered       Tip // position in the last committed cut
	entries       map[digest.Digest]*SignedHeader
	bySeq         map[uint64][]digest.Digest
	acked         map[uint64]digest.Digest // digests that this replica acknowledged, above base
	tip           Tip                      // highest acknowledged
	certified     Tip                      // highest certified
	cert          *TipCertificate
	certAt        map[uint64]digest.Digest // certified digests above base
	sent          uint64                   // acks up to this number were sent to the owner
	certifiedOnly bool                     // the owner signed two headers for one number
	frozen        bool                     // a committed chain did not contain the position of the cut before it
	frozenAt      uint64                   // the number of the lane in that cut: batches above it contribute nothing
	bad           bool                     // the owner made a batch with a bad signature: no acks and no proposals any more
	lag           Lag
	refused       bool // a batch beyond the window was refused and is not requested again yet
	bytes         payloadBytes
	// limit is the number of bytes above the ordered position that a receiver stores without a request, and acknowledges. It
	// is twice the window of the owner, since this replica may know fewer commits than the owner.
	limit int
}

// New makes a machine with all lanes at their origin.
func New(cfg Config) *Machine {
	if cfg.Window == 0 {
		cfg.Window = WindowBytes
	}
	m := &Machine{
		cfg:   cfg,
		lanes: make([]*lane, cfg.Committee.N()),
		own:   ownLane{acks: make(map[uint64]*protocols.Tally)},
		acker: acker{committee: cfg.Committee, self: cfg.Self, signer: cfg.Signer},
		wants: wants{self: cfg.Self, n: cfg.Committee.N(), open: make(map[Ref]*want)},
	}
	for i := range m.lanes {
		m.lanes[i] = &lane{
			entries: make(map[digest.Digest]*SignedHeader),
			bySeq:   make(map[uint64][]digest.Digest),
			acked:   make(map[uint64]digest.Digest),
			certAt:  make(map[uint64]digest.Digest),
			limit:   2 * cfg.Window,
		}
	}
	return m
}

// HasRoom reports whether the own lane may grow: the uncommitted headers and bytes are below its window.
func (m *Machine) HasRoom() bool {
	return m.own.full(m.lanes[m.cfg.Self], m.cfg.Window) == ""
}

// Uncertified is the number of batches of the own lane that are neither certified nor committed.
func (m *Machine) Uncertified() int {
	l := m.lanes[m.cfg.Self]
	return int(m.own.tip.Seq - min(m.own.tip.Seq, max(l.certified.Seq, l.ordered.Seq)))
}

// Append makes the next batch of the own lane from a payload with count entries. It panics if HasRoom is false.
func (m *Machine) Append(now protocols.Time, payload []byte, count int) (Step, *Batch) {
	if !m.HasRoom() {
		panic("lanes: append to a full lane")
	}
	l := m.lanes[m.cfg.Self]
	b := NewBatch(m.cfg.Committee, m.cfg.Signer, Header{
		Lane: m.cfg.Self, Seq: m.own.tip.Seq + 1, Parent: m.own.tip.Digest,
		Count: uint32(count), TimeMS: m.cfg.WallClock.At(now).Millis(),
	}, payload)
	if l.cert != nil && l.certified.Seq > l.ordered.Seq {
		b.Certificate, m.own.certDue = l.cert, 0
	}
	var st Step
	m.own.tip = b.Tip()
	m.store(&st, l, b)
	m.ack(now, &st, l, &b.SignedHeader)
	st.Broadcast(b)
	st.Emit(Output{Progressed: true})
	return st, b
}

// HandleBatch is called upon a checked batch, from its owner or as the answer to a Fetch.
func (m *Machine) HandleBatch(now protocols.Time, from protocols.Index, b *Batch) Step {
	var st Step
	l := m.lanes[b.Lane]
	if b.Certificate != nil {
		m.certify(now, &st, b.Certificate)
	}
	d := b.Digest()
	w := m.wants.open[Ref{b.Lane, b.Tip()}]
	switch {
	case b.Seq <= l.base.Seq || l.frozen && b.Seq > l.frozenAt:
		return st
	case l.entries[d] != nil:
		// The owner sent it again after a reconnect: the ack may have been lost.
		if from == b.Lane && !l.bad && l.acked[b.Seq] == d && b.Seq > max(l.ordered.Seq, l.certified.Seq) {
			m.acker.send(&st, &b.SignedHeader)
		}
		if l.acked[b.Seq] != d {
			m.wantParent(now, l, b, from) // a crash of this replica since may have ended the requests for it
		}
		return st
	case !l.accepts(b, w):
		if b.Seq > l.ordered.Seq {
			l.refused = true
		}
		delete(m.wants.open, Ref{b.Lane, b.Tip()})
		return st
	case w == nil && len(l.bySeq[b.Seq]) >= 2:
		return st // two headers for a number are evidence enough; more are not kept
	}
	delete(m.wants.open, Ref{b.Lane, b.Tip()})
	m.store(&st, l, b)
	if others := l.bySeq[b.Seq]; len(others) > 1 {
		l.equivocated(&st, b.Lane, b.Seq)
	}
	if b.Lane == m.cfg.Self && b.Seq > m.own.tip.Seq {
		m.own.tip = b.Tip() // an own batch that this replica had lost and fetched because a cut names it
	}
	m.ackFrom(now, &st, l, &b.SignedHeader)
	m.wantParent(now, l, b, from)
	m.wants.expect(now, w, b)
	st.Emit(Output{Progressed: true})
	return st
}

// wantParent requests the parent of a batch, unless the owner has already shown two headers for the parent's number.
// Otherwise, with a separate chain below each of two headers at each number, the number of headers would grow with the
// square of the window. A cut tells which header matters, and then it is requested.
func (m *Machine) wantParent(now protocols.Time, l *lane, b *Batch, from protocols.Index) {
	if p := (Tip{b.Seq - 1, b.Parent}); p.Seq > l.base.Seq && l.entries[p.Digest] == nil && len(l.bySeq[p.Seq]) < 2 {
		m.wants.add(now, b.Lane, p, fetchGrace, from, b.Lane)
	}
}

func (m *Machine) store(st *Step, l *lane, b *Batch) {
	h := b.SignedHeader
	l.entries[h.digest] = &h
	l.bySeq[h.Seq] = append(l.bySeq[h.Seq], h.digest)
	l.countBytes(&h, 1)
	st.Record(StoredKey(h.Lane, h.Tip()), b.Stored())
}

// ackFrom acknowledges h and then the held headers of the lane that follow it.
func (m *Machine) ackFrom(now protocols.Time, st *Step, l *lane, h *SignedHeader) {
	for h != nil && l.mayAck(h) {
		m.ack(now, st, l, h)
		h = l.child(h.Tip())
	}
}

// child is a held header on top of a position, or nil if there is none.
func (l *lane) child(t Tip) *SignedHeader {
	for _, d := range l.bySeq[t.Seq+1] {
		if e := l.entries[d]; e.Parent == t.Digest {
			return e
		}
	}
	return nil
}

// mayAck is the rule of §4.1: above the ordered position, in sequence, at most one digest for each number ever, with a
// parent that is acknowledged, certified or committed, and not beyond the window. Why only above the ordered position: acks
// at or below it may be forgotten. If the ledger came back older than those acks, a fork of them could begin there.
func (l *lane) mayAck(h *SignedHeader) bool {
	if h.Seq <= l.ordered.Seq || h.Seq > l.ordered.Seq+maxGrowth || l.frozen || l.bad || l.bytes.acked+int(h.Size) > l.limit {
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

// ack records the acknowledgement of h, which mayAck or CheckCut has allowed, and sends it or sets the time for sending.
func (m *Machine) ack(now protocols.Time, st *Step, l *lane, h *SignedHeader) {
	l.acked[h.Seq] = h.digest
	if h.Seq > l.ordered.Seq {
		l.bytes.acked += int(h.Size)
		l.lag.Arrived(h.Seq, now)
	}
	if h.Seq > l.tip.Seq {
		l.tip = h.Tip()
	}
	st.Record(ackedKey(h.Lane, h.Seq), h.digest[:])
	switch {
	case h.Seq <= max(l.ordered.Seq, l.certified.Seq) || l.bad:
	case h.Lane == m.cfg.Self:
		m.countAck(now, st, m.cfg.Self, m.acker.sign(h))
	case m.cfg.AckAtOnce:
		l.sent = h.Seq
		m.acker.send(st, h)
	case m.acker.due == 0:
		m.acker.due = now.Add(ackDelay)
	}
}

// equivocated records that the owner of a lane signed two headers for one number.
func (l *lane) equivocated(st *Step, owner protocols.Index, seq uint64) {
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
	t := m.own.acks[a.Tip.Seq]
	if t == nil {
		t = protocols.NewTally(a.Tip.Digest)
		m.own.acks[a.Tip.Seq] = t
	}
	if t.Add(from, a.Signature) && t.Len() == m.cfg.Committee.Quorum() {
		m.certify(now, st, &TipCertificate{Lane: m.cfg.Self, Tip: a.Tip, Certificate: t.Certificate()})
		m.own.certDue = now.Add(certificateDelay)
	}
}

// HandleCertificate is called upon a checked certificate, received alone or in a proposal.
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
		panic("lanes: two different headers of a lane are certified at one number: more than f replicas are Byzantine")
	}
	if len(l.certAt) > 4*WindowHeaders {
		return // above every honest window; the position comes again with an ordered cut
	}
	l.certAt[c.Tip.Seq] = c.Tip.Digest
	if c.Tip.Seq > l.certified.Seq {
		l.certified, l.cert = c.Tip, c
		if c.Lane == m.cfg.Self {
			m.own.forgetAcks(c.Tip.Seq)
		}
	}
	m.ackFrom(now, st, l, l.child(c.Tip))
	st.Emit(Output{Progressed: true})
}

// HandleConflict is called upon a checked header that a peer acknowledged at a number for which this replica proposed or
// acknowledged another. It is a fault of the owner if this replica acknowledged another one.
func (m *Machine) HandleConflict(h *Conflict) Step {
	var st Step
	l := m.lanes[h.Lane]
	mine, known := l.acked[h.Seq]
	if known && mine != h.digest {
		l.equivocated(&st, h.Lane, h.Seq)
	}
	return st
}

// Wake is the time at which the machine next needs a Tick, or zero.
func (m *Machine) Wake() protocols.Time {
	return protocols.Earliest(m.own.certDue, m.tipDue, m.acker.due, m.wants.wake())
}

// Tick does everything that is due: it sends acks, the certificate of an idle lane and requests, and makes an output when a
// tip that was held back may be proposed.
func (m *Machine) Tick(now protocols.Time) Step {
	var st Step
	if m.tipDue != 0 && now >= m.tipDue {
		m.tipDue = 0
		st.Emit(Output{Progressed: true})
	}
	if m.acker.due != 0 && now >= m.acker.due {
		m.acker.sendAll(&st, m.lanes)
	}
	if m.own.certDue != 0 && now >= m.own.certDue {
		m.own.certDue = 0
		if l := m.lanes[m.cfg.Self]; l.certified.Seq > l.ordered.Seq {
			st.Broadcast(l.cert)
		}
	}
	m.wants.ask(now, &st, m.lanes)
	return st
}

// Resend sends a peer again the messages that it may have missed: own batches without a commit, the newest own certificate,
// and the acks of its lane.
func (m *Machine) Resend(to protocols.Index) Step {
	var st Step
	l := m.lanes[m.cfg.Self]
	if m.own.tip.Seq > l.ordered.Seq {
		st.Read(to, BatchRange{Lane: m.cfg.Self, Tip: m.own.tip, After: l.ordered.Seq})
	}
	if l.cert != nil && l.certified.Seq > l.ordered.Seq {
		st.Send(to, l.cert)
	}
	p := m.lanes[to]
	if p.bad {
		return st
	}
	for s := max(p.ordered.Seq, p.certified.Seq) + 1; s <= p.tip.Seq; s++ {
		if d, ok := p.acked[s]; ok {
			if e := p.entries[d]; e != nil {
				m.acker.send(&st, e)
			}
		}
	}
	return st
}

// Pending gives the number up to which a lane is certified, and the number up to which it is ordered. The two are equal
// for a frozen lane, and for one that is not proposed any more.
func (m *Machine) Pending(lane protocols.Index) (certified, ordered uint64) {
	l := m.lanes[lane]
	if l.frozen || l.bad {
		return l.ordered.Seq, l.ordered.Seq
	}
	return max(l.certified.Seq, l.ordered.Seq), l.ordered.Seq
}

// Certificate proves the highest certified position of a lane. It is nil if that is not above the last committed cut.
func (m *Machine) Certificate(lane protocols.Index) *TipCertificate {
	if certified, ordered := m.Pending(lane); certified > ordered {
		return m.lanes[lane].cert
	}
	return nil
}

// OwnTip is the position of the newest batch of the own lane.
func (m *Machine) OwnTip() Tip { return m.own.tip }

// CertifiedOnly lists the lanes of which only certified tips are proposed, for ever, since their owners signed two headers
// for one number.
func (m *Machine) CertifiedOnly() []protocols.Index {
	var out []protocols.Index
	for i, l := range m.lanes {
		if l.certifiedOnly {
			out = append(out, protocols.Index(i))
		}
	}
	return slices.Clip(out)
}

// Holds reports whether a batch above the executed position is stored.
func (m *Machine) Holds(lane protocols.Index, d digest.Digest) bool {
	return m.lanes[lane].entries[d] != nil
}
