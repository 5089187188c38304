package sim

import (
	"bdtnode/internal/digest"
	"bdtnode/internal/wire"
	"bdtnode/node/replica"
	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/certify"
	"bdtnode/protocols/lanes"
)

// honestly is m without a change.
func honestly(m protocols.Message) []packet { return []packet{{frame: replica.Encode(m), message: m}} }

func slotFields(epoch, slot uint64, d digest.Digest) []byte {
	return append(wire.AppendU64(wire.AppendU64(nil, epoch), slot), d[:]...)
}

// signVote makes a vote for any block.
func (n *node) signVote(epoch, slot uint64, d digest.Digest) *bolt.Vote {
	v := &bolt.Vote{Epoch: epoch, Slot: slot, Digest: d}
	v.Signature = n.sign("bdt/vote/1", slotFields(epoch, slot, d))
	return v
}

// signAck acknowledges any position.
func (n *node) signAck(lane protocols.Index, t lanes.Tip) *lanes.Ack {
	b := wire.AppendU64(wire.AppendU16(nil, uint16(lane)), t.Seq)
	return &lanes.Ack{Lane: lane, Tip: t, Signature: n.sign("bdt/ack/1", b, t.Digest[:])}
}

// DoubleVoting sends votes, Finalize messages and acknowledgements for other values too, before or after the correct
// ones. It repeats old messages, and signs wrong headers.
type DoubleVoting struct{ old []protocols.Message }

func (*DoubleVoting) String() string { return "votes twice" }

func (a *DoubleVoting) tamper(n *node, _ protocols.Index, m protocols.Message) []packet {
	rng := n.s.rng
	out := honestly(m)
	var lie protocols.Message
	wrong := digest.Of("bdt/simulated-lie/1", []byte{byte(rng.IntN(3))})
	switch x := m.(type) {
	case *bolt.Vote:
		lie = n.signVote(x.Epoch, x.Slot, wrong)
	case *bolt.Finalize:
		lie = &bolt.Finalize{Epoch: x.Epoch, Slot: x.Slot, Digest: wrong}
	case *lanes.Ack:
		lie = n.signAck(x.Lane, lanes.Tip{Seq: x.Tip.Seq, Digest: wrong})
	case *certify.VOTE:
		lie = &certify.VOTE{Height: x.Height, Header: wrong,
			Signature: n.s.signers[n.id].Sign(certify.Statement(n.s.committee, x.Height, wrong))}
	default:
		return out
	}
	if len(a.old) < 64 {
		a.old = append(a.old, m)
	} else {
		k := rng.IntN(len(a.old))
		if rng.IntN(4) == 0 {
			out = append(out, honestly(a.old[k])...)
		}
		a.old[k] = m
	}
	switch rng.IntN(4) {
	case 0:
		return append(honestly(lie), out...)
	case 1:
		return append(out, honestly(lie)...)
	case 2:
		return append(out, out...)
	}
	return out
}
