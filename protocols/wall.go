package protocols

import "time"

// Wall is how far the wall clock is ahead of the clock that all deadlines are measured by. That one is never set; the
// wall clock may be set at any moment, and only block times, expiry and the comparison of clocks read it. The machines
// of one replica share one Wall, and only the replica's caller changes it, between inputs. A nil Wall is an offset of 0.
type Wall struct{ offset time.Duration }

// Set notes the offset.
func (w *Wall) Set(offset time.Duration) { w.offset = offset }

// At is the wall clock's reading at now, a reading of the clock of deadlines; at least 0, as block times have no sign.
func (w *Wall) At(now Time) Time {
	if w == nil {
		return now
	}
	return max(now.Add(w.offset), 0)
}
