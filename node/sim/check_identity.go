package sim

import (
	"bdtnode/node/replica"
	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/lanes"
)

// identity: no replica signs before 2f peers have answered its start. A replica whose store was replaced never signs if
// its peers know newer signatures of it. No other replica is found lost, after any crash.
type identity struct {
	s     *cluster
	spoke []spoken        // by replica
	heard [][]spoken      // by receiver, then by replica
	known []protocols.Set // by node: peers that answered its start
	ran   []bool          // by node: whether it signed in this life
	nonce uint64          // of the last start
}

// spoken is the newest that a replica signed: a vote, and a header of its lane.
type spoken struct{ epoch, slot, number uint64 }

func (x *spoken) add(m protocols.Message) {
	switch y := m.(type) {
	case *bolt.Vote:
		if y.Epoch > x.epoch || y.Epoch == x.epoch && y.Slot > x.slot {
			x.epoch, x.slot = y.Epoch, y.Slot
		}
	case *lanes.Batch:
		x.number = max(x.number, y.Seq)
	}
}

func (x spoken) laterVote(y spoken) bool {
	return x.epoch > y.epoch || x.epoch == y.epoch && x.slot > y.slot
}

func newIdentity(s *cluster) identity {
	c := identity{s: s, spoke: make([]spoken, s.cfg.Nodes), known: make([]protocols.Set, s.cfg.places()), ran: make([]bool, s.cfg.places())}
	for range s.cfg.Nodes {
		c.heard = append(c.heard, make([]spoken, s.cfg.Nodes))
	}
	return c
}

func (c *identity) sent(n *node, m protocols.Message) {
	if b, ok := m.(*lanes.Batch); !ok || b.Lane == n.id {
		c.spoke[n.id].add(m)
	}
}

func (c *identity) passed(n *node, from protocols.Index, m protocols.Message) {
	if b, ok := m.(*lanes.Batch); !ok || b.Lane == from {
		c.heard[n.id][from].add(m)
	}
	if x, ok := m.(*replica.Known); ok && x.Member == n.id && x.To == n.nonce {
		c.known[n.place].Add(from)
	}
}

func (c *identity) started(n *node) { c.known[n.place], c.ran[n.place] = protocols.Set{}, false }

// looked is called after each input of a core.
func (c *identity) looked(n *node) {
	if c.ran[n.place] || !n.core.Standing().Running {
		return
	}
	c.ran[n.place] = true
	if have, want := c.known[n.place].Len(), 2*c.s.committee.F(); have < want {
		c.s.fail("identity", "replica %d signs after %d answers to its start, want %d", n.id, have, want)
	}
	if n.replaced {
		c.s.fail("identity", "replica %d continues with an old store, though its peers have newer signatures of it", n.id)
	}
}

// lost is called when a replica was found lost.
func (c *identity) lost(n *node, why *replica.Lost) {
	if _, second := n.adversary.(*SecondProcess); !n.replaced && !second {
		c.s.fail("identity", "replica %d has the store that it signed with, and was found lost: %s", n.id, why.Why)
	}
}

// later reports whether all running replicas have received from one a newer signature than a given one. With votes it
// must be a vote, and no newer header.
func (c *identity) later(n *node, than spoken, votes bool) bool {
	if votes && c.spoke[n.id].number != than.number {
		return false
	}
	for _, peer := range c.s.nodes {
		if h := c.heard[peer.id][n.id]; peer.id != n.id && peer.alive && !h.laterVote(than) && (votes || h.number <= than.number) {
			return false
		}
	}
	return true
}
