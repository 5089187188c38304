package sim

import (
	"bdtnode/ledger"
	"bdtnode/node/replica"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/lanes"
)

// Bounds that no run under the simulator's load should come near.
const (
	maxStepSends = 2000
	maxOnLink    = 20000
)

// bounds: windows hold, and neither a step nor a link grows without limit (DESIGN §2.9).
type bounds struct {
	s    *cluster
	done []uint64 // greatest height each replica ever executed
}

func newBounds(s *cluster) bounds { return bounds{s: s, done: make([]uint64, s.cfg.Nodes)} }

func (c *bounds) executed(n *node, b *ledger.Block) {
	c.done[n.id] = max(c.done[n.id], b.Header.Height)
}

func (c *bounds) stepped(n *node, st *replica.Step) {
	if len(st.Sends) > maxStepSends {
		c.s.fail("bounds", "one step of replica %d sends %d messages", n.id, len(st.Sends))
	}
	committed := n.core.Status().Committed
	for _, x := range st.Sends {
		switch m := x.Message.(type) {
		case *bolt.Propose:
			if m.Leader == n.id && m.Block.Height > committed+bolt.Pipeline {
				c.s.fail("bounds", "leader proposes height %d, and has committed %d", m.Block.Height, committed)
			}
		case *bolt.Vote:
			if h, ok := c.s.check.signing.heights[m.Digest]; ok && h > c.done[n.id]+bolt.ExecutionLag {
				c.s.fail("bounds", "replica %d votes for height %d, and has executed %d", n.id, h, c.done[n.id])
			}
		case *bolt.Commit:
			c.s.check.certificates.committing(n, m)
		case *lanes.Chain:
			if m.Tip.Seq-min(m.Tip.Seq, m.After) > 2*lanes.WindowHeaders && m.Lane == n.id && m.After > 0 {
				c.s.fail("bounds", "replica %d sends %d batches of its lane", n.id, m.Tip.Seq-m.After)
			}
		}
	}
}

func (c *bounds) carried(i, j, count int) {
	if count > maxOnLink {
		c.s.fail("bounds", "%d messages are under way from replica %d to %d", count, i, j)
	}
}
