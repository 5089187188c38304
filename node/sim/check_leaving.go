package sim

import (
	"bdtnode/node/replica"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/bolt"
)

// leaving: a replica that has left an epoch signs nothing more for its slots (design §4.3). It sends its earlier
// messages of the epoch again to each peer that connects, also if it crashed between signing and sending.
type leaving struct {
	s    *cluster
	left map[epochOf]bool // a Status was made; it was also sent, if the replica has crashed since
	sent map[epochOf]bool
	made map[saying]bool // proposals, votes and Finalize messages, in any life
}

// epochOf is an epoch, at one replica.
type epochOf struct {
	who   protocols.Index
	epoch uint64
}

func newLeaving(s *cluster) leaving {
	return leaving{s: s, left: make(map[epochOf]bool), sent: make(map[epochOf]bool), made: make(map[saying]bool)}
}

func (c *leaving) stepped(n *node, st *replica.Step) {
	for _, x := range st.Sends {
		at := saying{who: n.id, kind: x.Message.Kind()}
		switch m := x.Message.(type) {
		case *bdt.Status:
			c.left[epochOf{n.id, m.Epoch}] = true
			continue
		case *bolt.Propose:
			if m.Leader != n.id {
				continue
			}
			at.a, at.b = m.Block.Epoch, m.Block.Slot
		case *bolt.Vote:
			at.a, at.b = m.Epoch, m.Slot
		case *bolt.Finalize:
			at.a, at.b = m.Epoch, m.Slot
		default:
			continue
		}
		if c.left[epochOf{n.id, at.a}] && !c.made[at] {
			c.s.fail("leaving", "replica %d has left epoch %d, and sends %s", n.id, at.a, describe(x.Message))
		}
		c.made[at] = true
	}
}

func (c *leaving) told(n *node, m protocols.Message) {
	if x, ok := m.(*bdt.Status); ok {
		c.sent[epochOf{n.id, x.Epoch}] = true
	}
}

// crashed: a Status that was not sent may be lost.
func (c *leaving) crashed(n *node) {
	for e := range c.left {
		if e.who == n.id && !c.sent[e] {
			delete(c.left, e)
		}
	}
}
