package adversary

import (
	"fmt"
	"time"

	"bdtnode/node/replica"
	"bdtnode/node/sim/network"
	"bdtnode/protocols"
)

// UnrequestedBlocks sends certified blocks to peers that requested none. It answers Requests without blocks, late, or not at all.
type UnrequestedBlocks struct{ Rate float64 }

func (a *UnrequestedBlocks) String() string {
	return fmt.Sprintf("sends unrequested blocks %.0f %%", 100*a.Rate)
}

func (a *UnrequestedBlocks) Replace(v *View, to protocols.Index, m protocols.Message) []network.Packet {
	rng := v.Rand
	if _, ok := m.(*replica.History); ok {
		switch rng.IntN(4) {
		case 0:
			return nil
		case 1:
			return Unchanged(&replica.History{})
		case 2:
			return []network.Packet{{Frame: replica.Encode(m), Message: m, Late: v.Around(300 * time.Millisecond)}}
		}
		return Unchanged(m)
	}
	out := Unchanged(m)
	if rng.Float64() >= a.Rate {
		return out
	}
	committed, up := v.PeerCommitted(to)
	if !up {
		return out
	}
	h, err := v.History(committed + 1)
	if err != nil {
		panic(err)
	}
	return append(out, Unchanged(h)...)
}
