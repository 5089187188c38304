package bdt

import (
	"fmt"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/internal/wire"
	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/inbound"
	"bdtnode/protocols/lanes"
)

// KindStatus is the kind of a [Status] on the wire.
const KindStatus = protocols.KindsBDT + 0

// claimMax is the greatest length of an encoded Claim in bytes, without the epoch.
const claimMax = 8 + digest.Size + 8 + 2*lanes.CutMax

// own is the table of the messages of this package itself.
var own = protocols.Entries(protocols.KindsBDT, protocols.SignedEntry{
	Kind: KindStatus, Name: "Status", Max: 8 + claimMax + sig.SignatureSize + (1+2*protocols.MaxReplicas)*protocols.CertificateMax,
	Decode: protocols.ShardDecoder(DecodeStatus), Check: protocols.SenderCheck((*Status).SignatureChecks),
	Epoch: protocols.Field(func(m *Status) uint64 { return m.Epoch }),
})

// Claim is the statement that a replica signs when it leaves an epoch.
type Claim struct {
	Epoch   uint64
	Slot    uint64        // highest slot for which the replica holds a QC, 0 if there is none
	Digest  digest.Digest // digest of the block of that slot, zero if Slot is 0
	TimeMS  uint64        // clock of the replica, Unix milliseconds
	Cut     lanes.Cut     // highest certified tips above the last commit; the origin where there is none
	Inbound lanes.Cut     // the same for channels
}

// append encodes all fields but the epoch, which the containing message encodes.
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
		r.Fail("epoch 0, epochs are numbered from 1")
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

// Status states that its sender has left an epoch. It has the claim of the sender and the proofs of all its parts.
type Status struct {
	Claim
	Signature    sig.Signature
	QC           *bolt.QC                  // QC of Slot, nil if Slot is 0
	Certificates []*lanes.TipCertificate   // for the tips in Cut, by lane
	Deliveries   []*inbound.TipCertificate // for the tips in Inbound, by source
}

// Kind is KindStatus.
func (*Status) Kind() protocols.Kind { return KindStatus }

// Append encodes epoch, claim, signature and proofs. Of each proof only the signatures are encoded, since the claim has the
// positions that they are for.
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

// DecodeStatus reads the body of a Status.
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
			m.Deliveries = append(m.Deliveries, &inbound.TipCertificate{Source: uint16(i), Tip: t, Certificate: protocols.ReadCertificate(r)})
		}
	}
	return m, r.Done()
}

// SignatureChecks lists the signature checks that prove the Status from replica from, and all parts of its claim.
func (m *Status) SignatureChecks(c *protocols.Committee, from protocols.Index) ([]sig.Check, error) {
	checks := []sig.Check{c.SignatureCheck(from, m.statement(c), m.Signature)}
	return provenBy(c, checks, m.QC, m.Certificates, m.Deliveries)
}

// provenBy adds to checks the checks of a QC, if it is not nil, and of certificates.
func provenBy(c *protocols.Committee, checks []sig.Check, qc *bolt.QC, tips []*lanes.TipCertificate, lds []*inbound.TipCertificate) ([]sig.Check, error) {
	if qc != nil {
		more, err := qc.SignatureChecks(c)
		if err != nil {
			return nil, fmt.Errorf("QC of slot %d: %w", qc.Slot, err)
		}
		checks = append(checks, more...)
	}
	for _, x := range tips {
		more, err := x.SignatureChecks(c)
		if err != nil {
			return nil, fmt.Errorf("tip of lane %d: %w", x.Lane, err)
		}
		checks = append(checks, more...)
	}
	for _, x := range lds {
		more, err := x.SignatureChecks(c)
		if err != nil {
			return nil, fmt.Errorf("tip of channel %d: %w", x.Source, err)
		}
		checks = append(checks, more...)
	}
	return checks, nil
}
