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
	slow   bool
}

func newClock(now time.Time) *clock {
	return &clock{anchor: now, at: protocols.Time(now.UnixNano())}
}

func (c *clock) now() protocols.Time { return c.read(time.Now()) }

func (c *clock) read(t time.Time) protocols.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	passed := t.Sub(c.anchor)
	if c.slow {
		passed /= 2
	}
	now := c.at.Add(passed)
	if t.Sub(c.anchor) >= reanchor {
		wall := protocols.Time(t.UnixNano())
		c.slow = wall < now
		c.anchor, c.at = t, max(now, wall)
		now = c.at
	}
	return now
}
