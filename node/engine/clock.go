package engine

import (
	"sync"
	"time"

	"bdtnode/protocols"
)

// reanchor is how often the clock looks at the wall clock.
const reanchor = 5 * time.Second

// clock reads Unix time that never goes back: a wall clock that was set forward is followed at once, one that was
// set back is waited for at half speed, so that no deadline is missed or put off for long.
type clock struct {
	mu     sync.Mutex
	anchor time.Time // with its monotonic reading
	at     protocols.Time
	excess time.Duration // how far at was ahead of the wall clock
}

func newClock(now time.Time) *clock {
	return &clock{anchor: now, at: protocols.Time(now.UnixNano())}
}

func (c *clock) now() protocols.Time { return c.read(time.Now()) }

func (c *clock) read(t time.Time) protocols.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	passed := t.Sub(c.anchor)
	now := c.at.Add(max(passed/2, passed-c.excess))
	if passed >= reanchor {
		wall := protocols.Time(t.UnixNano())
		c.anchor, c.at, c.excess = t, max(now, wall), max(0, now.Sub(wall))
		now = c.at
	}
	return now
}
