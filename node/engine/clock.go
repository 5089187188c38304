package engine

import (
	"time"

	"bdtnode/protocols"
)

// clock has the two times of a replica. Deadlines are measured by the first, which runs evenly and is never set. It
// began as the wall clock's time at the start, so the two differ only by later settings of the wall clock. Block times,
// expiry and the comparison with peers use the second, the present wall clock.
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

// now is the time for deadlines.
func (c *clock) now() protocols.Time {
	now, _ := c.both()
	return now
}

// wall is the wall clock's time.
func (c *clock) wall() protocols.Time {
	now, offset := c.both()
	return now.Add(offset)
}

// both is the time for deadlines, and the difference from it to the wall clock.
func (c *clock) both() (protocols.Time, time.Duration) {
	passed, wall := c.read()
	now := protocols.Time(c.start.UnixNano()).Add(passed)
	return now, protocols.Time(wall.UnixNano()).Sub(now)
}
