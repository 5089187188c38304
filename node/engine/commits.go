package engine

import (
	"sort"
	"sync"
	"time"

	"bdtnode/node/replica"
	"bdtnode/protocols"
)

// recentCommits is how many commits are remembered: seconds of a busy shard.
const recentCommits = 1024

// Commit is a moment at which this replica's committed height moved.
type Commit struct {
	Height uint64          // reached then
	Epoch  uint64          // that this replica was in after it: the next one, if the block ended one
	Leader protocols.Index // of that epoch
	At     time.Time
	// Waited is how long before, without a pause and since the commit before at the earliest, there was something to
	// commit.
	Waited time.Duration
}

// commits remembers the newest commits. The first it knows of is where the replica started.
type commits struct {
	mu      sync.Mutex
	ring    [recentCommits]Commit
	n       uint64    // noted in all
	pending time.Time // since when there is something to commit; zero if there is nothing
	work    Work      // what it is
}

// note takes the core's position after an input, and whether there is something to commit.
func (c *commits) note(now time.Time, s replica.Status, work Work) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == 0 || s.Committed > c.ring[(c.n-1)%recentCommits].Height {
		x := Commit{Height: s.Committed, Epoch: s.Epoch, Leader: s.Leader, At: now}
		if !c.pending.IsZero() {
			x.Waited = now.Sub(c.pending)
		}
		c.ring[c.n%recentCommits] = x
		c.n++
		c.pending = time.Time{}
	}
	c.work = work
	switch {
	case work == NoWork:
		c.pending = time.Time{}
	case c.pending.IsZero():
		c.pending = now
	}
}

// after is the commits above a height, oldest first.
func (c *commits) after(height uint64) []Commit {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := int(min(c.n, recentCommits))
	at := func(i int) Commit { return c.ring[(c.n-uint64(known)+uint64(i))%recentCommits] }
	first := sort.Search(known, func(i int) bool { return at(i).Height > height })
	out := make([]Commit, 0, known-first)
	for i := first; i < known; i++ {
		out = append(out, at(i))
	}
	return out
}

// waiting is since when there is something to commit, and what; zero if there is nothing.
func (c *commits) waiting() (time.Time, Work) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pending, c.work
}

// Commits is the newest commits above a height, oldest first: at most 1,024. The first since the start is where this
// replica was then.
func (e *Engine) Commits(after uint64) []Commit { return e.commits.after(after) }
