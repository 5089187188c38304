package sim

import (
	"fmt"
	"math"
	"slices"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/ledger"
	"bdtnode/merkle"
	"bdtnode/node/replica"
	"bdtnode/protocols"
	"bdtnode/protocols/certify"
	"bdtnode/protocols/inbound"
	"bdtnode/protocols/lanes"
	"bdtnode/shard/settlement"
)

// stranger is an adversary that also sends incorrect messages to other shards.
type stranger interface {
	// tell returns the frames that a replica of another shard gets in place of an LD.
	tell(n, to *node, ld *settlement.LD) []packet
	// position returns the number that it states as the first LD that it lacks, in place of next.
	position(n *node, next uint64) uint64
}

// Hermit sends nothing to other shards, and claims that it has all their LDs for its own shard.
type Hermit struct{}

func (*Hermit) String() string { return "sends nothing to other shards" }

func (*Hermit) tamper(_ *node, _ protocols.Index, m protocols.Message) []packet {
	if m.Kind() == inbound.KindLD {
		return nil
	}
	return honestly(m)
}

func (*Hermit) tell(*node, *node, *settlement.LD) []packet { return nil }

func (*Hermit) position(*node, uint64) uint64 { return math.MaxUint64 }

// ForgedLDs sends other shards, besides the correct LDs, LDs that its shard did not make.
type ForgedLDs struct{ Rate float64 }

func (a *ForgedLDs) String() string { return fmt.Sprintf("forges %.0f %% of LDs", 100*a.Rate) }

func (a *ForgedLDs) tamper(n *node, _ protocols.Index, m protocols.Message) []packet {
	out := honestly(m)
	d, ok := m.(*inbound.LD)
	if !ok || n.s.rng.Float64() >= a.Rate {
		return out
	}
	ld, err := settlement.DecodeLD(d.Raw)
	if err != nil {
		panic(err)
	}
	return append(out, packet{frame: replica.Encode(&replica.NewInbound(spoiled(ld)).LD), forged: spoiledWhy})
}

func (*ForgedLDs) position(n *node, next uint64) uint64 { return next + n.s.rng.Uint64N(3) - 1 }

func (a *ForgedLDs) tell(n, _ *node, ld *settlement.LD) []packet {
	rng := n.s.rng
	right := packet{frame: ld.Encode()}
	if rng.Float64() >= a.Rate {
		return []packet{right}
	}
	c := n.s.committee
	x := *ld
	var why string
	switch kind := rng.IntN(7); kind {
	case 0: // flipped bits
		bad := append([]byte(nil), right.frame...)
		bad[rng.IntN(len(bad))] ^= 1 << rng.IntN(8)
		return []packet{{frame: bad}, right}
	case 1:
		x.Delivery, why = lied(ld.Delivery), "other entries under the same header"
	case 2: // a header that no replica certified, with the certificate of the right one
		x.Delivery, why = lied(ld.Delivery), "a header with another's certificate"
		enclose(&x)
	case 3:
		x.Delivery, why = lied(ld.Delivery), "a header that one replica certifies in everyone's name"
		enclose(&x)
		x.Certificate = n.certificate(c.WeakQuorum(), n.header(&x.Header))
	case 4:
		x.Delivery, why = lied(ld.Delivery), "a header with one VOTE"
		enclose(&x)
		x.Certificate = n.alone(n.header(&x.Header))
	case 5:
		x, why = *spoiled(ld), spoiledWhy
	default: // repeated under a later number
		d := *ld.Delivery
		d.Number += 1 + rng.Uint64N(4)
		d.Previous = ld.Digest()
		x.Delivery, why = ledger.NewDelivery(d), "an old LD under a new number"
	}
	forged := packet{frame: x.Encode(), forged: why}
	if rng.IntN(2) == 0 {
		return []packet{forged, right}
	}
	return []packet{right, forged}
}

const spoiledWhy = "the right LD with a certificate that does not verify"

// spoiled is an LD with another certificate. Its delivery has the digest of the right one.
func spoiled(ld *settlement.LD) *settlement.LD {
	x := *ld
	x.Certificate.Signatures = slices.Clone(x.Certificate.Signatures)
	x.Certificate.Signatures[0][5] ^= 1
	return &x
}

// lied is a delivery with the opposite verdicts, or with an invented entry if it has none.
func lied(d *ledger.Delivery) *ledger.Delivery {
	y := *d
	y.Entries = nil
	for _, e := range d.Entries {
		if e.Verdict == ledger.VerdictSpent {
			e.Verdict, e.Reason = ledger.VerdictRejected, ledger.ReasonConsumed
		} else {
			e.Verdict, e.Reason = ledger.VerdictSpent, ledger.ReasonNone
		}
		y.Entries = append(y.Entries, e)
	}
	if len(y.Entries) == 0 {
		y.Applied += 1000
	}
	return ledger.NewDelivery(y)
}

// enclose makes a delivery the only leaf under its header's outbox root.
func enclose(x *settlement.LD) {
	leaf := []digest.Digest{x.Delivery.Digest()}
	x.Header.Outbox, x.Index, x.Count, x.Path = merkle.Root(leaf), 0, 1, merkle.Prove(leaf, 0)
}

// header is the replica's VOTE for any header.
func (n *node) header(h *ledger.Header) sig.Signature {
	return n.s.signers[n.id].Sign(certify.Statement(n.s.committee, h.Height, h.Digest()))
}

// FalseSIGN signs LDs that it does not hold, real and invented ones, and two for one number.
type FalseSIGN struct{}

func (*FalseSIGN) String() string { return "signs LDs that it does not hold" }

func (*FalseSIGN) tamper(n *node, _ protocols.Index, m protocols.Message) []packet {
	rng := n.s.rng
	out := honestly(m)
	sign := func(source uint16, t lanes.Tip) []packet { return honestly(n.signLD(source, t)) }
	invented := digest.Of("bdt/simulated-lie/3", []byte{byte(rng.IntN(3))})
	if x, ok := m.(*inbound.SIGN); ok {
		lie := sign(x.Source, lanes.Tip{Seq: x.Tip.Seq, Digest: invented})
		switch rng.IntN(3) {
		case 0:
			return append(lie, out...)
		case 1:
			return append(out, lie...)
		}
		return append(out, out...)
	}
	if rng.IntN(20) > 0 {
		return out
	}
	source := uint16(rng.IntN(len(n.s.shards)))
	if source == n.s.shard {
		return out
	}
	number := n.core.NextLD(source) + rng.Uint64N(3)
	t := lanes.Tip{Seq: number, Digest: invented}
	if made := n.s.settling.channels[source][n.s.shard].made; number <= uint64(len(made)) && rng.IntN(2) == 0 {
		t.Digest = made[number-1]
	}
	return append(out, sign(source, t)...)
}
