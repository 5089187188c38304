package sim

import (
	"fmt"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/internal/wire"
	"bdtnode/node/replica"
	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/certify"
	"bdtnode/protocols/lanes"
)

// Forging sends, besides the correct messages, certificates with too few signers or invalid signatures, and messages in
// another replica's name. Receivers must refuse all of them.
type Forging struct{ Rate float64 }

func (a *Forging) String() string { return fmt.Sprintf("forges %.0f %%", 100*a.Rate) }

func (a *Forging) tamper(n *node, to protocols.Index, m protocols.Message) []packet {
	out := honestly(m)
	if n.s.rng.Float64() >= a.Rate {
		return out
	}
	forged := func(m protocols.Message, why string) []packet {
		return append(out, packet{frame: replica.Encode(m), forged: why})
	}
	c, rng := n.s.committee, n.s.rng
	lane := protocols.Index(rng.IntN(c.N()))
	tip := lanes.Tip{Seq: 1 + rng.Uint64N(50), Digest: digest.Of("bdt/simulated-lie/2", []byte{byte(rng.Uint32())})}
	statement := c.Statement("bdt/ack/1", wire.AppendU64(wire.AppendU16(nil, uint16(lane)), tip.Seq), tip.Digest[:])
	mine := n.s.signers[n.id].Sign(statement)
	victim := (int(n.id) + 1) % c.N()
	switch rng.IntN(7) {
	case 0: // its own signature under the name of each replica
		return forged(&lanes.TipCertificate{Lane: lane, Tip: tip, Certificate: n.certificate(c.Quorum(), mine)}, "a signature used for all signers")
	case 1: // too few signers
		return forged(&lanes.TipCertificate{Lane: lane, Tip: tip, Certificate: n.alone(mine)}, "a certificate of one signer")
	case 2:
		v := n.signVote(1, 1+rng.Uint64N(50), tip.Digest)
		v.Signature[rng.IntN(8)] ^= 1
		return forged(v, "a vote with a wrong signature")
	case 3: // a batch in another replica's lane
		txs := [][]byte{n.s.clients.junk().Encode()}
		b := lanes.NewBatch(c, n.s.signers[n.id], lanes.Header{Lane: protocols.Index(victim), Seq: 1, Count: 1}, encodePayload(txs))
		return forged(b, "a batch in another's lane")
	case 4: // a batch with a transaction that its owner did not sign
		tx := append([]byte(nil), n.s.clients.junk().Encode()...)
		tx[len(tx)-sig.SignatureSize] ^= 1
		b := lanes.NewBatch(c, n.s.signers[n.id], lanes.Header{Lane: n.id, Seq: 1000 + rng.Uint64N(50), Parent: tip.Digest, Count: 1},
			encodePayload([][]byte{tx}))
		return forged(b, "a batch with a badly signed transaction")
	case 5: // a proposal in another replica's name
		b := &bolt.Block{Epoch: 1, Slot: 1 + rng.Uint64N(50), Height: 1 + rng.Uint64N(50), Parent: tip.Digest, TimeMS: n.clock().Millis(), Cut: make(lanes.Cut, c.N())}
		b.Cut[lane] = tip
		b = n.sealed(b)
		p := &bolt.Propose{Leader: protocols.Index(victim), Block: b}
		p.Signature = n.s.signers[n.id].Sign(n.proposeStatement(p.Leader, b))
		return forged(p, "a proposal in another's name")
	}
	// A history whose header no replica certified.
	h := &replica.History{}
	if height := n.state.Height(); height > 0 {
		real, err := replica.ReadHistory(c, n.store, n.state, replica.HistoryRange{From: height})
		if err == nil && len(real.Items) > 0 {
			x := real.Items[0]
			x.Certificate = &certify.Certified{Height: height, Header: x.Certificate.Header, Certificate: n.certificate(c.WeakQuorum(), mine)}
			h.Items = []replica.Past{x}
			return forged(h, "a history with a forged certificate")
		}
	}
	return out
}

// alone is a certificate with only its own signature.
func (n *node) alone(s sig.Signature) protocols.Certificate {
	var x protocols.Certificate
	x.Signers.Add(n.id)
	x.Signatures = []sig.Signature{s}
	return x
}

// certificate has one signature in the name of several replicas.
func (n *node) certificate(signers int, s sig.Signature) protocols.Certificate {
	var x protocols.Certificate
	for i := range signers {
		x.Signers.Add(protocols.Index(i))
		x.Signatures = append(x.Signatures, s)
	}
	return x
}
