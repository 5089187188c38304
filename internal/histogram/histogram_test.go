package histogram

import (
	"slices"
	"sync"
	"testing"
	"time"
)

// TestBuckets: a value is in the first bucket whose bound is not below it.
func TestBuckets(t *testing.T) {
	h := New(10, 20, 40)
	for value, n := range map[int64]int{0: 1, 10: 2, 11: 4, 20: 8, 40: 16, 41: 32} {
		h.Add(value, n)
	}
	h.Add(5, 0)
	h.Add(5, -1)
	s := h.Read()
	if !slices.Equal(s.Below, []uint64{3, 15, 31}) || s.Count != 63 || s.Sum != 10*2+11*4+20*8+40*16+41*32 {
		t.Errorf("%+v", s)
	}
}

// TestDurations: the bounds double from 0.5 ms to 65.536 s, and a negative duration counts as zero.
func TestDurations(t *testing.T) {
	h := Durations()
	for _, took := range []time.Duration{-time.Second, 500 * time.Microsecond, 3 * time.Millisecond, time.Hour} {
		h.Observe(took, 1)
	}
	s := h.Read()
	last := len(s.Bounds) - 1
	if s.Bounds[0] != int64(500*time.Microsecond) || s.Bounds[last] != int64(65536*time.Millisecond) {
		t.Errorf("bounds %v", s.Bounds)
	}
	if s.Below[0] != 2 || s.Below[3] != 3 || s.Below[last] != 3 || s.Count != 4 {
		t.Errorf("%+v", s)
	}
}

// TestConcurrent: no value is lost.
func TestConcurrent(t *testing.T) {
	h := Durations()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 1000 {
				h.Observe(time.Duration(i)*time.Millisecond, 2)
			}
		})
	}
	wg.Wait()
	if s := h.Read(); s.Count != 16_000 || s.Sum != int64(16*999*1000/2)*int64(time.Millisecond) {
		t.Errorf("%+v", s)
	}
}

func TestBoundsMustAscend(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("equal bounds were taken")
		}
	}()
	New(1, 1)
}

// TestAddAllocatesNothing: the histogram may be used for every transaction.
func TestAddAllocatesNothing(t *testing.T) {
	h := Durations()
	if n := testing.AllocsPerRun(100, func() { h.Observe(7*time.Millisecond, 3) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkObserve(b *testing.B) {
	h := Durations()
	for b.Loop() {
		h.Observe(7*time.Millisecond, 1)
	}
}
