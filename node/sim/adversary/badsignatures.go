package adversary

import (
	"fmt"

	"bdtnode/internal/digest"
	"bdtnode/ledger"
	"bdtnode/node/sim/network"
	"bdtnode/protocols"
	"bdtnode/protocols/lanes"
)

// BadSignatures is the owner of a lane with batches in which the signature of a transaction does not verify. Every other
// replica gets the same chain. It collects the acks of that chain and sends the certificates, so that leaders order it.
type BadSignatures struct {
	Rate float64 // share of the batches
	Twin bool    // the batch of the core, which is good, follows each bad one under the same number

	made  map[digest.Digest]*lanes.Batch // by the digest of the batch of the honest core
	chain map[uint64]*lanes.Batch        // by number, those that were made anew
	acks  map[digest.Digest]*protocols.Tally
	tally
}

func (a *BadSignatures) String() string {
	s := fmt.Sprintf("makes %.0f %% of its batches with a bad signature", 100*a.Rate)
	if a.Twin {
		s += ", and a good one under the same number"
	}
	return s
}

// Replace sends the batches of the other chain. Headers of the core's own chain would be evidence of a fork, so it
// withholds them.
func (a *BadSignatures) Replace(v *View, _ protocols.Index, m protocols.Message) []network.Packet {
	switch x := m.(type) {
	case *lanes.Batch:
		if x.Lane != v.Self {
			break
		}
		out := Unchanged(a.anew(v, x))
		if bad := out[0].Message.(*lanes.Batch); a.Twin && bad.Header.Payload != x.Header.Payload {
			a.note("good twins")
			out = append(out, Unchanged(x)...)
		}
		return out
	case *lanes.TipCertificate:
		if x.Lane == v.Self && a.chain[x.Tip.Seq] != nil && a.chain[x.Tip.Seq].Tip() != x.Tip {
			return nil
		}
	case *lanes.Conflict:
		return nil
	}
	return Unchanged(m)
}

// anew is the batch of the other chain in place of one of the core.
func (a *BadSignatures) anew(v *View, b *lanes.Batch) *lanes.Batch {
	if a.made == nil {
		a.made, a.chain = make(map[digest.Digest]*lanes.Batch), make(map[uint64]*lanes.Batch)
		a.acks = make(map[digest.Digest]*protocols.Tally)
	}
	if x := a.made[b.Digest()]; x != nil {
		return x
	}
	h, payload, changed := b.Header, b.Payload, false
	if p := a.chain[b.Seq-1]; p != nil && p.Digest() != h.Parent {
		h.Parent, changed = p.Digest(), true
	}
	if v.Vouched > 0 && int(b.Count) >= v.Vouched && v.Rand.Float64() < a.Rate {
		if bad := v.badPayload(b.Payload); bad != nil {
			payload, changed = bad, true
			a.note("bad batches")
		}
	}
	x := b
	if changed {
		x = lanes.NewBatch(v.Committee, v.Signer, h, payload)
	}
	a.made[b.Digest()], a.chain[b.Seq] = x, x
	return x
}

// badPayload is a payload in which the signature of one transaction is changed, nil if there is none.
func (v *View) badPayload(payload []byte) []byte {
	p, err := ledger.DecodePayload(v.Network().Kinds(v.Shard), payload)
	if err != nil || len(p.Txs) == 0 {
		return nil
	}
	raw := make([][]byte, len(p.Txs))
	for i, tx := range p.Txs {
		raw[i] = tx.Encode()
	}
	k := v.Rand.IntN(len(raw))
	raw[k] = append([]byte(nil), raw[k]...)
	raw[k][len(raw[k])-1] ^= 1 // the encoding ends with a signature
	if len(p.Notices) > 0 {
		return nil
	}
	return ledger.EncodePayload(raw)
}

// Receive collects acks of the other chain, and sends the certificate of a batch as soon as it is complete.
func (a *BadSignatures) Receive(v *View, from protocols.Index, m protocols.Message) {
	x, ok := m.(*lanes.Ack)
	if !ok || x.Lane != v.Self || a.chain[x.Tip.Seq] == nil || a.chain[x.Tip.Seq].Tip() != x.Tip {
		return
	}
	v.collectAck(a.acks, from, x)
}
