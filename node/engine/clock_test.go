package engine

import (
	"testing"
	"time"

	"bdtnode/protocols"
)

// TestClockWhenTheWallClockIsSet: the time for deadlines runs evenly while the wall clock is set by an hour and back.
// The wall clock's time follows at once each time.
func TestClockWhenTheWallClockIsSet(t *testing.T) {
	start := time.Unix(1_700_000_000, 0)
	var passed, set time.Duration
	c := newClock(start)
	c.read = func() (time.Duration, time.Time) { return passed, start.Add(passed + set) }
	for _, step := range []struct{ pass, set time.Duration }{
		{0, 0}, {time.Second, 0}, {time.Second, time.Hour}, {time.Second, time.Hour}, {time.Second, 0},
		{time.Second, -time.Hour}, {time.Hour, -time.Hour}, {time.Second, 0},
	} {
		passed, set = passed+step.pass, step.set
		if got := c.now().Sub(protocols.Time(start.UnixNano())); got != passed {
			t.Errorf("%v passed, deadlines saw %v with the wall clock %v off", passed, got, set)
		}
		if got := c.wall(); got != protocols.Time(start.Add(passed+set).UnixNano()) {
			t.Errorf("wall clock %v off after %v: read as %v", set, passed, time.Duration(got))
		}
	}
}
