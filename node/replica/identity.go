package replica

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"bdtnode/internal/wire"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/lanes"
	"bdtnode/protocols/mvba"
)

// At a start a replica sends Hello to each peer. It signs nothing until 2f peers have answered with the newest start
// and signatures of it that they know. It is lost if an answer, or any later message, carries its own signature on a
// statement that its store lacks, if f+1 peers know a later start of it, or if f+1 keep another process in its place. A
// replica answers also while it waits for answers itself, so all replicas of a shard can start at once. If n-f replicas
// are up, a replica has at least 2f others.

const (
	// marksEvery is the least time between two writes of the marks of peers. They are written with records that are synced
	// anyway.
	marksEvery = 50 * time.Millisecond
	// twinEvery is the least time between two reports of a second process of one peer.
	twinEvery = time.Minute
)

// mark is the newest start and signatures that are known of one peer. It is kept on disk and never deleted.
type mark struct {
	Known      // Boot and Nonce are of the accepted process
	twin  Twin // the last process that was refused
}

// markVersion is the first byte of an encoded mark.
const markVersion = 1

// markSize is about the length of an encoded mark with a header, a vote and a proposal, in bytes. One with a Status or with a
// signature of an agreement is longer.
const markSize = 448

func (k *mark) encode() []byte {
	b := append(make([]byte, 0, markSize), markVersion)
	return k.appendSigned(wire.AppendU64(wire.AppendU64(b, k.Boot), k.Nonce))
}

func decodeMark(c *protocols.Committee, b []byte) (k mark, err error) {
	r := wire.NewReader(b)
	if v := r.U8(); v != markVersion {
		r.Fail("version %d, this program reads %d", v, markVersion)
	}
	k.Boot, k.Nonce = r.U64(), r.U64()
	k.readSigned(c, r)
	return k, r.Done()
}

// Twin is a second process of a peer.
type Twin struct {
	Replica protocols.Index
	Boot    uint64         // start of the refused process
	Kept    uint64         // start of the accepted process
	At      protocols.Time // when the refused process last sent a Hello
	told    protocols.Time
}

// identity is the state of the checks of starts and signatures between the replicas of a shard.
type identity struct {
	begun    *Begun        // nil if the replica trusts its store
	running  bool          // the protocols were started
	lost     bool          // nothing is signed any more
	answered protocols.Set // peers that answered this start's Hello
	session  protocols.Set // peers that answered a Hello of the present session
	later    protocols.Set // peers that know of a later start
	fencedBy protocols.Set
	marks    []mark
	dirty    protocols.Set // members whose marks are not on disk
	writeAt  protocols.Time
}

func markKeyOf(i protocols.Index) []byte { return wire.AppendU16([]byte("p/m"), uint16(i)) }

func restoreIdentity(cfg *Config, stored protocols.Stored) (identity, error) {
	x := identity{begun: cfg.Begun, running: cfg.Begun == nil, marks: make([]mark, cfg.Committee.N())}
	for key, value := range stored(markKeyOf(0), markKeyOf(protocols.Index(cfg.Committee.N()))) {
		kr := wire.NewReader(key[len("p/m"):])
		i := kr.U16()
		k, err := decodeMark(cfg.Committee, append([]byte(nil), value...))
		if err = errors.Join(err, kr.Done()); err != nil {
			return x, fmt.Errorf("record %x of a peer's newest signatures: %w: the store is damaged", key, err)
		}
		x.marks[i] = k
	}
	return x, nil
}

// needed is the number of peers that must answer before the replica signs.
func (c *Core) needed() int { return 2 * c.cfg.Committee.F() }

// hello opens a session with a peer.
func (c *Core) hello(st *Step, to protocols.Index) {
	if b := c.identity.begun; b != nil {
		s := c.Status()
		st.Send(to, &Hello{Boot: b.Boot, Nonce: b.Nonce, Epoch: s.Epoch, Slot: s.Slot, Number: c.bdt.OwnNumber()})
	}
}

// helloAgain repeats the Hello to peers without an answer yet, until the replica may sign.
func (c *Core) helloAgain(st *Step) {
	for i := range protocols.Index(c.cfg.Committee.N()) {
		if i != c.cfg.Self && !c.identity.answered.Has(i) {
			c.hello(st, i)
		}
	}
}

// handleIdentity handles the messages that are accepted in any state, also before the replica may sign. It reports
// whether m needs no further handling: it was such a message, or the replica may not sign.
func (c *Core) handleIdentity(now protocols.Time, st *Step, from protocols.Index, m protocols.Message) bool {
	x := &c.identity
	if why := c.lacking(from, m); why != "" {
		c.lose(st, why)
	}
	switch y := m.(type) {
	case *Hello:
		c.answerHello(now, st, from, y)
	case *Known:
		c.known(now, st, from, y)
	case *Fenced:
		c.fenced(st, from, y)
	case *Ping:
		c.pings.asked(now, st, from, y)
	case *Pong:
		c.pings.answered(now, from, y)
	case *Position:
		if !x.session.Has(from) {
			c.hello(st, from) // an answer is lost if the peer learned of the connection after the Hello
		}
		if x.running {
			return x.lost
		}
		c.heard(from, y)
	default:
		x.remark(from, m)
		return !c.signs()
	}
	return true
}

