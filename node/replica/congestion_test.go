package replica

import (
	"testing"
	"time"

	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/lanes"
)

// loads sends the bytes of each lane in 100 batches a second, and returns the cost of the last batch of each lane.
func loads(c *Congestion, from protocols.Time, seconds int, perSecond map[protocols.Index]int) map[protocols.Index]int {
	cost := make(map[protocols.Index]int)
	for k := range 100 * seconds {
		now := from.Add(time.Duration(k) * 10 * time.Millisecond)
		for lane, bytes := range perSecond {
			cost[lane] = c.Cost(now, lane, bytes/100)
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
		cost := loads(c, at, 20, x.load)
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
		if cost := loads(c, now, 2, map[protocols.Index]int{2: 5 << 20}); cost[2] != maxCost {
			t.Errorf("cost %d under congestion, want %d", cost[2], maxCost)
		}
		observe(4*time.Minute, after)
		if cost := loads(c, now, 2, map[protocols.Index]int{2: 10 << 20}); cost[2] != 1 {
			t.Errorf("cost %d after four minutes of %v", cost[2], after)
		}
	}
}

// lane is a lane whose owner always has batches of a size, and sends the next one when the stream is read again, at most one
// in each period.
type lane struct {
	index  protocols.Index
	gate   *Gate
	size   int
	period time.Duration
	next   protocols.Time
	bytes  int // sent
}

// frame is a batch of the lane.
func (l *lane) frame() []byte {
	b := frameOf(lanes.KindBatch, l.size)
	b[2] = byte(l.index)
	return b
}

// fill lets lanes send for a time. A commit follows each batch after a delay.
func fill(c *Congestion, from protocols.Time, duration, delay time.Duration, count *uint64, all ...*lane) protocols.Time {
	end := from.Add(duration)
	for now := from; now < end; now = now.Add(5 * time.Millisecond) {
		for _, l := range all {
			if now < l.next {
				continue
			}
			_, wait := l.gate.Admit(now, l.frame(), c.Cost(now, l.index, l.size))
			l.next = now.Add(max(wait, l.period))
			l.bytes += l.size
			*count++
			c.Observe(now, bolt.Delays{Smoothed: delay, Last: delay, Count: *count})
		}
	}
	return end
}

// TestCongestionAndLargeBatches: lanes with equal loads of batches of the greatest size have at least half of their rate while
// commits are slow, after a few seconds, also if they begin while commits are slow. A lane that is alone has at least the
// bytes that maxPause allows.
func TestCongestionAndLargeBatches(t *testing.T) {
	const window = 128 << 20
	run := func(delay time.Duration, indices ...protocols.Index) (bytes int) {
		c := NewCongestion(0, 4, window)
		count := uint64(1)
		c.Observe(t0, bolt.Delays{Smoothed: 10 * time.Millisecond, Last: 10 * time.Millisecond, Count: count})
		now := t0
		for range 10 { // congestion begins before the lanes send
			now = now.Add(ratePeriod)
			count++
			c.Observe(now, bolt.Delays{Smoothed: delay, Last: delay, Count: count})
		}
		var all []*lane
		for _, i := range indices {
			period := 250 * time.Millisecond
			all = append(all, &lane{index: i, gate: NewGate(i, window), size: lanes.MaxPayload, period: period, next: now.Add(time.Duration(i) * period / 4)})
		}
		now = fill(c, now, 10*time.Second, delay, &count, all...)
		for _, l := range all {
			l.bytes = 0
		}
		fill(c, now, 10*time.Second, delay, &count, all...)
		for _, l := range all {
			bytes += l.bytes
		}
		return bytes
	}
	free, slow := run(10*time.Millisecond, 1, 2, 3), run(200*time.Millisecond, 1, 2, 3)
	if free < 3*40<<20 || slow < free/2 {
		t.Errorf("three lanes have %d MiB in 10 s while commits are slow, %d MiB without congestion", slow>>20, free>>20)
	}
	if alone := run(200*time.Millisecond, 1); alone < 4<<20 {
		t.Errorf("a lane alone has %d MiB in 10 s while commits are slow", alone>>20)
	}
}
