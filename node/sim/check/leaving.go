package check

import (
	"bdtnode/node/replica"
	"bdtnode/node/sim/observe"
	"bdtnode/node/sim/trace"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/bolt"
)

// leaving: a replica that has left an epoch signs nothing more for its slots (design §4.3). It sends its earlier
// messages of the epoch again to each peer that connects, also if it crashed between signing and sending.
type leaving struct {
	s         *Shard
	left      map[epochOf]bool // a Status was made; it was also sent, if the replica has crashed since
	published map[epochOf]bool
	made      map[place]bool // proposals, votes and Finalize messages, in any life
}

// epochOf is an epoch, at one replica.
type epochOf struct {
	who   protocols.Index
	epoch uint64
}

func newLeaving(s *Shard) leaving {
	return leaving{s: s, left: make(map[epochOf]bool), published: make(map[epochOf]bool), made: make(map[place]bool)}
}

func (c *leaving) stepped(n observe.Replica, st *replica.Step) {
	for _, x := range st.Sends {
		at := place{who: n.ID(), kind: x.Message.Kind()}
		switch m := x.Message.(type) {
		case *bdt.Status:
			c.left[epochOf{n.ID(), m.Epoch}] = true
			continue
		case *bolt.Propose:
			if m.Leader != n.ID() {
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
		if c.left[epochOf{n.ID(), at.a}] && !c.made[at] {
			c.s.Fail("leaving", "replica %d has left epoch %d, and sends %s", n.ID(), at.a, trace.Describe(x.Message))
		}
		c.made[at] = true
	}
}

func (c *leaving) sent(n observe.Replica, m protocols.Message) {
	if x, ok := m.(*bdt.Status); ok {
		c.published[epochOf{n.ID(), x.Epoch}] = true
	}
}

// crashed: a Status that was not sent may be lost.
func (c *leaving) crashed(n observe.Replica) {
	for e := range c.left {
		if e.who == n.ID() && !c.published[e] {
			delete(c.left, e)
		}
	}
}
