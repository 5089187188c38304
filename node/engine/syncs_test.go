package engine

import (
	"testing"
	"time"
)

// TestSlowSyncsAreReported: a slow sync is reported while it runs, and for ten seconds after its end; a fast one never.
func TestSlowSyncsAreReported(t *testing.T) {
	var s syncs
	began := time.Unix(0, 0)
	at := func(seconds float64) time.Time { return began.Add(time.Duration(seconds * float64(time.Second))) }
	want := func(seconds float64, took time.Duration) {
		t.Helper()
		if got := s.slowest(at(seconds)); got != took {
			t.Errorf("after %v s: %v, want %v", seconds, got, took)
		}
	}
	want(0, 0)
	s.begin(at(1))
	want(1.9, 0)
	s.end(at(1.9))
	want(2, 0)
	s.begin(at(3))
	want(3.5, 0)
	want(4.5, 1500*time.Millisecond)
	s.end(at(5))
	want(5, 2*time.Second)
	s.begin(at(6))
	s.end(at(6.1))
	want(14.9, 2*time.Second)
	want(15, 0)
}
