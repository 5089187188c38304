package replica

import (
	"time"

	"bdtnode/protocols"
)

// meter bounds a rate. Each counted unit takes a fixed time, and a party may run ahead of the clock by a bounded time.
type meter struct {
	each  time.Duration // time of one unit
	ahead time.Duration // how far ahead of the clock a unit may still begin
	full  protocols.Time
}

// newMeter allows perSecond units in a second, and burst units at once.
func newMeter(perSecond, burst int) meter {
	each := time.Second / time.Duration(perSecond)
	return meter{each: each, ahead: each * time.Duration(burst-1)}
}

// due is the earliest time of the next unit. It is not after now if the unit may begin at once.
func (m *meter) due() protocols.Time { return m.full.Add(-m.ahead) }

// take counts n units.
func (m *meter) take(now protocols.Time, n int) {
	m.full = max(m.full, now).Add(m.each * time.Duration(n))
}
