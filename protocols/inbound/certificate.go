package inbound

import (
	"fmt"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/internal/wire"
	"bdtnode/protocols"
	"bdtnode/protocols/lanes"
)

// KindCertificate is the kind of a [TipCertificate] on the wire.
const KindCertificate = protocols.KindsInbound + 4

// TipCertificate has f+1 SIGN for one LD. It proves that an honest replica of the shard holds the LD and all LDs of the
// channel before it.
type TipCertificate struct {
	Source      uint16
	Tip         lanes.Tip
	Certificate protocols.Certificate
}

// Kind is KindCertificate.
func (*TipCertificate) Kind() protocols.Kind { return KindCertificate }

// Append encodes channel, position and certificate.
func (m *TipCertificate) Append(b []byte) []byte {
	return m.Certificate.Append(appendPosition(b, m.Source, m.Tip))
}

// SignatureChecks lists the signature checks that prove the certificate. It returns an error for a channel of the own
// shard, for fewer than f+1 signers, and for a signer outside the committee.
func (m *TipCertificate) SignatureChecks(c *protocols.Committee) ([]sig.Check, error) {
	if m.Source == c.Shard() {
		return nil, fmt.Errorf("a certificate of a channel from shard %d to itself", m.Source)
	}
	return c.SignatureChecks(&m.Certificate, c.WeakQuorum(), statement(c, m.Source, m.Tip))
}

// ReadTipCertificate decodes the output of Append.
func ReadTipCertificate(r *wire.Reader) *TipCertificate {
	m := &TipCertificate{}
	m.Source, m.Tip = readPosition(r)
	m.Certificate = protocols.ReadCertificate(r)
	return m
}

// DecodeTipCertificate reads the body of a TipCertificate.
func DecodeTipCertificate(b []byte) (*TipCertificate, error) {
	r := wire.NewReader(b)
	m := ReadTipCertificate(r)
	return m, r.Done()
}

// AppendTipCertificates encodes a list of certificates: their number (2 bytes), then each one.
func AppendTipCertificates(b []byte, certs []*TipCertificate) []byte {
	b = wire.AppendU16(b, uint16(len(certs)))
	for _, c := range certs {
		b = c.Append(b)
	}
	return b
}

// ReadTipCertificates decodes a list of certificates. It refuses a list that is not in strictly ascending order of source,
// so it has at most one certificate for each channel.
func ReadTipCertificates(r *wire.Reader) []*TipCertificate {
	n := r.Count(protocols.MaxReplicas, 2+8+digest.Size+2)
	out := make([]*TipCertificate, 0, n)
	for range n {
		c := ReadTipCertificate(r)
		if len(out) > 0 && c.Source <= out[len(out)-1].Source {
			r.Fail("certificates out of order")
		}
		out = append(out, c)
	}
	return out
}

// HandleCertificate is called upon a checked certificate. Its position may be proposed from then on. If the LD is not held,
// the machine asks for it.
func (m *Machine) HandleCertificate(now protocols.Time, x *TipCertificate) Step {
	var st Step
	c := m.known(x.Source)
	if c == nil || x.Tip.Seq <= c.ordered.Seq || x.Tip.Seq > c.ordered.Seq+Window || m.certified(c, x.Tip) {
		return st
	}
	t := c.tally(x.Tip)
	for k, i := range x.Certificate.Signers.Members() {
		t.Add(i, x.Certificate.Signatures[k])
	}
	c.certify(x.Tip)
	if !c.holds(x.Tip.Digest) {
		m.want(now, x.Source, x.Tip, min(c.signed.Seq, x.Tip.Seq-1), fetchGrace, x.Certificate.Signers.Members()...)
	}
	st.Emit(Output{Progressed: true})
	return st
}

// Pending gives the highest number of a channel that f+1 replicas signed, and the number up to which the channel is
// ordered.
func (m *Machine) Pending(source uint16) (certified, ordered uint64) {
	c := m.chans[source]
	return max(c.top, c.ordered.Seq), c.ordered.Seq
}

// Certificate proves the highest position of a channel, above the last committed cut, that f+1 replicas signed. It is nil
// if there is none.
func (m *Machine) Certificate(source uint16) *TipCertificate {
	c := m.chans[source]
	x := c.signs[c.top]
	if x == nil {
		return nil
	}
	best := x.tallies[x.certified]
	out := &TipCertificate{Source: source, Tip: lanes.Tip{Seq: c.top, Digest: best.Digest}}
	all := best.Certificate()
	for k, i := range all.Signers.Members()[:m.cfg.Committee.WeakQuorum()] {
		out.Certificate.Signers.Add(i)
		out.Certificate.Signatures = append(out.Certificate.Signatures, all.Signatures[k])
	}
	return out
}
