package sim

import (
	"time"

	"bdtnode/ledger"
	"bdtnode/node/replica"
	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/lanes"
)

// Bounds well above the values of any run under the simulator's load.
const (
	// maxPeerSends is the largest number of messages of one step to one replica. A replica that starts, or whose peers
	// connect, sends each of them its messages for all blocks without a certified header.
	maxPeerSends = 1000
	maxOnLink    = 20000
	// maxStandstill is the longest time in which a replica may lack certificates that f+1 honest replicas have, while
	// it commits without a pause longer than maxPause.
	maxStandstill = 15 * time.Second
	maxPause      = time.Second
	// maxUnexecuted is the largest number of blocks that a replica may commit beyond its own execution: the number at
	// which it waits, and the blocks that one step or one answer of catching up adds.
	maxUnexecuted = bolt.CommitLag + 2*replica.MaxHistory
)

// bounds: windows hold, and neither a step nor a link grows without limit (design §2.9). Data that a replica keeps
// until it is certified does not grow while the replica commits.
type bounds struct {
	s     *cluster
	done  []uint64 // greatest height that each replica has executed
	still []standstill
	sends []int // messages of the present step to each replica
}

// standstill is the height at which a replica's certified height stands still, and the time since which it does
// although the replica commits.
type standstill struct {
	life      int
	certified uint64
	committed uint64
	since     protocols.Time
	last      protocols.Time // time of its last commit
}

func newBounds(s *cluster) bounds {
	return bounds{s: s, done: make([]uint64, s.cfg.Nodes), still: make([]standstill, s.cfg.Nodes), sends: make([]int, s.cfg.Nodes)}
}

func (c *bounds) executed(n *node, b *ledger.Block) {
	c.done[n.id] = max(c.done[n.id], b.Header.Height)
}

func (c *bounds) stepped(n *node, st *replica.Step) {
	c.counted(n, st)
	status := n.core.Status()
	c.standsStill(n, status)
	committed := status.Committed
	if committed > c.done[n.id]+maxUnexecuted {
		c.s.fail("bounds", "replica %d has committed %d, and executed %d", n.id, committed, c.done[n.id])
	}
	for _, x := range st.Sends {
		switch m := x.Message.(type) {
		case *bolt.Propose:
			if m.Leader == n.id && m.Block.Height > committed+bolt.Pipeline {
				c.s.fail("bounds", "leader proposes height %d, and has committed %d", m.Block.Height, committed)
			}
		case *bolt.Vote:
			if h, ok := c.s.check.signing.heights[m.Digest]; ok && h > c.done[n.id]+bolt.ExecutionLag {
				c.s.fail("bounds", "replica %d votes for height %d, and has executed %d", n.id, h, c.done[n.id])
			}
		case *bolt.Finalize:
			c.s.check.certificates.finalizing(n, m)
		}
	}
	for _, r := range st.Reads {
		m, ok := r.Range.(lanes.BatchRange)
		if ok && m.Tip.Seq-min(m.Tip.Seq, m.After) > 2*lanes.WindowHeaders && m.Lane == n.id && m.After > 0 {
			c.s.fail("bounds", "replica %d sends %d batches of its lane", n.id, m.Tip.Seq-m.After)
		}
	}
}

// counted checks the number of messages of a step to each replica.
func (c *bounds) counted(n *node, st *replica.Step) {
	clear(c.sends)
	everyone := 0
	for _, x := range st.Sends {
		if x.To == protocols.Everyone {
			everyone++
		} else {
			c.sends[x.To]++
		}
	}
	for _, r := range st.Reads {
		c.sends[r.To]++
	}
	for to, count := range c.sends {
		if count+everyone > maxPeerSends {
			c.s.fail("bounds", "one step of replica %d sends %d messages to replica %d", n.id, count+everyone, to)
		}
	}
}

// standsStill checks that the certified height grows while the replica commits and others have certified more.
func (c *bounds) standsStill(n *node, at replica.Status) {
	x := &c.still[n.id]
	more := 0
	for _, other := range c.s.honest() {
		if other.alive && other.core.Status().Certified > at.Certified {
			more++
		}
	}
	now := c.s.now
	if x.life != n.life || x.certified != at.Certified || more < c.s.committee.WeakQuorum() || now > x.last.Add(maxPause) {
		x.since = now
	}
	if at.Committed != x.committed {
		x.last = now
	}
	x.life, x.certified, x.committed = n.life, at.Certified, at.Committed
	if t := now.Sub(x.since); t > maxStandstill {
		c.s.fail("bounds", "replica %d has committed for %v, up to height %d, and its certified height is %d all the time", n.id, t, at.Committed, at.Certified)
	}
}

// adopted: a replica takes certified blocks only as an answer to its own request.
func (c *bounds) adopted(n *node, from protocols.Index, blocks uint64) {
	c.s.fail("bounds", "replica %d takes %d certified blocks of replica %d, which it did not ask for", n.id, blocks, from)
}

func (c *bounds) carried(i, j, count int) {
	if count > maxOnLink {
		c.s.fail("bounds", "%d messages are under way from replica %d to %d", count, i, j)
	}
}
