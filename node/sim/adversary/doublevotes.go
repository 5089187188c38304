package adversary

import (
	"bdtnode/internal/digest"
	"bdtnode/node/sim/network"
	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/certify"
	"bdtnode/protocols/lanes"
)

// DoubleVoting sends votes, Finalize messages and acknowledgements for other values too, before or after the correct
// ones. It repeats old messages, and signs wrong headers.
type DoubleVoting struct{ old []protocols.Message }

func (*DoubleVoting) String() string { return "votes twice" }

func (a *DoubleVoting) Replace(v *View, _ protocols.Index, m protocols.Message) []network.Packet {
	rng := v.Rand
	out := Unchanged(m)
	var bad protocols.Message
	wrong := digest.Of("bdt/simulated-lie/1", []byte{byte(rng.IntN(3))})
	switch x := m.(type) {
	case *bolt.Vote:
		bad = v.signVote(x.Epoch, x.Slot, wrong)
	case *bolt.Finalize:
		bad = &bolt.Finalize{Epoch: x.Epoch, Slot: x.Slot, Digest: wrong}
	case *lanes.Ack:
		bad = v.signAck(x.Lane, lanes.Tip{Seq: x.Tip.Seq, Digest: wrong})
	case *certify.VOTE:
		bad = &certify.VOTE{Height: x.Height, Header: wrong,
			Signature: v.Signer.Sign(certify.Statement(v.Committee, x.Height, wrong))}
	default:
		return out
	}
	if len(a.old) < 64 {
		a.old = append(a.old, m)
	} else {
		k := rng.IntN(len(a.old))
		if rng.IntN(4) == 0 {
			out = append(out, Unchanged(a.old[k])...)
		}
		a.old[k] = m
	}
	switch rng.IntN(4) {
	case 0:
		return append(Unchanged(bad), out...)
	case 1:
		return append(out, Unchanged(bad)...)
	case 2:
		return append(out, out...)
	}
	return out
}
