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
	Height uint64          // after it
	Epoch  uint64          // of this replica after it: the next epoch, if the block ended one
	Leader protocols.Index // of that epoch
	At     time.Time
	// Waited is the time before this commit in which there was always data to commit. It begins at the previous commit at
	// the earliest.
	Waited time.Duration
}

// commits remembers the newest commits. The first is the position at the start.
type commits struct {
	mu      sync.Mutex
	ring    [recentCommits]Commit
	n       uint64    // number of commits since the start
	pending time.Time // begin of the wait for a commit; zero if no data waits
	work    Work      // kind of the waiting data
}

// note records the core's position after an input, and whether data waits for a commit.
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

// after is the list of commits above a height, oldest first.
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

// waiting is the begin of the wait for a commit, and the kind of the waiting data; zero if no data waits.
func (c *commits) waiting() (time.Time, Work) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pending, c.work
}

// Commits is the list of the newest commits above a height, oldest first, at most 1,024. The first one since the start
// is the replica's position then.
func (e *Engine) Commits(after uint64) []Commit { return e.commits.after(after) }
