// Package certify certifies executed headers (docs/design.md §5: VOTE).
//
// A replica that executed a block signs its header. f+1 signatures certify it. Why f+1 suffices: one of the signers is
// honest, it executed a committed block, and execution is deterministic. So a certified header is the one that every honest
// replica computes at that height. A replica whose own header differs from a certified one must stop, since its state is
// corrupt.
package certify

import (
	"fmt"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/internal/wire"
	"bdtnode/protocols"
)

// KindVOTE is the VOTE's kind on the wire.
const KindVOTE = protocols.KindsCertify + 0

// Messages is the table of the messages of this package.
var Messages = protocols.Entries(protocols.KindsCertify, protocols.SignedEntry{
	Kind: KindVOTE, Name: "VOTE", Max: 8 + digest.Size + sig.SignatureSize,
	Decode: protocols.Decoder(DecodeVOTE), Check: protocols.SenderCheck((*VOTE).SignatureChecks),
})

// CertifiedMax is the greatest length of an encoded [Certified], in bytes.
const CertifiedMax = 8 + digest.Size + protocols.CertificateMax

// window is the number of heights above the last certified one for which VOTEs are kept.
const window = 1024

// VOTE is the signature of a replica on the header that it computed for a height.
type VOTE struct {
	Height    uint64
	Header    digest.Digest
	Signature sig.Signature
}

// Kind is KindVOTE.
func (*VOTE) Kind() protocols.Kind { return KindVOTE }

// Append encodes height, header digest and signature.
func (m *VOTE) Append(b []byte) []byte {
	b = wire.AppendU64(b, m.Height)
	b = append(b, m.Header[:]...)
	return append(b, m.Signature[:]...)
}

// SignatureChecks lists the signature check that proves the VOTE from replica from.
func (m *VOTE) SignatureChecks(c *protocols.Committee, from protocols.Index) ([]sig.Check, error) {
	return []sig.Check{c.SignatureCheck(from, Statement(c, m.Height, m.Header), m.Signature)}, nil
}

// DecodeVOTE reads the body of a VOTE. It refuses height 0.
func DecodeVOTE(b []byte) (*VOTE, error) {
	r := wire.NewReader(b)
	m := &VOTE{Height: r.U64()}
	r.Fixed(m.Header[:])
	r.Fixed(m.Signature[:])
	if m.Height == 0 {
		r.Fail("a VOTE for height 0")
	}
	return m, r.Done()
}

// Statement is the byte string that a VOTE signs.
func Statement(c *protocols.Committee, height uint64, header digest.Digest) []byte {
	return c.Statement("bdt/VOTE/1", wire.AppendU64(nil, height), header[:])
}

// Certified is a header with f+1 VOTEs.
type Certified struct {
	Height      uint64
	Header      digest.Digest
	Certificate protocols.Certificate
}

// SignatureChecks lists the signature checks that prove the certificate. It returns an error for height 0, fewer than
// f+1 signers, or a signer outside the committee.
func (x *Certified) SignatureChecks(c *protocols.Committee) ([]sig.Check, error) {
	if x.Height == 0 {
		return nil, fmt.Errorf("a certificate for height 0")
	}
	return c.SignatureChecks(&x.Certificate, c.WeakQuorum(), Statement(c, x.Height, x.Header))
}

// Append encodes height, header digest and certificate.
func (x *Certified) Append(b []byte) []byte {
	b = wire.AppendU64(b, x.Height)
	b = append(b, x.Header[:]...)
	return x.Certificate.Append(b)
}

// ReadCertified decodes the output of Append.
func ReadCertified(r *wire.Reader) *Certified {
	x := &Certified{Height: r.U64()}
	r.Fixed(x.Header[:])
	x.Certificate = protocols.ReadCertificate(r)
	return x
}

// Step is one step of the machine.
type Step = protocols.Step[*Certified]

// Machine collects VOTEs and makes certificates of them.
type Machine struct {
	committee        *protocols.Committee
	self             protocols.Index
	signer           sig.Signer
	heights          map[uint64]*height
	executed         uint64
	certified        uint64   // every height up to it is certified and executed here
	firstUncertified uint64   // result of the last FirstUncertified: all heights between certified and it have a certificate
	highest          []uint64 // by replica: the greatest height of its VOTEs
}

type height struct {
	own     *VOTE
	voters  protocols.Set
	tallies map[digest.Digest]*protocols.Tally
	done    digest.Digest
}

// New makes the machine of a replica that has executed all heights up to executed and holds the certificates of all heights
// up to certified.
func New(c *protocols.Committee, self protocols.Index, s sig.Signer, executed, certified uint64) *Machine {
	return &Machine{
		committee: c, self: self, signer: s, executed: executed, certified: certified,
		heights: make(map[uint64]*height), highest: make([]uint64, c.N()),
	}
}

