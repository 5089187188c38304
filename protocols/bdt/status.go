package bdt

import (
	"fmt"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/internal/wire"
	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/channels"
	"bdtnode/protocols/lanes"
)

// KindStatus is the kind of a [Status] on the wire.
const KindStatus = protocols.KindsBDT + 0

// Claim is what a replica signs when it leaves an epoch.
type Claim struct {
	Epoch   uint64
	Slot    uint64        // highest with a QC that the replica holds, 0 if it holds none
	Digest  digest.Digest // of that slot's block, zero if there is none
	TimeMS  uint64        // the replica's clock, Unix milliseconds
	Cut     lanes.Cut     // highest certified tips above what it has committed; the origin where there is none
	Inbound lanes.Cut     // the same of channels
}

// append encodes everything but the epoch, which whatever the claim is in has.
func (x *Claim) append(b []byte) []byte {
	b = wire.AppendU64(b, x.Slot)
	b = append(b, x.Digest[:]...)
	b = wire.AppendU64(b, x.TimeMS)
	return x.Inbound.Append(x.Cut.Append(b))
}

func readClaim(c *protocols.Committee, epoch uint64, r *wire.Reader) Claim {
	x := Claim{Epoch: epoch, Slot: r.U64()}
	r.Fixed(x.Digest[:])
	x.TimeMS = r.U64()
	x.Cut, x.Inbound = lanes.ReadCut(r), lanes.ReadCut(r)
	if r.Err() != nil {
		return x
	}
	switch {
	case x.Epoch == 0:
		r.Fail("epochs count from 1")
	case (x.Slot == 0) != x.Digest.IsZero():
		r.Fail("a claim of slot %d with block %s", x.Slot, x.Digest.Short())
	case len(x.Cut) != c.N():
		r.Fail("a claim for %d lanes, the shard has %d", len(x.Cut), c.N())
	}
	return x
}

func (x *Claim) statement(c *protocols.Committee) []byte {
	return c.Statement("bdt/status/1", wire.AppendU64(nil, x.Epoch), x.append(nil))
}

// Status says that its sender has left an epoch, and what it knows there: its claim with the proofs of all in it.
type Status struct {
	Claim
	Signature    sig.Signature
	QC           *bolt.QC                   // of Slot, nil if that is 0
	Certificates []*lanes.TipCertificate    // of the tips in Cut, in order of lane
	Deliveries   []*channels.TipCertificate // of those in Inbound, in order of source
}

// Kind is KindStatus.
func (*Status) Kind() protocols.Kind { return KindStatus }

// Append encodes epoch, claim, signature and proofs. Of the proofs only the signatures are written: the claim says
// what they are for.
func (m *Status) Append(b []byte) []byte {
	b = m.Claim.append(wire.AppendU64(b, m.Epoch))
	b = append(b, m.Signature[:]...)
	if m.QC != nil {
		b = m.QC.Certificate.Append(b)
	}
	for _, x := range m.Certificates {
		b = x.Certificate.Append(b)
	}
	for _, x := range m.Deliveries {
		b = x.Certificate.Append(b)
	}
	return b
}

// DecodeStatus reads a Status's body.
func DecodeStatus(c *protocols.Committee, b []byte) (*Status, error) {
	r := wire.NewReader(b)
	m := &Status{Claim: readClaim(c, r.U64(), r)}
	r.Fixed(m.Signature[:])
	if m.Slot > 0 {
		m.QC = &bolt.QC{Epoch: m.Epoch, Slot: m.Slot, Digest: m.Digest, Certificate: protocols.ReadCertificate(r)}
	}
	for i, t := range m.Cut {
		if t.Seq > 0 {
			m.Certificates = append(m.Certificates, &lanes.TipCertificate{Lane: protocols.Index(i), Tip: t, Certificate: protocols.ReadCertificate(r)})
		}
	}
	for i, t := range m.Inbound {
		if t.Seq > 0 {
			m.Deliveries = append(m.Deliveries, &channels.TipCertificate{Source: uint16(i), Tip: t, Certificate: protocols.ReadCertificate(r)})
		}
	}
	return m, r.Done()
}

// Items names the signatures that prove the Status to be from, and everything it claims.
func (m *Status) Items(c *protocols.Committee, from protocols.Index) ([]sig.Item, error) {
	items := []sig.Item{c.Item(from, m.statement(c), m.Signature)}
	return provenBy(c, items, m.QC, m.Certificates, m.Deliveries)
}

// provenBy adds the checks of a QC, if it is not nil, and of certificates.
func provenBy(c *protocols.Committee, items []sig.Item, qc *bolt.QC, tips []*lanes.TipCertificate, lds []*channels.TipCertificate) ([]sig.Item, error) {
	if qc != nil {
		more, err := qc.Items(c)
		if err != nil {
			return nil, fmt.Errorf("QC of slot %d: %w", qc.Slot, err)
		}
		items = append(items, more...)
	}
	for _, x := range tips {
		more, err := x.Items(c)
		if err != nil {
			return nil, fmt.Errorf("tip of lane %d: %w", x.Lane, err)
		}
		items = append(items, more...)
	}
	for _, x := range lds {
		more, err := x.Items(c)
		if err != nil {
			return nil, fmt.Errorf("tip of channel %d: %w", x.Source, err)
		}
		items = append(items, more...)
	}
	return items, nil
}
