package engine

import (
	"time"

	"bdtnode/protocols"
)

// clock has the two times of a replica. Deadlines are measured by the first, which goes on evenly and is never set; it
// began as the wall clock's time at the start, so the two differ only by what the wall clock was set since. Block times,
// expiry and the comparison with peers go by the second, the wall clock as it is now.
type clock struct {
	start time.Time // with its monotonic reading
	read  func() (passed time.Duration, wall time.Time)
}

func newClock(now time.Time) *clock {
	return &clock{start: now, read: func() (time.Duration, time.Time) {
		t := time.Now()
		return t.Sub(now), t // the difference is of monotonic readings
	}}
}

// now is the time that deadlines are measured by.
func (c *clock) now() protocols.Time {
	now, _ := c.both()
	return now
}

// wall is the wall clock's time.
func (c *clock) wall() protocols.Time {
	now, offset := c.both()
	return now.Add(offset)
}

// both is the time that deadlines are measured by, and how far the wall clock is ahead of it.
func (c *clock) both() (protocols.Time, time.Duration) {
	passed, wall := c.read()
	now := protocols.Time(c.start.UnixNano()).Add(passed)
	return now, protocols.Time(wall.UnixNano()).Sub(now)
}
