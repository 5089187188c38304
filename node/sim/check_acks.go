package sim

import (
	"bdtnode/internal/digest"
	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/lanes"
)

// acking: a vote acknowledges every header up to the tips of its block that its maker holds no certificate for, and no
// replica acknowledges two headers for one number of a lane (DESIGN §4.1): else what a quorum voted for can be left behind
// by a certificate of another chain.
type acking struct {
	s         *cluster
	headers   map[digest.Digest]lanes.Header
	blocks    map[digest.Digest]*bolt.Block
	certified map[heldTip]bool             // certificates that reached a replica in any life
	acked     map[laneNumber]digest.Digest // by acks and by votes
}

// laneNumber is a number of a lane as one replica sees it.
type laneNumber struct {
	who, lane protocols.Index
	seq       uint64
}

// heldTip is a certified tip as one replica has it.
type heldTip struct {
	who, lane protocols.Index
	tip       lanes.Tip
}

func newAcking(s *cluster) acking {
	return acking{
		s: s, headers: make(map[digest.Digest]lanes.Header), blocks: make(map[digest.Digest]*bolt.Block),
		certified: make(map[heldTip]bool), acked: make(map[laneNumber]digest.Digest),
	}
}

// passed notes what an honest replica is shown.
func (c *acking) passed(n *node, m protocols.Message) {
	switch x := m.(type) {
	case *lanes.Batch:
		c.headers[x.Digest()] = x.Header
	case *lanes.TipCertificate:
		c.certified[heldTip{n.id, x.Lane, x.Tip}] = true
	case *bolt.Propose:
		c.blocks[x.Block.Digest()] = x.Block
		for _, t := range x.Certificates {
			c.certified[heldTip{n.id, t.Lane, t.Tip}] = true
		}
	}
}

// sent notes what an honest replica has acknowledged.
func (c *acking) sent(n *node, m protocols.Message) {
	switch x := m.(type) {
	case *lanes.Batch:
		c.headers[x.Digest()] = x.Header
	case *lanes.Ack:
		c.acks(n, x.Lane, x.Tip, m)
	case *bolt.Propose:
		c.blocks[x.Block.Digest()] = x.Block
	case *bolt.Vote:
		b := c.blocks[x.Digest]
		if b == nil {
			return
		}
		parent := c.blocks[b.Parent]
		if parent == nil {
			return // the base of an epoch: what its cut names is ordered
		}
		for i, t := range b.Cut {
			lane := protocols.Index(i)
			if lane == n.id || c.certified[heldTip{n.id, lane, t}] {
				continue
			}
			for t.Seq > parent.Cut[i].Seq {
				c.acks(n, lane, t, m)
				h, known := c.headers[t.Digest]
				if !known {
					break
				}
				t = lanes.Tip{Seq: h.Seq - 1, Digest: h.Parent}
			}
		}
	}
}

func (c *acking) acks(n *node, lane protocols.Index, t lanes.Tip, by protocols.Message) {
	at := laneNumber{n.id, lane, t.Seq}
	if have, ok := c.acked[at]; ok && have != t.Digest {
		c.s.fail("acking", "replica %d acknowledges %s as number %d of lane %d by %s, and has acknowledged %s",
			n.id, t.Digest.Short(), t.Seq, lane, describe(by), have.Short())
	}
	c.acked[at] = t.Digest
}
