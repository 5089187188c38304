package replica

import (
	"math"
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
	// ratePeriod is the time between two changes of the rate. The rate rises from zero to the budget in rateSteps such times,
	// also if commits are rarer.
	ratePeriod = 200 * time.Millisecond
	rateSteps  = 128
	// meanTime is the time constant of the mean rates. It is longer than maxPause, since otherwise a lane with large batches
	// that was slowed would count as one without load when the next lane is compared with it, and all lanes would stay slow.
	meanTime = 4 * time.Second
	// maxPause bounds the time at its budget that a lane must wait after one batch.
	maxPause = 2 * time.Second
)

// Congestion decides which lanes are read more slowly than at their budget ([Gate]). While commits take no longer than
// usual, none is. When they do, the replicas have more work than they can do in time, and a lane that brings much more of
// it than the others waits first: its rate is halved until commits take as long as usual, and then rises slowly. It keeps
// aboveMean times the mean rate of the others, and one batch of any size in maxPause. So a member that fills its lane cannot
// take the processor from the transactions of the others, and a busy lane of an honest member has all the rate for which
// there is a processor. It is not safe for concurrent use.
type Congestion struct {
	self   protocols.Index
	budget int // bytes a second of one lane
	usual  time.Duration
	at     protocols.Time // of the last commit
	count  uint64         // of commits at that time

	rate    int            // bytes a second for a lane above the mean, budget/maxCost to budget
	changed protocols.Time // when rate changed last

	means []mean // by lane
}

// mean is the rate of a lane, in which older bytes count less.
type mean struct {
	perSecond float64 // bytes, as of at
	at        protocols.Time
}

func (m *mean) rate(now protocols.Time) float64 {
	return m.perSecond * math.Exp(-now.Sub(m.at).Seconds()/meanTime.Seconds())
}

func (m *mean) add(now protocols.Time, bytes int) {
	m.perSecond, m.at = m.rate(now)+float64(bytes)/meanTime.Seconds(), now
}

// NewCongestion returns the state of a replica in a shard of n. window is the window of a lane in bytes, 0 is
// lanes.WindowBytes.
func NewCongestion(self protocols.Index, n, window int) *Congestion {
	budget := laneRate(window) << 10
	return &Congestion{self: self, budget: budget, rate: budget, means: make([]mean, n)}
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
	periods := int(min(rateSteps, now.Sub(c.changed)/ratePeriod))
	if periods == 0 {
		return
	}
	c.changed = now
	if c.usual > 0 && d.Last > 2*c.usual+slackDelay {
		c.rate = max(c.rate/2, c.budget/maxCost)
	} else {
		c.rate = min(c.rate+c.budget/rateSteps*periods, c.budget)
	}
}

// Cost is the number by which the bytes of a new batch of a lane are multiplied in its budget, at least 1.
func (c *Congestion) Cost(now protocols.Time, lane protocols.Index, size int) int {
	others := 0.0
	for i := range c.means {
		if protocols.Index(i) != lane && protocols.Index(i) != c.self {
			others += c.means[i].rate(now)
		}
	}
	c.means[lane].add(now, size)
	rate := max(c.rate, int(aboveMean*others)/max(1, len(c.means)-2))
	longest := c.budget * int(maxPause/time.Second) / max(1, size)
	return max(1, min(c.budget/rate, longest))
}
