package sim

import (
	"fmt"
	"time"

	"bdtnode/node/replica"
	"bdtnode/protocols"
)

// Pushing sends certified blocks to peers that requested none. It answers Requests without blocks, late, or not at all.
type Pushing struct{ Rate float64 }

func (a *Pushing) String() string { return fmt.Sprintf("sends unrequested blocks %.0f %%", 100*a.Rate) }

func (a *Pushing) tamper(n *node, to protocols.Index, m protocols.Message) []packet {
	rng := n.s.rng
	if _, ok := m.(*replica.History); ok {
		switch rng.IntN(4) {
		case 0:
			return nil
		case 1:
			return honestly(&replica.History{})
		case 2:
			return []packet{{frame: replica.Encode(m), message: m, late: n.s.around(300 * time.Millisecond)}}
		}
		return honestly(m)
	}
	out := honestly(m)
	if rng.Float64() >= a.Rate {
		return out
	}
	victim := n.s.nodes[to]
	if !victim.alive {
		return out
	}
	h, err := replica.ReadHistory(n.s.committee, n.store, n.state, replica.HistoryRange{From: victim.core.Status().Committed + 1})
	if err != nil {
		panic(err)
	}
	return append(out, honestly(h)...)
}
