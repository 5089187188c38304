package check

import (
	"bdtnode/node/replica"
	"bdtnode/node/sim/observe"
	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/lanes"
)

// identity: no replica signs before 2f peers have answered its start. A replica whose store was replaced never signs if
// its peers know newer signatures of it. No other replica is found lost, after any crash.
type identity struct {
	s        *Shard
	signed   []latest        // by replica
	received [][]latest      // by receiver, then by replica
	known    []protocols.Set // by node: peers that answered its start
	ran      []bool          // by node: whether it signed in this life
}

// latest is the newest that a replica signed: a vote, and a header of its lane.
type latest struct{ epoch, slot, number uint64 }

func (x *latest) add(m protocols.Message) {
	switch y := m.(type) {
	case *bolt.Vote:
		if y.Epoch > x.epoch || y.Epoch == x.epoch && y.Slot > x.slot {
			x.epoch, x.slot = y.Epoch, y.Slot
		}
	case *lanes.Batch:
		x.number = max(x.number, y.Seq)
	}
}

func (x latest) laterVote(y latest) bool {
	return x.epoch > y.epoch || x.epoch == y.epoch && x.slot > y.slot
}

func newIdentity(s *Shard) identity {
	c := identity{s: s, signed: make([]latest, s.Replicas), known: make([]protocols.Set, s.Places), ran: make([]bool, s.Places)}
	for range s.Replicas {
		c.received = append(c.received, make([]latest, s.Replicas))
	}
	return c
}

func (c *identity) sent(n observe.Replica, m protocols.Message) {
	if b, ok := m.(*lanes.Batch); !ok || b.Lane == n.ID() {
		c.signed[n.ID()].add(m)
	}
}

func (c *identity) passed(n observe.Replica, from protocols.Index, m protocols.Message) {
	if b, ok := m.(*lanes.Batch); !ok || b.Lane == from {
		c.received[n.ID()][from].add(m)
	}
	if x, ok := m.(*replica.Known); ok && x.Member == n.ID() && x.To == n.Nonce() {
		c.known[n.Place()].Add(from)
	}
}

func (c *identity) started(n observe.Replica) {
	c.known[n.Place()], c.ran[n.Place()] = protocols.Set{}, false
}

// looked is called after each input of a core.
func (c *identity) looked(n observe.Replica) {
	if c.ran[n.Place()] || !n.Running() {
		return
	}
	c.ran[n.Place()] = true
	if have, want := c.known[n.Place()].Len(), 2*c.s.Committee.F(); have < want {
		c.s.Fail("identity", "replica %d signs after %d answers to its start, want %d", n.ID(), have, want)
	}
	if n.Replaced() {
		c.s.Fail("identity", "replica %d continues with an old store, though its peers have newer signatures of it", n.ID())
	}
}

// lost is called when a replica was found lost.
func (c *identity) lost(n observe.Replica, why *replica.Lost) {
	if second := n.Guarded() && !n.Honest(); !n.Replaced() && !second {
		c.s.Fail("identity", "replica %d has the store that it signed with, and was found lost: %s", n.ID(), why.Why)
	}
}

// later reports whether all running replicas have received from one a newer signature than a given one. With votes it
// must be a vote, and no newer header.
func (c *identity) later(n observe.Replica, than latest, votes bool) bool {
	if votes && c.signed[n.ID()].number != than.number {
		return false
	}
	for _, peer := range c.s.Nodes {
		if h := c.received[peer.ID()][n.ID()]; peer.ID() != n.ID() && peer.Alive() && !h.laterVote(than) && (votes || h.number <= than.number) {
			return false
		}
	}
	return true
}
