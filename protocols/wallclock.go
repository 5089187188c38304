package protocols

import "time"

// WallClock is the offset from the monotonic clock to the wall clock. All deadlines are measured by the monotonic
// clock, which is never set. The wall clock may be set at any moment; only block times, expiry and the comparison of
// clocks read it. The machines of one replica share one WallClock, and only the replica's caller changes it, between
// inputs. A nil WallClock is an offset of 0.
type WallClock struct{ offset time.Duration }

// Set sets the offset.
func (w *WallClock) Set(offset time.Duration) { w.offset = offset }

// At is the wall clock at now, a reading of the monotonic clock. It is at least 0, since block times are unsigned.
func (w *WallClock) At(now Time) Time {
	if w == nil {
		return now
	}
	return max(now.Add(w.offset), 0)
}