// remark records the newest statements that a peer signed.
func (x *identity) remark(from protocols.Index, m protocols.Message) {
	k, newer := &x.marks[from], false
	switch y := m.(type) {
	case *lanes.Batch:
		from, k = y.Lane, &x.marks[y.Lane]
		if newer = k.Header == nil || y.Seq > k.Header.Seq; newer {
			k.Header = &lanes.Conflict{SignedHeader: y.SignedHeader}
		}
	case *bolt.Propose:
		from, k = y.Leader, &x.marks[y.Leader]
		b, had := y.Block, k.Proposal
		if newer = had == nil || b.Epoch > had.Epoch || b.Epoch == had.Epoch && b.Slot > had.Slot; newer {
			k.Proposal = y.Signed()
		}
	case *bolt.Vote:
		if newer = k.Vote == nil || y.Epoch > k.Vote.Epoch || y.Epoch == k.Vote.Epoch && y.Slot > k.Vote.Slot; newer {
			k.Vote = y
		}
	case *bdt.Status:
		if newer = k.Status == nil || y.Epoch > k.Status.Epoch; newer {
			k.Status = y.Signed(from)
		}
	default:
		if s := mvba.SignedBySender(m); s != nil && (k.Agreement == nil || s.After(k.Agreement)) {
			k.Agreement, newer = s, true
		}
	}
	if newer {
		x.dirty.Add(from)
	}
}

// write adds changed marks to a step that is synced anyway.
func (x *identity) write(now protocols.Time, st *Step) {
	if len(st.Persist) == 0 || x.dirty.Len() == 0 || now < x.writeAt {
		return
	}
	x.writeAt = now.Add(marksEvery)
	for _, i := range x.dirty.Members() {
		st.Record(markKeyOf(i), x.marks[i].encode())
	}
	x.dirty = protocols.Set{}
}

// answerHello answers with the mark from before the Hello, and accepts the process of the later start, or the first
// process of one start.
func (c *Core) answerHello(now protocols.Time, st *Step, from protocols.Index, m *Hello) {
	k := &c.identity.marks[from]
	known := k.Known
	known.Member, known.To = from, m.Nonce
	st.Send(from, &known)
	switch {
	case m.Boot > k.Boot:
		k.Boot, k.Nonce = m.Boot, m.Nonce
		c.identity.dirty.Add(from)
	case m.Boot < k.Boot || m.Nonce != k.Nonce:
		st.Send(from, &Fenced{Boot: k.Boot, Nonce: k.Nonce})
		t := &k.twin
		again := t.told != 0 && now < t.told.Add(twinEvery)
		t.Replica, t.Boot, t.Kept, t.At = from, m.Boot, k.Boot, now
		if !again {
			t.told = now
			told := *t
			st.Emit(Output{Twin: &told})
		}
	}
}

// known counts a peer's answer. The last needed answer starts the protocols.
func (c *Core) known(now protocols.Time, st *Step, from protocols.Index, m *Known) {
	x := &c.identity
	if x.begun == nil || m.Member != c.cfg.Self || m.To != x.begun.Nonce {
		return
	}
	b := x.begun
	if m.Boot > b.Boot || b.First && m.Boot > 0 && (m.Boot != b.Boot || m.Nonce != b.Nonce) {
		x.later.Add(from)
	}
	x.answered.Add(from)
	x.session.Add(from)
	if x.later.Len() >= c.cfg.Committee.WeakQuorum() {
		c.lose(st, fmt.Sprintf("%d peers know a later start of it than this one, which is number %d by its store", x.later.Len(), b.Boot))
	}
	if !x.lost && !x.running && x.answered.Len() >= c.needed() {
		c.run(now, st)
		st.Broadcast(&Position{Certified: c.certify.CertifiedHeight(), Again: true})
		for i := range protocols.Index(c.cfg.Committee.N()) {
			if i != c.cfg.Self {
				c.resend(st, i)
			}
		}
		c.pursue(now, st)
	}
}

// fenced counts the peers that accept another process of this replica.
func (c *Core) fenced(st *Step, from protocols.Index, m *Fenced) {
	x := &c.identity
	if x.begun == nil || m.Boot < x.begun.Boot || m.Boot == x.begun.Boot && m.Nonce == x.begun.Nonce {
		return
	}
	if x.fencedBy.Add(from) && x.fencedBy.Len() >= c.cfg.Committee.WeakQuorum() {
		c.lose(st, fmt.Sprintf("another process runs with its keys: %d peers keep that one, start %d", x.fencedBy.Len(), m.Boot))
	}
}

