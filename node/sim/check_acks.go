package sim

import (
	"bdtnode/internal/digest"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/lanes"
	"bdtnode/protocols/mvba"
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

// passed notes what an honest replica is shown. Certificates come alone and with all that rests on them.
func (c *acking) passed(n *node, m protocols.Message) {
	var shown []*lanes.TipCertificate
	switch x := m.(type) {
	case *lanes.Batch:
		c.headers[x.Digest()] = x.Header
		if x.Certificate != nil {
			shown = append(shown, x.Certificate)
		}
	case *lanes.TipCertificate:
		shown = append(shown, x)
	case *bolt.Propose:
		c.blocks[x.Block.Digest()] = x.Block
		shown = x.Certificates
	case *bdt.Status:
		shown = x.Certificates
	case *mvba.Proposal:
		shown = c.inputs(x.Value)
	case *mvba.Value:
		shown = c.inputs(x.Value)
	}
	for _, t := range shown {
		c.certified[heldTip{n.id, t.Lane, t.Tip}] = true
	}
}

// inputs is the certificates of an input to the agreement.
func (c *acking) inputs(value []byte) []*lanes.TipCertificate {
	if x, err := bdt.DecodeInput(c.s.committee, value); err == nil {
		return x.Certificates
	}
	return nil
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
