package adversary

import (
	"bdtnode/node/sim/network"
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

func (*FalseLeaving) Replace(v *View, to protocols.Index, m protocols.Message) []network.Packet {
	switch x := m.(type) {
	case *bolt.Vote:
		return append(Unchanged(m), Unchanged(v.falseStatus(x.Epoch, uint64(to%2)))...)
	case *bdt.Status:
		if v.Rand.IntN(3) == 0 {
			return Unchanged(m)
		}
		return Unchanged(v.falseStatus(x.Epoch, uint64(to)))
	case *mvba.Proposal:
		if x.Round > 1 {
			break
		}
		in, err := bdt.DecodeInput(v.Committee, x.Value)
		if err != nil {
			panic(err)
		}
		switch v.Rand.IntN(4) {
		case 0:
			in.Claims = in.Claims[1:]
		case 1:
			in.QC, in.Block = nil, nil
		case 2:
			in.Certificates = nil
		default:
			return Unchanged(m)
		}
		value := in.Encode()
		return Unchanged(&mvba.Proposal{At: x.At, Value: value, Digest: mvba.DigestOf(value)})
	}
	return Unchanged(m)
}

// falseStatus claims that the replica saw nothing of an epoch.
func (v *View) falseStatus(epoch, late uint64) *bdt.Status {
	return v.signStatus(&bdt.Status{Claim: bdt.Claim{
		Epoch: epoch, TimeMS: v.Wall().Millis() + late<<40,
		Cut: make(lanes.Cut, v.Committee.N()), Inbound: make(lanes.Cut, v.Shards),
	}})
}
