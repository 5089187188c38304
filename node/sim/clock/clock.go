// Package clock has the virtual time of a simulated run, its events, and its random numbers.
//
// Events are carried out in the order of (time, sequence), and all random numbers come from one generator, made from
// the seed. So one seed gives one run.
package clock

import (
	"math/rand/v2"
	"time"

	"bdtnode/protocols"
)

// Begin is the begin of virtual time.
const Begin protocols.Time = 1_700_000_000_000_000_000

// Clock is the time, the pending events and the random numbers of a run.
type Clock struct {
	Rand   *rand.Rand
	Active bool // there are load and disturbances

	now   protocols.Time
	queue queue
}

// New is the clock of a seed, at [Begin] and active.
func New(seed uint64) *Clock {
	return &Clock{Rand: rand.New(rand.NewPCG(seed, 0xb017d0b0)), Active: true, now: Begin}
}

// Now is the virtual time.
func (c *Clock) Now() protocols.Time { return c.now }

// At carries out an action at a time, or now if that time has passed.
func (c *Clock) At(t protocols.Time, action func()) { c.queue.add(max(t, c.now), action) }

// After carries out an action after a time.
func (c *Clock) After(d time.Duration, action func()) { c.queue.add(c.now.Add(d), action) }

// Repeat carries out an action at random intervals of a mean, while the clock is active.
func (c *Clock) Repeat(mean time.Duration, action func()) {
	c.After(c.Around(mean)+time.Millisecond, func() {
		if c.Active {
			action()
			c.Repeat(mean, action)
		}
	})
}

// Between is a random time in a range.
func (c *Clock) Between(low, high time.Duration) time.Duration {
	return low + time.Duration(c.Rand.Int64N(int64(high-low)+1))
}

// Around is a random time of an exponential distribution with a mean, and at most ten times the mean.
func (c *Clock) Around(mean time.Duration) time.Duration {
	return min(time.Duration(c.Rand.ExpFloat64()*float64(mean)), 10*mean)
}

// Play carries out events until a time, or until over returns true. It calls over before event k, for k from 1.
func (c *Clock) Play(until protocols.Time, over func(k int) bool) {
	for k := 1; len(c.queue.events) > 0 && c.queue.events[0].at <= until; k++ {
		if over(k) {
			return
		}
		e := c.queue.next()
		c.now = e.at
		e.action()
	}
	if !over(0) {
		c.now = max(c.now, until)
	}
}
