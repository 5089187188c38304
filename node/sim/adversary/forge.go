package adversary

import (
	"fmt"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/internal/wire"
	"bdtnode/ledger"
	"bdtnode/node/replica"
	"bdtnode/node/sim/network"
	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/certify"
	"bdtnode/protocols/lanes"
)

// Forging sends, besides the correct messages, certificates with too few signers or invalid signatures, and messages in
// another replica's name. Receivers must refuse all of them.
type Forging struct{ Rate float64 }

func (a *Forging) String() string { return fmt.Sprintf("forges %.0f %%", 100*a.Rate) }

func (a *Forging) Replace(v *View, to protocols.Index, m protocols.Message) []network.Packet {
	out := Unchanged(m)
	if v.Rand.Float64() >= a.Rate {
		return out
	}
	forged := func(m protocols.Message, why string) []network.Packet {
		return append(out, network.Packet{Frame: replica.Encode(m), Forged: why})
	}
	c, rng := v.Committee, v.Rand
	lane := protocols.Index(rng.IntN(c.N()))
	tip := lanes.Tip{Seq: 1 + rng.Uint64N(50), Digest: digest.Of("bdt/simulated-lie/2", []byte{byte(rng.Uint32())})}
	statement := c.Statement("bdt/ack/1", wire.AppendU64(wire.AppendU16(nil, uint16(lane)), tip.Seq), tip.Digest[:])
	mine := v.Signer.Sign(statement)
	victim := (int(v.Self) + 1) % c.N()
	switch rng.IntN(7) {
	case 0: // its own signature under the name of each replica
		return forged(&lanes.TipCertificate{Lane: lane, Tip: tip, Certificate: v.certificate(c.Quorum(), mine)}, "a signature used for all signers")
	case 1: // too few signers
		return forged(&lanes.TipCertificate{Lane: lane, Tip: tip, Certificate: v.alone(mine)}, "a certificate of one signer")
	case 2:
		vote := v.signVote(1, 1+rng.Uint64N(50), tip.Digest)
		vote.Signature[rng.IntN(8)] ^= 1
		return forged(vote, "a vote with a wrong signature")
	case 3: // a batch in another replica's lane
		txs := [][]byte{v.Junk().Encode()}
		b := lanes.NewBatch(c, v.Signer, lanes.Header{Lane: protocols.Index(victim), Seq: 1, Count: 1}, ledger.EncodePayload(txs))
		return forged(b, "a batch in another's lane")
	case 4: // a batch with a transaction that its owner did not sign
		tx := append([]byte(nil), v.Junk().Encode()...)
		tx[len(tx)-sig.SignatureSize] ^= 1
		b := lanes.NewBatch(c, v.Signer, lanes.Header{Lane: v.Self, Seq: 1000 + rng.Uint64N(50), Parent: tip.Digest, Count: 1},
			ledger.EncodePayload([][]byte{tx}))
		return forged(b, "a batch with a badly signed transaction")
	case 5: // a proposal in another replica's name
		b := &bolt.Block{Epoch: 1, Slot: 1 + rng.Uint64N(50), Height: 1 + rng.Uint64N(50), Parent: tip.Digest, TimeMS: v.Wall().Millis(), Cut: make(lanes.Cut, c.N())}
		b.Cut[lane] = tip
		b = v.sealed(b)
		p := &bolt.Propose{Leader: protocols.Index(victim), Block: b}
		p.Signature = v.Signer.Sign(v.proposeStatement(p.Leader, b))
		return forged(p, "a proposal in another's name")
	}
	// A history whose header no replica certified.
	h := &replica.History{}
	if height := v.Height(); height > 0 {
		real, err := v.History(height)
		if err == nil && len(real.Items) > 0 {
			x := real.Items[0]
			x.Certificate = &certify.Certified{Height: height, Header: x.Certificate.Header, Certificate: v.certificate(c.WeakQuorum(), mine)}
			h.Items = []replica.Past{x}
			return forged(h, "a history with a forged certificate")
		}
	}
	return out
}
