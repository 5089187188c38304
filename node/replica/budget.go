package replica

import (
	"time"

	"bdtnode/protocols"
)

// meter bounds a rate: whatever is counted costs time, and a party may be ahead of the clock by so much.
type meter struct {
	each  time.Duration // what one costs
	ahead time.Duration // how far ahead of the clock one may still begin
	full  protocols.Time
}

// newMeter allows a rate, and so many at once.
func newMeter(perSecond, burst int) meter {
	each := time.Second / time.Duration(perSecond)
	return meter{each: each, ahead: each * time.Duration(burst-1)}
}

// due is when something may begin: not after now if it may at once.
func (m *meter) due() protocols.Time { return m.full.Add(-m.ahead) }

// take counts n.
func (m *meter) take(now protocols.Time, n int) {
	m.full = max(m.full, now).Add(m.each * time.Duration(n))
}
