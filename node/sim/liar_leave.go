package sim

import (
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/lanes"
	"bdtnode/protocols/mvba"
)

// FalseLeaving leaves every epoch at once, claims to know nothing, and states different times to different replicas.
// Its inputs to the agreement lack a Status, the QC with its block, or the certificates.
type FalseLeaving struct{}

func (*FalseLeaving) String() string { return "leaves every epoch at once" }

func (*FalseLeaving) tamper(n *node, to protocols.Index, m protocols.Message) []packet {
	switch x := m.(type) {
	case *bolt.Vote:
		return append(honestly(m), honestly(n.falseStatus(x.Epoch, uint64(to%2)))...)
	case *bdt.Status:
		if n.s.rng.IntN(3) == 0 {
			return honestly(m)
		}
		return honestly(n.falseStatus(x.Epoch, uint64(to)))
	case *mvba.Proposal:
		if x.Round > 1 {
			break
		}
		in, err := bdt.DecodeInput(n.s.committee, x.Value)
		if err != nil {
			panic(err)
		}
		switch n.s.rng.IntN(4) {
		case 0:
			in.Claims = in.Claims[1:]
		case 1:
			in.QC, in.Block = nil, nil
		case 2:
			in.Certificates = nil
		default:
			return honestly(m)
		}
		value := in.Encode()
		return honestly(&mvba.Proposal{At: x.At, Value: value, Digest: mvba.DigestOf(value)})
	}
	return honestly(m)
}

// falseStatus claims that the replica saw nothing of an epoch.
func (n *node) falseStatus(epoch, late uint64) *bdt.Status {
	return n.signStatus(&bdt.Status{Claim: bdt.Claim{
		Epoch: epoch, TimeMS: n.clock().Millis() + late<<40,
		Cut: make(lanes.Cut, n.s.committee.N()), Inbound: make(lanes.Cut, len(n.s.shards)),
	}})
}
