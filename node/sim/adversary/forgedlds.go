package adversary

import (
	"fmt"
	"slices"

	"bdtnode/internal/digest"
	"bdtnode/ledger"
	"bdtnode/merkle"
	"bdtnode/node/replica"
	"bdtnode/node/sim/network"
	"bdtnode/protocols"
	"bdtnode/protocols/inbound"
	"bdtnode/shard/settlement"
)

// ForgedLDs sends other shards, besides the correct LDs, LDs that its shard did not make.
type ForgedLDs struct{ Rate float64 }

func (a *ForgedLDs) String() string { return fmt.Sprintf("forges %.0f %% of LDs", 100*a.Rate) }

func (a *ForgedLDs) Replace(v *View, _ protocols.Index, m protocols.Message) []network.Packet {
	out := Unchanged(m)
	d, ok := m.(*inbound.LD)
	if !ok || v.Rand.Float64() >= a.Rate {
		return out
	}
	ld, err := settlement.DecodeLD(d.Raw)
	if err != nil {
		panic(err)
	}
	return append(out, network.Packet{Frame: replica.Encode(&replica.NewInbound(spoiled(ld)).LD), Forged: spoiledWhy})
}

func (*ForgedLDs) Position(v *View, next uint64) uint64 { return next + v.Rand.Uint64N(3) - 1 }

func (*ForgedLDs) ReplaceCL(_ *View, _ uint16, cl *settlement.CL) []network.Packet {
	return []network.Packet{{Frame: cl.Encode()}}
}

func (a *ForgedLDs) ReplaceLD(v *View, ld *settlement.LD) []network.Packet {
	rng := v.Rand
	right := network.Packet{Frame: ld.Encode()}
	if rng.Float64() >= a.Rate {
		return []network.Packet{right}
	}
	c := v.Committee
	x := *ld
	var why string
	switch kind := rng.IntN(10); kind {
	case 0: // flipped bits
		bad := append([]byte(nil), right.Frame...)
		bad[rng.IntN(len(bad))] ^= 1 << rng.IntN(8)
		return []network.Packet{{Frame: bad}, right}
	case 1:
		x.Delivery, why = falsified(ld.Delivery), "other entries under the same header"
	case 2: // a header that no replica certified, with the certificate of the right one
		x.Delivery, why = falsified(ld.Delivery), "a header with another's certificate"
		enclose(&x)
	case 3:
		x.Delivery, why = falsified(ld.Delivery), "a header that one replica certifies in everyone's name"
		enclose(&x)
		x.Certificate = v.certificate(c.WeakQuorum(), v.header(&x.Header))
	case 4:
		x.Delivery, why = falsified(ld.Delivery), "a header with one VOTE"
		enclose(&x)
		x.Certificate = v.alone(v.header(&x.Header))
	case 5:
		x, why = *spoiled(ld), spoiledWhy
	case 6:
		d := *ld.Delivery
		d.Source = (d.Source + 1) % uint16(v.Shards)
		x.Header.Shard = d.Source
		x.Delivery, why = ledger.NewDelivery(d), "the LD of another shard"
	case 7: // the outbox root is the root over receipts, which has no such leaf
		x.Header.Outbox, x.Header.Receipts, why = x.Header.Receipts, x.Header.Outbox, "swapped roots"
	case 8:
		d := *ld.Delivery
		d.Destination = (d.Destination + 1) % uint16(v.Shards)
		x.Delivery, why = ledger.NewDelivery(d), "another destination"
	default: // repeated under a later number
		d := *ld.Delivery
		d.Number += 1 + rng.Uint64N(4)
		d.Previous = ld.Digest()
		x.Delivery, why = ledger.NewDelivery(d), "an old LD under a new number"
	}
	forged := network.Packet{Frame: x.Encode(), Forged: why}
	if rng.IntN(2) == 0 {
		return []network.Packet{forged, right}
	}
	return []network.Packet{right, forged}
}

const spoiledWhy = "the right LD with a certificate that does not verify"

// spoiled is an LD with another certificate. Its delivery has the digest of the right one.
func spoiled(ld *settlement.LD) *settlement.LD {
	x := *ld
	x.Certificate.Signatures = slices.Clone(x.Certificate.Signatures)
	x.Certificate.Signatures[0][5] ^= 1
	return &x
}

// falsified is a delivery with the opposite verdicts, or with an invented entry if it has none.
func falsified(d *ledger.Delivery) *ledger.Delivery {
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
