package check

import (
	"time"

	"bdtnode/ledger"
	"bdtnode/node/replica"
	"bdtnode/node/sim/observe"
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
	s     *Shard
	done  []uint64 // greatest height that each replica has executed
	still []standstill
	// certified is the certified height of each replica after its last step; it changes in steps only.
	certified []uint64
	sends     []int // messages of the present step to each replica
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

func newBounds(s *Shard) bounds {
	return bounds{s: s, done: make([]uint64, s.Replicas), still: make([]standstill, s.Replicas), certified: make([]uint64, s.Replicas), sends: make([]int, s.Replicas)}
}

func (c *bounds) executed(n observe.Replica, b *ledger.Block) {
	c.done[n.ID()] = max(c.done[n.ID()], b.Header.Height)
}

func (c *bounds) stepped(n observe.Replica, st *replica.Step) {
	c.counted(n, st)
	status := n.Status()
	c.standsStill(n, status)
	committed := status.Committed
	if committed > c.done[n.ID()]+maxUnexecuted {
		c.s.Fail("bounds", "replica %d has committed %d, and executed %d", n.ID(), committed, c.done[n.ID()])
	}
	for _, x := range st.Sends {
		switch m := x.Message.(type) {
		case *bolt.Propose:
			if m.Leader == n.ID() && m.Block.Height > committed+bolt.Pipeline {
				c.s.Fail("bounds", "leader proposes height %d, and has committed %d", m.Block.Height, committed)
			}
		case *bolt.Vote:
			if h, ok := c.s.signing.heights[m.Digest]; ok && h > c.done[n.ID()]+bolt.ExecutionLag {
				c.s.Fail("bounds", "replica %d votes for height %d, and has executed %d", n.ID(), h, c.done[n.ID()])
			}
		case *bolt.Finalize:
			c.s.certificates.finalizing(n, m)
		}
	}
	for _, r := range st.Reads {
		m, ok := r.Range.(lanes.BatchRange)
		if ok && m.Tip.Seq-min(m.Tip.Seq, m.After) > 2*lanes.WindowHeaders && m.Lane == n.ID() && m.After > 0 {
			c.s.Fail("bounds", "replica %d sends %d batches of its lane", n.ID(), m.Tip.Seq-m.After)
		}
	}
}

// counted checks the number of messages of a step to each replica.
func (c *bounds) counted(n observe.Replica, st *replica.Step) {
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
			c.s.Fail("bounds", "one step of replica %d sends %d messages to replica %d", n.ID(), count+everyone, to)
		}
	}
}

// standsStill checks that the certified height grows while the replica commits and others have certified more.
func (c *bounds) standsStill(n observe.Replica, at replica.Status) {
	x := &c.still[n.ID()]
	more := 0
	c.certified[n.ID()] = at.Certified
	for _, other := range c.s.Nodes {
		if c.certified[other.ID()] > at.Certified && other.Honest() && other.Alive() {
			more++
		}
	}
	now := c.s.clock.Now()
	if x.life != n.Life() || x.certified != at.Certified || more < c.s.Committee.WeakQuorum() || now > x.last.Add(maxPause) {
		x.since = now
	}
	if at.Committed != x.committed {
		x.last = now
	}
	x.life, x.certified, x.committed = n.Life(), at.Certified, at.Committed
	if t := now.Sub(x.since); t > maxStandstill {
		c.s.Fail("bounds", "replica %d has committed for %v, up to height %d, and its certified height is %d all the time", n.ID(), t, at.Committed, at.Certified)
	}
}

// adopted: a replica takes certified blocks only as an answer to its own request.
func (c *bounds) adopted(n observe.Replica, from protocols.Index, blocks uint64) {
	c.s.Fail("bounds", "replica %d takes %d certified blocks of replica %d, which it did not ask for", n.ID(), blocks, from)
}

func (c *bounds) carried(i, j, count int) {
	if count > maxOnLink {
		c.s.Fail("bounds", "%d messages are under way from replica %d to %d", count, i, j)
	}
}