// lose ends all signing for good. The record of it is on disk before the node and the peers learn of it.
func (c *Core) lose(st *Step, why string) {
	x := &c.identity
	if x.begun == nil || x.lost {
		return
	}
	x.lost, x.begun.Lost = true, true
	st.Persist = append(st.Persist, x.begun.Record())
	st.Emit(Output{Lost: &Lost{why}})
}

// lacking describes a statement in the message that has this replica's own signature and is not in its store. It is
// empty if there is none.
func (c *Core) lacking(from protocols.Index, m protocols.Message) string {
	if c.identity.begun == nil || c.identity.lost {
		return ""
	}
	switch x := m.(type) {
	case *lanes.Batch:
		if c.bdt.LacksHeader(&x.SignedHeader) {
			return fmt.Sprintf("a peer has header %d of its lane with its signature, and its store has not", x.Seq)
		}
		if x.Certificate != nil {
			return c.certificates(x.Certificate)
		}
	case *lanes.Conflict:
		if c.bdt.LacksHeader(&x.SignedHeader) {
			return fmt.Sprintf("a peer has header %d of its lane with its signature, and its store has not", x.Seq)
		}
	case *lanes.TipCertificate:
		return c.certificates(x)
	case *bolt.Propose:
		if x.Leader == c.cfg.Self {
			if why := c.proposal(x.Signed()); why != "" {
				return why
			}
		}
		return c.certificates(x.Certificates...)
	case *bdt.Status:
		if x.QC != nil && c.bdt.LacksQCVote(x.QC) {
			return fmt.Sprintf("a QC has its vote for epoch %d slot %d, and its store has not", x.QC.Epoch, x.QC.Slot)
		}
		return c.certificates(x.Certificates...)
	case *Known:
		if x.Member == c.cfg.Self {
			return c.newer(x)
		}
	default:
		for _, y := range mvba.SignedBy(c.cfg.Self, from, m) {
			if why := c.agreed(&y); why != "" {
				return why
			}
		}
	}
	return ""
}

func (c *Core) proposal(x *bolt.SignedProposal) string {
	if !c.bdt.LacksProposal(x.Epoch, x.Slot, x.Digest) {
		return ""
	}
	return fmt.Sprintf("a peer has its proposal for epoch %d slot %d, and its store has not", x.Epoch, x.Slot)
}

func (c *Core) agreed(x *mvba.Signed) string {
	if !c.bdt.LacksSigned(x) {
		return ""
	}
	return fmt.Sprintf("a peer has its signature of round %d of the agreement of epoch %d, and its store has not", x.Round, x.Instance.Epoch)
}

func (c *Core) certificates(list ...*lanes.TipCertificate) string {
	for _, x := range list {
		if c.bdt.LacksAck(x) {
			return fmt.Sprintf("a certificate has its acknowledgement of number %d of lane %d, and its store has not", x.Tip.Seq, x.Lane)
		}
	}
	return ""
}

// newer describes a statement in a peer's Known that this replica signed and its store lacks.
func (c *Core) newer(x *Known) string {
	switch {
	case x.Header != nil && c.bdt.LacksHeader(&x.Header.SignedHeader):
		return fmt.Sprintf("a peer has header %d of its lane with its signature, and its store has not", x.Header.Seq)
	case x.Vote != nil && c.bdt.LacksVote(x.Vote.Epoch, x.Vote.Slot, x.Vote.Digest):
		return fmt.Sprintf("a peer has its vote for epoch %d slot %d, and its store has not", x.Vote.Epoch, x.Vote.Slot)
	case x.Status != nil && c.bdt.LacksStatus(&x.Status.Claim):
		return fmt.Sprintf("a peer has its Status of epoch %d, and its store has not", x.Status.Epoch)
	}
	if x.Proposal != nil {
		if why := c.proposal(x.Proposal); why != "" {
			return why
		}
	}
	if x.Agreement != nil {
		return c.agreed(x.Agreement)
	}
	return ""
}

// Standing is the progress of a start, and the second processes of peers.
type Standing struct {
	Boot     uint64 // 0 if the replica trusts its store
	Running  bool   // the replica may sign
	Answered int    // number of peers that answered this start
	Needed   int    // number of answers before it may sign
	Twins    []Twin
}

// Equal reports whether two are the same.
func (s *Standing) Equal(t *Standing) bool {
	return s.Boot == t.Boot && s.Running == t.Running && s.Answered == t.Answered && s.Needed == t.Needed && slices.Equal(s.Twins, t.Twins)
}

// Standing returns the present one.
func (c *Core) Standing() Standing {
	x := &c.identity
	s := Standing{Running: x.running && !x.lost, Answered: x.answered.Len(), Needed: c.needed()}
	if x.begun != nil {
		s.Boot = x.begun.Boot
	}
	for i := range x.marks {
		if t := x.marks[i].twin; t.At != 0 {
			s.Twins = append(s.Twins, t)
		}
	}
	return s
}
