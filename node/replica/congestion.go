package replica

import (
	"time"

	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
)

// Bounds of congestion.
const (
	// slackDelay is added to twice the usual delay: shorter delays are noise of the scheduler.
	slackDelay = 30 * time.Millisecond
	// usualRise is the time constant with which the usual delay follows a longer one.
	usualRise = time.Minute
	// aboveMean is the number of times that a lane may have the mean rate of the others under congestion.
	aboveMean = 2
	// maxCost bounds the slow-down: a lane has one part in maxCost of its budget in any case.
	maxCost = 64
	// ratePeriod is the time between two changes of the rate, and rateSteps the number of them in which the rate rises from
	// zero to the budget.
	ratePeriod = 200 * time.Millisecond
	rateSteps  = 128
)

// Congestion decides which lanes are read more slowly than at their budget ([Gate]). While commits take no longer than
// usual, none is. When they do, the replicas have more work than they can do in time, and a lane that brings much more of
// it than the others waits first: its rate is halved until commits take as long as usual, and then rises slowly. It keeps
// aboveMean times the mean rate of the others. So a member that fills its lane cannot take the processor from the
// transactions of the others, and a busy lane of an honest member has all the rate for which there is a processor. It is
// not safe for concurrent use.
type Congestion struct {
	self   protocols.Index
	budget int // bytes a second of one lane
	usual  time.Duration
	at     protocols.Time // of the last commit
	count  uint64         // of commits at that time

	rate    int            // bytes a second for a lane above the mean, budget/maxCost to budget
	changed protocols.Time // when rate changed last

	second protocols.Time // begin of the second that now counts
	bytes  []int          // by lane, in this second
	before []int          // by lane, in the second before
}

// NewCongestion returns the state of a replica in a shard of n. window is the window of a lane in bytes, 0 is
// lanes.WindowBytes.
func NewCongestion(self protocols.Index, n, window int) *Congestion {
	budget := laneRate(window) << 10
	return &Congestion{self: self, budget: budget, rate: budget, bytes: make([]int, n), before: make([]int, n)}
}

// Observe takes the times of commits in the present epoch. It acts on each commit once.
func (c *Congestion) Observe(now protocols.Time, d bolt.Delays) {
	if d.Count == c.count {
		return
	}
	past := now.Sub(c.at)
	c.at, c.count = now, d.Count
	if d.Smoothed > 0 && (c.usual == 0 || d.Smoothed < c.usual) {
		c.usual = d.Smoothed
	} else if d.Smoothed > c.usual {
		c.usual += time.Duration(float64(d.Smoothed-c.usual) * min(1, float64(past)/float64(usualRise)))
	}
	if now.Sub(c.changed) < ratePeriod {
		return
	}
	c.changed = now
	if c.usual > 0 && d.Last > 2*c.usual+slackDelay {
		c.rate = max(c.rate/2, c.budget/maxCost)
	} else {
		c.rate = min(c.rate+c.budget/rateSteps, c.budget)
	}
}

// Cost is the number by which the bytes of a new batch of a lane are multiplied in its budget, at least 1.
func (c *Congestion) Cost(now protocols.Time, lane protocols.Index, size int) int {
	if past := now.Sub(c.second); past >= time.Second {
		if past < 2*time.Second {
			copy(c.before, c.bytes)
		} else {
			clear(c.before)
		}
		clear(c.bytes)
		c.second = now
	}
	c.bytes[lane] += size
	others := 0
	for i, b := range c.before {
		if protocols.Index(i) != lane && protocols.Index(i) != c.self {
			others += b
		}
	}
	return max(1, c.budget/max(c.rate, aboveMean*others/max(1, len(c.before)-2)))
}
