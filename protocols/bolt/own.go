package bolt

import (
	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/internal/wire"
	"bdtnode/protocols"
)

// LacksVote reports whether there is no record of a vote that this replica signed in this epoch, although it would not have
// been deleted: records above the last commit are kept. Then the store is older than the vote.
func (m *Machine) LacksVote(slot uint64, d digest.Digest) bool {
	if slot <= m.slots.committed {
		return false
	}
	x := m.slots.kept[slot]
	return x == nil || x.vote == nil || x.vote.Digest != d
}

// LacksProposal reports the same for a block that this replica proposed as the leader of this epoch.
func (m *Machine) LacksProposal(slot uint64, d digest.Digest) bool {
	if slot <= m.slots.committed {
		return false
	}
	x := m.slots.kept[slot]
	return x == nil || x.blocks[d] == nil
}

// SignedProposal is the signature of a leader on the block of a slot, without the block.
type SignedProposal struct {
	Leader      protocols.Index
	Epoch, Slot uint64
	Digest      digest.Digest
	Signature   sig.Signature
}

// Signed is the proposal without the block.
func (m *Propose) Signed() *SignedProposal {
	return &SignedProposal{m.Leader, m.Block.Epoch, m.Block.Slot, m.Block.digest, m.Signature}
}

// Append encodes leader, epoch, slot, digest and signature.
func (x *SignedProposal) Append(b []byte) []byte {
	return append(appendSlot(wire.AppendU16(b, uint16(x.Leader)), x.Epoch, x.Slot, x.Digest), x.Signature[:]...)
}

// DecodeSignedProposal decodes the output of Append.
func DecodeSignedProposal(b []byte) (*SignedProposal, error) {
	r := wire.NewReader(b)
	x := &SignedProposal{Leader: protocols.Index(r.U16())}
	x.Epoch, x.Slot, x.Digest = readSlot(r)
	r.Fixed(x.Signature[:])
	return x, r.Done()
}

// SignatureCheck is the signature check that proves the proposal.
func (x *SignedProposal) SignatureCheck(c *protocols.Committee) sig.Check {
	return c.SignatureCheck(x.Leader, slotProposed(c, x.Leader, x.Epoch, x.Slot, x.Digest), x.Signature)
}
