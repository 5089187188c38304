// Package histogram counts values by fixed buckets. Adding a value takes a few nanoseconds, allocates nothing and takes
// no lock, so every transaction can be counted.
package histogram

import (
	"slices"
	"sync/atomic"
	"time"
)

// Histogram counts values. Its methods may be called concurrently.
type Histogram struct {
	bounds []int64         // upper bounds of the buckets, inclusive and ascending
	counts []atomic.Uint64 // by bucket; the last one has the values above all bounds
	sum    atomic.Int64
}

// New returns an empty histogram with these upper bounds, which are inclusive and ascending. A further bucket has the
// values above.
func New(bounds ...int64) *Histogram {
	for i := 1; i < len(bounds); i++ {
		if bounds[i] <= bounds[i-1] {
			panic("histogram: the bounds are not ascending")
		}
	}
	return &Histogram{bounds: bounds, counts: make([]atomic.Uint64, len(bounds)+1)}
}

// Bounds of the buckets of [Durations]: each is twice the one before.
const (
	shortest = 500 * time.Microsecond
	doubled  = 17 // times; the last bound is 65.536 s
)

// Durations returns an empty histogram of durations in nanoseconds, with bounds from 0.5 ms to 65.536 s.
func Durations() *Histogram {
	bounds := make([]int64, doubled+1)
	for i := range bounds {
		bounds[i] = int64(shortest) << i
	}
	return New(bounds...)
}

// Add counts a value n times.
func (h *Histogram) Add(value int64, n int) {
	if n <= 0 {
		return
	}
	bucket, _ := slices.BinarySearch(h.bounds, value)
	h.counts[bucket].Add(uint64(n))
	h.sum.Add(value * int64(n))
}

// Observe counts a duration n times. A negative one, which a clock that was set back gives, counts as zero.
func (h *Histogram) Observe(took time.Duration, n int) { h.Add(int64(max(took, 0)), n) }

// Snapshot has the counts of a histogram at one moment.
type Snapshot struct {
	Bounds []int64  // not to be changed
	Below  []uint64 // by bound: number of values up to the bound
	Count  uint64   // of all values
	Sum    int64
}

// Read returns the present counts. Values that are added meanwhile may be in Sum and not in Count, or the reverse.
func (h *Histogram) Read() Snapshot {
	s := Snapshot{Bounds: h.bounds, Below: make([]uint64, len(h.bounds)), Sum: h.sum.Load()}
	for i := range h.counts {
		s.Count += h.counts[i].Load()
		if i < len(h.bounds) {
			s.Below[i] = s.Count
		}
	}
	return s
}
