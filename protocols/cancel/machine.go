package cancel

import (
	"time"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/protocols"
)

// Bounds.
const (
	// MaxPending is the bytes of the transactions of pending CL_Ms, of all replicas. Each replica has an equal part.
	MaxPending = 8 << 20
	// overhead is counted for each pending transaction, in addition to its bytes.
	overhead = 256
	// maxRecent is the number of transactions that are remembered as stated or certified.
	maxRecent = 8192
	// PerSecond and Burst bound the own CL_Ms.
	PerSecond = 200
	Burst     = 400
)

// Output is one output of the machine. One of the fields is set.
type Output struct {
	// Ask has a transaction that another replica states can never be SPENT. The caller reads its committed state, and
	// calls [Machine.Impossible] if that shows the same.
	Ask []byte
	// Certified is a transaction with f+1 CL_Ms.
	Certified *Certified
}

// Step is one step of the machine.
type Step = protocols.Step[Output]

// Machine is the state of one replica. It collects CL_Ms and makes a certificate of f+1 of them. It stores nothing.
type Machine struct {
	committee *protocols.Committee
	self      protocols.Index
	signer    sig.Signer
	pending   map[digest.Digest]*open
	peers     []peer // by replica
	certified *digest.Recent
	stated    *digest.Recent
	full      protocols.Time // until when the own CL_Ms are used up, without the burst
}

// open is a transaction with fewer than f+1 CL_Ms.
type open struct {
	content []byte
	tally   *protocols.Tally
	holders int // replicas in whose part it is counted
	asked   bool
}

func (o *open) size() int { return len(o.content) + overhead }

// peer is the part of one replica: the transactions that it stated, oldest first.
type peer struct {
	stated []digest.Digest
	bytes  int
}

// New makes the machine of a replica. It knows no statements.
func New(c *protocols.Committee, self protocols.Index, s sig.Signer) *Machine {
	return &Machine{
		committee: c, self: self, signer: s,
		pending: make(map[digest.Digest]*open), peers: make([]peer, c.N()), certified: digest.NewRecent(maxRecent), stated: digest.NewRecent(maxRecent),
	}
}

// Impossible is called when the committed state of this replica shows that a transaction can never be SPENT in this
// shard. The replica signs that once, and at most so often in a second; a CL_M beyond that is not sent.
func (m *Machine) Impossible(now protocols.Time, content []byte) Step {
	var st Step
	d := DigestOf(content)
	if len(content) == 0 || len(content) > MaxContent || m.certified.Has(d) || m.stated.Has(d) || !m.takeToken(now) {
		return st
	}
	m.stated.Add(d)
	x := &CLM{Content: content, Digest: d, Signature: m.signer.Sign(Statement(m.committee, d))}
	st.Broadcast(x)
	m.count(&st, m.self, x)
	return st
}

// takeToken reports whether one more own CL_M is allowed now.
func (m *Machine) takeToken(now protocols.Time) bool {
	const each = time.Second / PerSecond
	if m.full > now.Add(each*(Burst-1)) {
		return false
	}
	m.full = max(m.full, now).Add(each)
	return true
}

// HandleCLM is called upon a checked CL_M of another replica.
func (m *Machine) HandleCLM(from protocols.Index, x *CLM) Step {
	var st Step
	if !m.certified.Has(x.Digest) {
		m.count(&st, from, x)
	}
	return st
}

// upon f+1 CL_Ms for one transaction: it is certified. Before that, this replica looks at the transaction itself, once.
func (m *Machine) count(st *Step, from protocols.Index, x *CLM) {
	o := m.pending[x.Digest]
	if o == nil {
		o = &open{content: x.Content, tally: protocols.NewTally(x.Digest)}
		m.pending[x.Digest] = o
	}
	if !o.tally.Add(from, x.Signature) {
		return
	}
	if o.tally.Len() >= m.committee.WeakQuorum() {
		m.close(x.Digest, o)
		m.certified.Add(x.Digest)
		st.Emit(Output{Certified: &Certified{o.content, o.tally.Certificate()}})
		return
	}
	m.hold(from, x.Digest, o)
	if from != m.self && !o.asked && m.pending[x.Digest] != nil && !m.stated.Has(x.Digest) {
		o.asked = true
		st.Emit(Output{Ask: o.content})
	}
}

// hold counts a pending transaction in the part of a replica that stated it. If the part is full, the replica's
// oldest ones leave it. A transaction is dropped when it is in no part. So a replica displaces only statements that no
// other replica made.
func (m *Machine) hold(from protocols.Index, d digest.Digest, o *open) {
	p := &m.peers[from]
	o.holders++
	p.stated, p.bytes = append(p.stated, d), p.bytes+o.size()
	for limit := MaxPending / m.committee.N(); p.bytes > limit; {
		old := p.stated[0]
		p.stated = p.stated[1:]
		x := m.pending[old]
		p.bytes -= x.size()
		if x.holders--; x.holders == 0 {
			delete(m.pending, old)
		}
	}
}

// close takes a certified transaction out of all parts.
func (m *Machine) close(d digest.Digest, o *open) {
	delete(m.pending, d)
	for i := range m.peers {
		p := &m.peers[i]
		for k := 0; o.holders > 0 && k < len(p.stated); k++ {
			if p.stated[k] == d {
				p.stated = append(p.stated[:k], p.stated[k+1:]...)
				p.bytes -= o.size()
				o.holders--
				break
			}
		}
	}
}

// Pending is the number of transactions with fewer than f+1 CL_Ms, and their bytes in the parts of all replicas.
func (m *Machine) Pending() (count, bytes int) {
	for i := range m.peers {
		bytes += m.peers[i].bytes
	}
	return len(m.pending), bytes
}
