package sim

import (
	"bdtnode/node/replica"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/bolt"
)

// leaving: a replica that has left an epoch signs nothing more for its slots (DESIGN §4.3). What it had signed before it
// says again to whoever connects, also if a crash came between its signing and its saying so.
type leaving struct {
	s    *cluster
	left map[epochOf]bool // a Status was made, and was sent if its maker has crashed since
	sent map[epochOf]bool
	made map[saying]bool // proposals, votes and commits, in any life
}

// epochOf is an epoch as one replica has it.
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
		case *bolt.Commit:
			at.a, at.b = m.Epoch, m.Slot
		default:
			continue
		}
		if c.left[epochOf{n.id, at.a}] && !c.made[at] {
			c.s.fail("leaving", "replica %d has left epoch %d, and says %s", n.id, at.a, describe(x.Message))
		}
		c.made[at] = true
	}
}

func (c *leaving) told(n *node, m protocols.Message) {
	if x, ok := m.(*bdt.Status); ok {
		c.sent[epochOf{n.id, x.Epoch}] = true
	}
}

// crashed: a Status that was not sent may never have been made.
func (c *leaving) crashed(n *node) {
	for e := range c.left {
		if e.who == n.id && !c.sent[e] {
			delete(c.left, e)
		}
	}
}
