package adversary

import (
	"fmt"

	"bdtnode/node/sim/network"
	"bdtnode/protocols"
)

// Garbage sends, besides the correct messages, frames with flipped bits or missing ends.
type Garbage struct{ Rate float64 }

func (a *Garbage) String() string { return fmt.Sprintf("sends %.0f %% garbage", 100*a.Rate) }

func (a *Garbage) Replace(v *View, _ protocols.Index, m protocols.Message) []network.Packet {
	out := Unchanged(m)
	rng := v.Rand
	if rng.Float64() >= a.Rate {
		return out
	}
	bad := append([]byte(nil), out[0].Frame...)
	switch rng.IntN(3) {
	case 0:
		bad = bad[:1+rng.IntN(len(bad))]
	case 1:
		bad[0] = byte(rng.Uint32())
	default:
		for range 1 + rng.IntN(3) {
			bad[rng.IntN(len(bad))] ^= 1 << rng.IntN(8)
		}
	}
	return append(out, network.Packet{Frame: bad})
}
