package check

import (
	"bdtnode/node/sim/network"
	"bdtnode/node/sim/observe"
	"bdtnode/node/sim/trace"
	"bdtnode/protocols"
)

// blame: no honest replica reports another honest one as faulty, and no receiver accepts a forged message.
type blame struct {
	s       *Shard
	refused int
}

func (c *blame) blamed(n observe.Replica, f protocols.Fault) {
	c.s.Trace.Add(c.s.clock.Now(), "blame", int(n.ID()), int(f.Peer), nil, f.Reason)
	if c.s.Nodes[f.Peer].Honest() {
		c.s.Fail("blame", "replica %d blames an honest one: %v", n.ID(), f)
	}
}

func (c *blame) refuse(n observe.Replica, from protocols.Index, err error) {
	c.refused++
	if c.s.Nodes[from].Honest() {
		c.s.Fail("blame", "replica %d refuses a message of honest replica %d: %v", n.ID(), from, err)
	}
}

func (c *blame) passed(n observe.Replica, from protocols.Index, p network.Packet, m protocols.Message) {
	if p.Forged != "" {
		c.s.Fail("blame", "replica %d takes a forged message of replica %d (%s): %s", n.ID(), from, p.Forged, trace.Describe(m))
	}
}
