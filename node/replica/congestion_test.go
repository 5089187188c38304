package replica

import (
	"testing"
	"time"

	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
)

// loads sends the bytes of each lane in ten parts a second, and returns the cost of the last batch of each lane.
func loads(c *Congestion, from protocols.Time, seconds int, perSecond map[protocols.Index]int) map[protocols.Index]int {
	cost := make(map[protocols.Index]int)
	for k := range 10 * seconds {
		now := from.Add(time.Duration(k) * 100 * time.Millisecond)
		for lane, bytes := range perSecond {
			cost[lane] = c.Cost(now, lane, bytes/10)
		}
	}
	return cost
}

// TestCongestion: a lane is slowed only while commits take longer than usual, and only if it brings much more than the
// others. Lanes with equal loads are never slowed.
func TestCongestion(t *testing.T) {
	const window, budget = 8 << 20, 1 << 20
	usual, slow := 10*time.Millisecond, 100*time.Millisecond
	one := map[protocols.Index]int{1: 5_000, 2: 5_000, 3: 2 * budget}
	equal := map[protocols.Index]int{1: budget, 2: budget, 3: budget}
	for _, x := range []struct {
		name string
		last time.Duration
		load map[protocols.Index]int
		want int // of lane 3
	}{
		{"commits as usual", usual, one, 1},
		{"a little slower", 2*usual + slackDelay, one, 1},
		{"slow commits", slow, one, maxCost},
		{"slow commits, equal loads", slow, equal, 1},
		{"slow commits, half the load in one lane", slow, map[protocols.Index]int{1: budget / 4, 2: budget / 4, 3: budget}, 2},
	} {
		c := NewCongestion(0, 4, window)
		for k := range 100 {
			c.Observe(t0.Add(time.Duration(k)*time.Millisecond), bolt.Delays{Smoothed: usual, Last: usual, Count: uint64(k + 1)})
		}
		at := t0.Add(time.Second)
		for k := range uint64(10) {
			at = at.Add(ratePeriod)
			c.Observe(at, bolt.Delays{Smoothed: usual, Last: x.last, Count: 200 + k})
		}
		cost := loads(c, at, 3, x.load)
		if cost[3] != x.want || cost[1] != 1 {
			t.Errorf("%s: costs %v, want %d for lane 3", x.name, cost, x.want)
		}
	}
}

// TestCongestionCountsACommitOnce: a slow commit slows a lane once, however often it is observed.
func TestCongestionCountsACommitOnce(t *testing.T) {
	c := NewCongestion(0, 4, 0)
	now, usual := t0.Add(time.Second), 10*time.Millisecond
	c.Observe(now, bolt.Delays{Smoothed: usual, Last: usual, Count: 1})
	for range 100 {
		now = now.Add(ratePeriod)
		c.Observe(now, bolt.Delays{Smoothed: usual, Last: time.Second, Count: 2})
	}
	if cost := loads(c, now, 2, map[protocols.Index]int{2: 10 << 20}); cost[2] != 2 {
		t.Errorf("cost %d after one slow commit, want 2", cost[2])
	}
}

// TestCongestionEnds: the rate of a busy lane rises again when commits are as usual, and a delay that lasts becomes usual, as
// in a network that has become slower.
func TestCongestionEnds(t *testing.T) {
	for _, after := range []time.Duration{10 * time.Millisecond, 300 * time.Millisecond} {
		c := NewCongestion(0, 4, 0)
		now, count := t0, uint64(0)
		observe := func(duration, delay time.Duration) {
			for end := now.Add(duration); now < end; now = now.Add(100 * time.Millisecond) {
				count++
				c.Observe(now, bolt.Delays{Smoothed: delay, Last: delay, Count: count})
			}
		}
		observe(time.Second, 10*time.Millisecond)
		observe(10*time.Second, 100*time.Millisecond)
		if cost := loads(c, now, 2, map[protocols.Index]int{2: 10 << 20}); cost[2] != maxCost {
			t.Errorf("cost %d under congestion, want %d", cost[2], maxCost)
		}
		observe(4*time.Minute, after)
		if cost := loads(c, now, 2, map[protocols.Index]int{2: 10 << 20}); cost[2] != 1 {
			t.Errorf("cost %d after four minutes of %v", cost[2], after)
		}
	}
}
