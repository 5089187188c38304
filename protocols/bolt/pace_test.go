package bolt

import (
	"testing"
	"time"

	"bdtnode/protocols"
)

// TestPaceFollowsTheDelay: the gap follows the observed delay within its bounds. Slots that never commit here do not stay
// in memory.
func TestPaceFollowsTheDelay(t *testing.T) {
	p := newPace()
	if p.gap() != MinGap {
		t.Errorf("before the first commit the gap is %v, want %v", p.gap(), MinGap)
	}
	run := func(from uint64, delay time.Duration) {
		for s := from; s < from+64; s++ {
			at := protocols.Time(s) * protocols.Time(time.Second)
			p.proposed(at, s)
			p.proposed(at.Add(delay/2), s) // the first time counts
			p.committed(at.Add(delay), s)
		}
	}
	for k, c := range []struct{ delay, gap time.Duration }{
		{2 * time.Millisecond, MinGap}, {60 * time.Millisecond, 15 * time.Millisecond}, {time.Second, MaxGap}, {4 * time.Millisecond, MinGap},
	} {
		run(uint64(100*k+1), c.delay)
		if got := p.gap(); (got - c.gap).Abs() > time.Millisecond {
			t.Errorf("with commits after %v the gap is %v, want about %v", c.delay, got, c.gap)
		}
	}
	p.proposed(0, 1000)
	p.proposed(0, 1001)
	p.forget(1000)
	if len(p.seen) != 1 {
		t.Errorf("%d slots are remembered, want 1", len(p.seen))
	}
}
