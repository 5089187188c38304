package bdt

import (
	"bytes"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/internal/wire"
	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/lanes"
	"bdtnode/protocols/mvba"
)

// The methods Lacks… in this file report whether a statement that carries the signature of this replica is missing in its
// own store. If it is, either the store is not the one that was used when it was signed, or another process signs with the
// same key.

// LacksHeader reports whether a lane header that this replica signed is missing.
func (m *Machine) LacksHeader(h *lanes.SignedHeader) bool { return m.data.lanes.LacksHeader(h) }

// LacksAck reports whether the own acknowledgement in a certificate is missing.
func (m *Machine) LacksAck(c *lanes.TipCertificate) bool {
	return m.data.lanes.LacksAck(c, m.chain.base.Cut)
}

// LacksVote reports whether an own vote is missing.
func (m *Machine) LacksVote(epoch, slot uint64, d digest.Digest) bool {
	return epoch > m.current.number || epoch == m.current.number && m.current.bolt.LacksVote(slot, d)
}

// LacksQCVote reports whether the own vote in a QC is missing.
func (m *Machine) LacksQCVote(q *bolt.QC) bool {
	return q.Certificate.Signers.Has(m.cfg.Self) && m.LacksVote(q.Epoch, q.Slot, q.Digest)
}

// LacksProposal reports whether a block that this replica proposed is missing.
func (m *Machine) LacksProposal(epoch, slot uint64, d digest.Digest) bool {
	return epoch > m.current.number || epoch == m.current.number && m.current.bolt.LacksProposal(slot, d)
}

// LacksSigned reports whether a message that this replica signed in the agreement of an epoch is missing.
func (m *Machine) LacksSigned(x *mvba.Signed) bool {
	epoch := x.Instance.Epoch
	return epoch > m.current.number || epoch == m.current.number && m.current.agreement.Lacks(x)
}

// LacksStatus reports whether an own Status is missing.
func (m *Machine) LacksStatus(x *Claim) bool {
	own := m.current.status
	return x.Epoch > m.current.number ||
		x.Epoch == m.current.number && (own == nil || !bytes.Equal(own.Claim.append(nil), x.append(nil)))
}

// OwnNumber is the number of the newest batch of the own lane.
func (m *Machine) OwnNumber() uint64 { return m.data.lanes.OwnNumber() }

// Signed is the Status without its proofs.
func (m *Status) Signed(by protocols.Index) *SignedClaim {
	return &SignedClaim{Replica: by, Claim: m.Claim, Signature: m.Signature}
}

// Append encodes replica, epoch, claim and signature.
func (x *SignedClaim) Append(b []byte) []byte {
	b = x.Claim.append(wire.AppendU64(wire.AppendU16(b, uint16(x.Replica)), x.Epoch))
	return append(b, x.Signature[:]...)
}

// DecodeSignedClaim decodes the output of Append.
func DecodeSignedClaim(c *protocols.Committee, b []byte) (*SignedClaim, error) {
	r := wire.NewReader(b)
	x := &SignedClaim{Replica: protocols.Index(r.U16())}
	x.Claim = readClaim(c, r.U64(), r)
	r.Fixed(x.Signature[:])
	return x, r.Done()
}

// SignatureCheck is the signature check that proves the claim.
func (x *SignedClaim) SignatureCheck(c *protocols.Committee) sig.Check {
	return c.SignatureCheck(x.Replica, x.statement(c), x.Signature)
}
