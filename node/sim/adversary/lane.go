package adversary

import (
	"bdtnode/internal/digest"
	"bdtnode/ledger"
	"bdtnode/node/sim/network"
	"bdtnode/protocols"
	"bdtnode/protocols/lanes"
)

// EquivocatingLane signs two batches for many numbers of its lane, and shows each to a part of the others. The leader
// may then propose a tip for which too few replicas can vote.
type EquivocatingLane struct {
	Every bool                           // the two parts change with each number, or with every eighth
	twins map[digest.Digest]*lanes.Batch // by the digest of the batch that has a twin; nil if it has none
	acks  map[digest.Digest]*protocols.Tally
}

// Receive collects acks of both batches, and sends the certificate of either as soon as it is complete.
func (a *EquivocatingLane) Receive(v *View, from protocols.Index, m protocols.Message) {
	x, ok := m.(*lanes.Ack)
	if !ok || x.Lane != v.Self {
		return
	}
	if a.acks == nil {
		a.acks = make(map[digest.Digest]*protocols.Tally)
	}
	v.collectAck(a.acks, from, x)
}

// collectAck counts an ack for a batch of the own lane, beside the own one, and sends the certificate as soon as it is
// complete.
func (v *View) collectAck(acks map[digest.Digest]*protocols.Tally, from protocols.Index, x *lanes.Ack) {
	t := acks[x.Tip.Digest]
	if t == nil {
		t = protocols.NewTally(x.Tip.Digest)
		t.Add(v.Self, v.signAck(x.Lane, x.Tip).Signature)
		acks[x.Tip.Digest] = t
	}
	if t.Add(from, x.Signature) && t.Len() == v.Committee.Quorum() {
		v.Submit(protocols.Everyone, &lanes.TipCertificate{Lane: x.Lane, Tip: x.Tip, Certificate: t.Certificate()})
	}
}

func (a *EquivocatingLane) stride() uint64 {
	if a.Every {
		return 1
	}
	return 8
}

func (*EquivocatingLane) String() string { return "signs two batches for a number" }

func (a *EquivocatingLane) Replace(v *View, to protocols.Index, m protocols.Message) []network.Packet {
	b, ok := m.(*lanes.Batch)
	if !ok || b.Lane != v.Self {
		return Unchanged(m)
	}
	if a.twins == nil {
		a.twins = make(map[digest.Digest]*lanes.Batch)
	}
	rng := v.Rand
	twin, known := a.twins[b.Digest()]
	if !known {
		if rng.IntN(3) > 0 {
			h := b.Header
			if p := a.twins[h.Parent]; p != nil && rng.IntN(2) == 0 {
				h.Parent = p.Digest() // a second chain
			}
			h.Count = 1
			twin = lanes.NewBatch(v.Committee, v.Signer, h, ledger.EncodePayload([][]byte{v.Junk().Encode()}))
		}
		a.twins[b.Digest()] = twin
	}
	if twin == nil {
		return Unchanged(m)
	}
	switch (int(to) + v.PeerLife(to) + int(b.Seq/a.stride())) % 3 { // a replica that crashed is shown the other one
	case 0:
		if rng.IntN(8) == 0 {
			return append(Unchanged(m), Unchanged(twin)...)
		}
		return Unchanged(m)
	default:
		if rng.IntN(8) == 0 {
			return append(Unchanged(twin), Unchanged(m)...)
		}
		return Unchanged(twin)
	}
}
