package check

import (
	"bdtnode/internal/digest"
	"bdtnode/node/replica"
	"bdtnode/node/sim/observe"
	"bdtnode/node/sim/trace"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/certify"
	"bdtnode/protocols/lanes"
	"bdtnode/protocols/mvba"
)

// signing: a replica never signs two different values for one place, across any crash (design §2.3). It sends its
// messages about a slot that is not certified again to each peer that connects. So every replica that lost them in a
// crash of the network receives them.
type signing struct {
	s       *Shard
	values  map[place]digest.Digest
	heights map[digest.Digest]uint64 // of proposed blocks
	slots   []map[place]bool         // votes and Finalize messages of each replica
	rounds  map[uint64]uint32        // by epoch: the round in which its agreement was decided, at the last replica to decide
}

// place is a place for which a replica signs or sends one value only.
type place struct {
	who  protocols.Index
	kind protocols.Kind
	lane protocols.Index
	a, b uint64
}

func newSigning(s *Shard) signing {
	c := signing{s: s, values: make(map[place]digest.Digest), heights: make(map[digest.Digest]uint64), rounds: make(map[uint64]uint32)}
	for range s.Replicas {
		c.slots = append(c.slots, make(map[place]bool))
	}
	return c
}

func (c *signing) sent(n observe.Replica, m protocols.Message) {
	at := place{who: n.ID(), kind: m.Kind()}
	var d digest.Digest
	switch x := m.(type) {
	case *lanes.Batch:
		if x.Lane != n.ID() {
			return // of another replica, in answer to a fetch
		}
		at.a, d = x.Seq, x.Digest()
	case *lanes.Ack:
		at.lane, at.a, d = x.Lane, x.Tip.Seq, x.Tip.Digest
	case *bolt.Propose:
		if x.Leader != n.ID() {
			return
		}
		at.a, at.b, d = x.Block.Epoch, x.Block.Slot, x.Block.Digest()
		c.heights[d] = x.Block.Height
	case *bolt.Vote:
		at.a, at.b, d = x.Epoch, x.Slot, x.Digest
		c.slots[n.ID()][at] = true
	case *bolt.Finalize:
		at.a, at.b, d = x.Epoch, x.Slot, x.Digest
		c.slots[n.ID()][at] = true
	case *certify.VOTE:
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
	if have, ok := c.values[at]; ok && have != d {
		c.s.Fail("signing", "replica %d sends %s, and sent %s before", n.ID(), trace.Describe(m), have.Short())
	}
	c.values[at] = d
}

// resent is called with the messages that a replica sends to a peer that connects.
func (c *signing) resent(n observe.Replica, st *replica.Step) {
	again := make(map[place]bool)
	for _, x := range st.Sends {
		switch m := x.Message.(type) {
		case *bolt.Vote:
			again[place{who: n.ID(), kind: m.Kind(), a: m.Epoch, b: m.Slot}] = true
		case *bolt.Finalize:
			again[place{who: n.ID(), kind: m.Kind(), a: m.Epoch, b: m.Slot}] = true
		}
	}
	certified := n.Status().Certified
	for at := range c.slots[n.ID()] { // any order: only the first violation is kept, and a run without a violation has none
		h, known := c.heights[c.values[at]]
		switch {
		case at.a < n.Status().Epoch: // decided: each replica that asks gets the decision
			delete(c.slots[n.ID()], at)
		case known && h <= certified:
			delete(c.slots[n.ID()], at)
		case known && !again[at]:
			c.s.Fail("signing", "replica %d does not send its message of kind %#x for slot %d, height %d again; it is certified up to %d",
				n.ID(), at.kind, at.b, h, certified)
		}
	}
}
