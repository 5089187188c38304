package sim

import (
	"bdtnode/internal/digest"
	"bdtnode/node/replica"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/lanes"
	"bdtnode/protocols/mvba"
	"bdtnode/protocols/votes"
)

// signing: a replica never signs two different things for one place, across any crash (DESIGN §2.3), and what it
// said of a slot that is not certified it says again to whoever connects, so that nobody who holds less after a
// crash of the network is left without it.
type signing struct {
	s       *cluster
	said    map[saying]digest.Digest
	heights map[digest.Digest]uint64 // of blocks proposed
	slots   []map[saying]bool        // votes and commits of each replica
	rounds  map[uint64]uint32        // in which the agreement of an epoch was decided, by the latest
}

// saying is a place for which a replica signs or says one thing only.
type saying struct {
	who  protocols.Index
	kind protocols.Kind
	lane protocols.Index
	a, b uint64
}

func newSigning(s *cluster) signing {
	c := signing{s: s, said: make(map[saying]digest.Digest), heights: make(map[digest.Digest]uint64), rounds: make(map[uint64]uint32)}
	for range s.cfg.Nodes {
		c.slots = append(c.slots, make(map[saying]bool))
	}
	return c
}

func (c *signing) sent(n *node, m protocols.Message) {
	at := saying{who: n.id, kind: m.Kind()}
	var d digest.Digest
	switch x := m.(type) {
	case *lanes.Batch:
		if x.Lane != n.id {
			return // another's, in answer to a fetch
		}
		at.a, d = x.Seq, x.Digest()
	case *lanes.Ack:
		at.lane, at.a, d = x.Lane, x.Tip.Seq, x.Tip.Digest
	case *bolt.Propose:
		if x.Leader != n.id {
			return
		}
		at.a, at.b, d = x.Block.Epoch, x.Block.Slot, x.Block.Digest()
		c.heights[d] = x.Block.Height
	case *bolt.Vote:
		at.a, at.b, d = x.Epoch, x.Slot, x.Digest
		c.slots[n.id][at] = true
	case *bolt.Commit:
		at.a, at.b, d = x.Epoch, x.Slot, x.Digest
		c.slots[n.id][at] = true
	case *votes.VOTE:
		at.a, d = x.Height, x.Header
	case *bdt.Status:
		at.a, d = x.Epoch, digest.Of("bdt/simulated-saying/1", x.Append(nil))
	case *mvba.Proposal:
		at.a, at.b, d = x.Instance.Epoch, uint64(x.Round), x.Digest
	case *mvba.Echo:
		at.a, at.b, at.lane, d = x.Instance.Epoch, uint64(x.Round), x.Broadcaster, x.Digest
	case *mvba.Accept:
		at.a, at.b, at.lane, d = x.Instance.Epoch, uint64(x.Round), x.Broadcaster, x.Digest
	case *mvba.PreVote:
		at.a, at.b, d = x.Instance.Epoch, uint64(x.Round), digest.Of("bdt/simulated-saying/2", []byte{byte(x.Leader)}, x.Digest[:])
	case *mvba.Vote:
		at.a, at.b, d = x.Instance.Epoch, uint64(x.Round), digest.Of("bdt/simulated-saying/2", []byte{byte(x.Leader)}, x.Digest[:])
	case *mvba.Decision:
		c.rounds[x.Instance.Epoch] = max(c.rounds[x.Instance.Epoch], x.Round)
		return
	default:
		return
	}
	if have, ok := c.said[at]; ok && have != d {
		c.s.fail("signing", "replica %d says %s, and said %s before", n.id, describe(m), have.Short())
	}
	c.said[at] = d
}

// resent is called with what a replica gives a peer that connects.
func (c *signing) resent(n *node, st *replica.Step) {
	again := make(map[saying]bool)
	for _, x := range st.Sends {
		switch m := x.Message.(type) {
		case *bolt.Vote:
			again[saying{who: n.id, kind: m.Kind(), a: m.Epoch, b: m.Slot}] = true
		case *bolt.Commit:
			again[saying{who: n.id, kind: m.Kind(), a: m.Epoch, b: m.Slot}] = true
		}
	}
	certified := n.core.Status().Certified
	for at := range c.slots[n.id] { // any order: the first violation alone is kept, and a run without one has none
		h, known := c.heights[c.said[at]]
		switch {
		case at.a < n.core.Status().Epoch: // decided: that goes to whoever asks
			delete(c.slots[n.id], at)
		case known && h <= certified:
			delete(c.slots[n.id], at)
		case known && !again[at]:
			c.s.fail("signing", "replica %d said something of kind %#x for slot %d, height %d, and no longer does; it is certified up to %d",
				n.id, at.kind, at.b, h, certified)
		}
	}
}
