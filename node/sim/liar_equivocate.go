package sim

import (
	"bdtnode/internal/digest"
	"bdtnode/internal/wire"
	"bdtnode/ledger"
	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/lanes"
)

func encodePayload(txs [][]byte) []byte { return ledger.EncodePayload(txs) }

// EquivocatingLane signs two batches for many numbers of its lane, and shows each to a part of the others. The leader
// may then propose a tip for which too few replicas can vote.
type EquivocatingLane struct {
	Every bool                           // the two parts change with each number, or with every eighth
	twins map[digest.Digest]*lanes.Batch // by the digest of the batch that has a twin; nil if it has none
	acks  map[digest.Digest]*protocols.Tally
}

// hear collects acks of both batches, and sends the certificate of either as soon as it is complete.
func (a *EquivocatingLane) hear(n *node, from protocols.Index, m protocols.Message) {
	x, ok := m.(*lanes.Ack)
	if !ok || x.Lane != n.id {
		return
	}
	if a.acks == nil {
		a.acks = make(map[digest.Digest]*protocols.Tally)
	}
	t := a.acks[x.Tip.Digest]
	if t == nil {
		t = protocols.NewTally(x.Tip.Digest)
		t.Add(n.id, n.signAck(x.Lane, x.Tip).Signature)
		a.acks[x.Tip.Digest] = t
	}
	if t.Add(from, x.Signature) && t.Len() == n.s.committee.Quorum() {
		n.send(protocols.Everyone, &lanes.TipCertificate{Lane: x.Lane, Tip: x.Tip, Certificate: t.Certificate()})
	}
}

func (a *EquivocatingLane) stride() uint64 {
	if a.Every {
		return 1
	}
	return 8
}

func (*EquivocatingLane) String() string { return "signs two batches for a number" }

func (a *EquivocatingLane) tamper(n *node, to protocols.Index, m protocols.Message) []packet {
	b, ok := m.(*lanes.Batch)
	if !ok || b.Lane != n.id {
		return honestly(m)
	}
	if a.twins == nil {
		a.twins = make(map[digest.Digest]*lanes.Batch)
	}
	rng := n.s.rng
	twin, known := a.twins[b.Digest()]
	if !known {
		if rng.IntN(3) > 0 {
			h := b.Header
			if p := a.twins[h.Parent]; p != nil && rng.IntN(2) == 0 {
				h.Parent = p.Digest() // a second chain
			}
			h.Count = 1
			twin = lanes.NewBatch(n.s.committee, n.s.signers[n.id], h, encodePayload([][]byte{n.s.clients.junk().Encode()}))
		}
		a.twins[b.Digest()] = twin
	}
	if twin == nil {
		return honestly(m)
	}
	switch (int(to) + n.s.nodes[to].life + int(b.Seq/a.stride())) % 3 { // a replica that crashed is shown the other one
	case 0:
		if rng.IntN(8) == 0 {
			return append(honestly(m), honestly(twin)...)
		}
		return honestly(m)
	default:
		if rng.IntN(8) == 0 {
			return append(honestly(twin), honestly(m)...)
		}
		return honestly(twin)
	}
}

// EquivocatingLeader proposes two blocks for many slots, in two chains. It shows each to half of the others, and votes
// for both.
type EquivocatingLeader struct {
	twins map[digest.Digest]*bolt.Propose
}

func (*EquivocatingLeader) String() string { return "proposes two blocks for a slot" }

func (a *EquivocatingLeader) tamper(n *node, to protocols.Index, m protocols.Message) []packet {
	if a.twins == nil {
		a.twins = make(map[digest.Digest]*bolt.Propose)
	}
	rng := n.s.rng
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
				sealed := n.sealed(&b)
				twin = &bolt.Propose{Leader: n.id, Block: sealed, Certificates: x.Certificates}
				twin.Signature = n.s.signers[n.id].Sign(n.proposeStatement(n.id, sealed))
			}
			a.twins[d] = twin
		}
		if twin == nil {
			return honestly(m)
		}
		switch {
		case rng.IntN(10) == 0:
			return append(honestly(twin), honestly(m)...)
		case to%2 == 0:
			return honestly(m)
		}
		return honestly(twin)
	case *bolt.Vote:
		if twin := a.twins[x.Digest]; twin != nil {
			v := n.signVote(x.Epoch, x.Slot, twin.Block.Digest())
			if to%2 == 0 {
				return append(honestly(m), honestly(v)...)
			}
			return append(honestly(v), honestly(m)...)
		}
	case *bolt.Finalize:
		if twin := a.twins[x.Digest]; twin != nil && to%2 == 1 {
			return honestly(&bolt.Finalize{Epoch: x.Epoch, Slot: x.Slot, Digest: twin.Block.Digest()})
		}
	}
	return honestly(m)
}

// sealed is the block with the digest of its content.
func (n *node) sealed(b *bolt.Block) *bolt.Block {
	r := wire.NewReader(b.Append(nil))
	out := bolt.ReadBlock(n.s.committee, r)
	if err := r.Done(); err != nil {
		panic(err)
	}
	return out
}

func (n *node) proposeStatement(leader protocols.Index, b *bolt.Block) []byte {
	return n.s.committee.Statement("bdt/propose/1", wire.AppendU16(nil, uint16(leader)), slotFields(b.Epoch, b.Slot, b.Digest()))
}
