package sim

import (
	"fmt"

	"bdtnode/protocols"
	"bdtnode/protocols/lanes"
)

// Withholding never sends its batches to f of the others, who have to fetch them.
type Withholding struct{}

func (*Withholding) String() string { return "withholds batches" }

func (*Withholding) tamper(n *node, to protocols.Index, m protocols.Message) []packet {
	if b, ok := m.(*lanes.Batch); ok && b.Lane == n.id {
		c := n.s.committee
		if (int(to)-int(n.id)+c.N())%c.N() <= c.F() {
			return nil
		}
	}
	return honestly(m)
}

// Garbage sends, besides what is right, frames with bits flipped or ends cut off.
type Garbage struct{ Rate float64 }

func (a *Garbage) String() string { return fmt.Sprintf("sends %.0f %% garbage", 100*a.Rate) }

func (a *Garbage) tamper(n *node, _ protocols.Index, m protocols.Message) []packet {
	out := honestly(m)
	rng := n.s.rng
	if rng.Float64() >= a.Rate {
		return out
	}
	bad := append([]byte(nil), out[0].frame...)
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
	return append(out, packet{frame: bad})
}
