package sim

import (
	"bdtnode/protocols"
)

// blame: no honest replica reports another honest one as faulty, and no receiver accepts a forged message.
type blame struct {
	s       *cluster
	refused int
}

func (c *blame) blamed(n *node, f protocols.Fault) {
	c.s.trace.add(c.s.now, "blame", int(n.id), int(f.Peer), nil, f.Reason)
	if c.s.nodes[f.Peer].adversary == nil {
		c.s.fail("blame", "replica %d blames an honest one: %v", n.id, f)
	}
}

func (c *blame) refuse(n *node, from protocols.Index, err error) {
	c.refused++
	if c.s.nodes[from].adversary == nil {
		c.s.fail("blame", "replica %d refuses a message of honest replica %d: %v", n.id, from, err)
	}
}

func (c *blame) passed(n *node, from protocols.Index, p packet, m protocols.Message) {
	if p.forged != "" {
		c.s.fail("blame", "replica %d takes a forged message of replica %d (%s): %s", n.id, from, p.forged, describe(m))
	}
}
