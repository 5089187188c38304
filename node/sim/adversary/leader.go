package adversary

import (
	"bdtnode/internal/digest"
	"bdtnode/node/sim/network"
	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
)

// EquivocatingLeader proposes two blocks for many slots, in two chains. It shows each to half of the others, and votes
// for both.
type EquivocatingLeader struct {
	twins map[digest.Digest]*bolt.Propose
}

func (*EquivocatingLeader) String() string { return "proposes two blocks for a slot" }

func (a *EquivocatingLeader) Replace(v *View, to protocols.Index, m protocols.Message) []network.Packet {
	if a.twins == nil {
		a.twins = make(map[digest.Digest]*bolt.Propose)
	}
	rng := v.Rand
	switch x := m.(type) {
	case *bolt.Propose:
		d := x.Block.Digest()
		twin, known := a.twins[d]
		if !known {
			if parent := a.twins[x.Block.Parent]; rng.IntN(3) == 0 || parent != nil {
				b := *x.Block
				if parent != nil && rng.IntN(4) > 0 {
					b.Parent = parent.Block.Digest()
				}
				b.TimeMS += 1 + rng.Uint64N(3)
				sealed := v.sealed(&b)
				twin = &bolt.Propose{Leader: v.Self, Block: sealed, Certificates: x.Certificates}
				twin.Signature = v.Signer.Sign(v.proposeStatement(v.Self, sealed))
			}
			a.twins[d] = twin
		}
		if twin == nil {
			return Unchanged(m)
		}
		switch {
		case rng.IntN(10) == 0:
			return append(Unchanged(twin), Unchanged(m)...)
		case to%2 == 0:
			return Unchanged(m)
		}
		return Unchanged(twin)
	case *bolt.Vote:
		if twin := a.twins[x.Digest]; twin != nil {
			vote := v.signVote(x.Epoch, x.Slot, twin.Block.Digest())
			if to%2 == 0 {
				return append(Unchanged(m), Unchanged(vote)...)
			}
			return append(Unchanged(vote), Unchanged(m)...)
		}
	case *bolt.Finalize:
		if twin := a.twins[x.Digest]; twin != nil && to%2 == 1 {
			return Unchanged(&bolt.Finalize{Epoch: x.Epoch, Slot: x.Slot, Digest: twin.Block.Digest()})
		}
	}
	return Unchanged(m)
}