// CertifiedHeight is the height up to which every header is certified and executed here.
func (m *Machine) CertifiedHeight() uint64 { return m.certified }

// FirstUncertified is the first height above CertifiedHeight without a certificate here. The heights between the two
// have certificates and wait only for their execution.
func (m *Machine) FirstUncertified() uint64 {
	m.firstUncertified = max(m.firstUncertified, m.certified+1)
	for m.heights[m.firstUncertified] != nil && !m.heights[m.firstUncertified].done.IsZero() {
		m.firstUncertified++
	}
	return m.firstUncertified
}

// HasCertificate reports whether this replica has the certificate of the header at a height.
func (m *Machine) HasCertificate(h uint64) bool {
	x := m.heights[h]
	return h <= m.certified || x != nil && !x.done.IsZero()
}

// HighestVOTE is the greatest height for which replica i sent a VOTE, 0 if it sent none.
func (m *Machine) HighestVOTE(i protocols.Index) uint64 { return m.highest[i] }

// Executed is called with the header that this replica computed for the next height. It signs the header and sends the VOTE
// to all. It panics if another header is certified at h.
func (m *Machine) Executed(h uint64, header digest.Digest) Step {
	var st Step
	v := &VOTE{Height: h, Header: header}
	v.Signature = m.signer.Sign(Statement(m.committee, h, header))
	m.executed = h
	if h > m.certified {
		x := m.at(h)
		x.own = v
		if !x.done.IsZero() && x.done != header {
			panic(&Divergence{h, header, x.done})
		}
		m.count(&st, m.self, v)
		m.advance()
		st.Broadcast(v) // for h <= certified there is no need: a replica that lacks the height gets it by catching up
	}
	return st
}

// HandleVOTE is called upon a checked VOTE. A VOTE more than window above CertifiedHeight is not kept.
func (m *Machine) HandleVOTE(from protocols.Index, v *VOTE) Step {
	var st Step
	m.highest[from] = max(m.highest[from], v.Height)
	if v.Height > m.certified && v.Height <= m.certified+window {
		m.count(&st, from, v)
	}
	return st
}

// Adopt takes a checked certificate that a peer sent for catching up.
func (m *Machine) Adopt(x *Certified) Step {
	var st Step
	if x.Height > m.certified && x.Height <= m.certified+window {
		m.complete(&st, m.at(x.Height), x)
	}
	return st
}

func (m *Machine) at(h uint64) *height {
	x := m.heights[h]
	if x == nil {
		x = &height{tallies: make(map[digest.Digest]*protocols.Tally)}
		m.heights[h] = x
	}
	return x
}

// upon f+1 VOTEs for one header: it is certified.
func (m *Machine) count(st *Step, from protocols.Index, v *VOTE) {
	x := m.at(v.Height)
	if !x.voters.Add(from) {
		return
	}
	t := x.tallies[v.Header]
	if t == nil {
		t = protocols.NewTally(v.Header)
		x.tallies[v.Header] = t
	}
	t.Add(from, v.Signature)
	if t.Len() == m.committee.WeakQuorum() {
		m.complete(st, x, &Certified{Height: v.Height, Header: v.Header, Certificate: t.Certificate()})
	}
}

func (m *Machine) complete(st *Step, x *height, c *Certified) {
	if !x.done.IsZero() {
		if x.done != c.Header {
			panic(fmt.Sprintf("certify: two different headers are certified at height %d: more than f replicas are Byzantine", c.Height))
		}
		return
	}
	if x.own != nil && x.own.Header != c.Header {
		panic(&Divergence{c.Height, x.own.Header, c.Header})
	}
	x.done = c.Header
	st.Emit(c)
	m.advance()
}

// advance raises the certified height over the next heights that are executed here and certified.
func (m *Machine) advance() {
	for m.certified < m.executed {
		next := m.heights[m.certified+1]
		if next == nil || next.done.IsZero() {
			return
		}
		m.certified++
		delete(m.heights, m.certified)
	}
}

// Divergence is the value of the panic of a replica whose own header differs from a certified one: its state is corrupt.
type Divergence struct {
	Height         uint64
	Own, Certified digest.Digest // of headers
}

// Error names height and headers.
func (x *Divergence) Error() string {
	return fmt.Sprintf("certify: own header %s at height %d differs from the certified %s: this replica's state is corrupt",
		x.Own.Short(), x.Height, x.Certified.Short())
}

// Resend sends a peer again the own VOTEs for the heights above CertifiedHeight.
func (m *Machine) Resend(to protocols.Index) Step {
	var st Step
	for h := m.certified + 1; h <= m.executed; h++ {
		if x := m.heights[h]; x != nil && x.own != nil {
			st.Send(to, x.own)
		}
	}
	return st
}
