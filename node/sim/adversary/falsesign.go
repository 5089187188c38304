package adversary

import (
	"bdtnode/internal/digest"
	"bdtnode/node/sim/network"
	"bdtnode/protocols"
	"bdtnode/protocols/inbound"
	"bdtnode/protocols/lanes"
)

// FalseSIGN signs LDs that it does not hold, real and invented ones, and two for one number.
type FalseSIGN struct{}

func (*FalseSIGN) String() string { return "signs LDs that it does not hold" }

func (*FalseSIGN) Replace(v *View, _ protocols.Index, m protocols.Message) []network.Packet {
	rng := v.Rand
	out := Unchanged(m)
	sign := func(source uint16, t lanes.Tip) []network.Packet { return Unchanged(v.signLD(source, t)) }
	invented := digest.Of("bdt/simulated-lie/3", []byte{byte(rng.IntN(3))})
	if x, ok := m.(*inbound.SIGN); ok {
		bad := sign(x.Source, lanes.Tip{Seq: x.Tip.Seq, Digest: invented})
		switch rng.IntN(3) {
		case 0:
			return append(bad, out...)
		case 1:
			return append(out, bad...)
		}
		return append(out, out...)
	}
	if rng.IntN(20) > 0 {
		return out
	}
	source := uint16(rng.IntN(v.Shards))
	if source == v.Shard {
		return out
	}
	number := v.NextLD(source) + rng.Uint64N(3)
	t := lanes.Tip{Seq: number, Digest: invented}
	if made, ok := v.MadeLD(source, number); ok && rng.IntN(2) == 0 {
		t.Digest = made
	}
	return append(out, sign(source, t)...)
}
