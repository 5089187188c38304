package main

import (
	"math"
	"runtime/debug"
	"testing"
)

// TestTuneMemory: the collector is set up for a server, except for settings from the environment.
func TestTuneMemory(t *testing.T) {
	const percent, limit = 77, math.MaxInt64 - 1 // values before the test
	before, most := debug.SetGCPercent(percent), debug.SetMemoryLimit(limit)
	defer func() {
		debug.SetGCPercent(before)
		debug.SetMemoryLimit(most)
	}()
	for _, c := range []struct {
		gogc, gomemlimit string
		percent          int
		limit            int64
	}{
		{"", "", 400, 2 << 30},
		{"50", "", percent, 2 << 30},
		{"off", "", percent, 2 << 30},
		{"", "1GiB", 400, limit},
		{"50", "off", percent, limit},
	} {
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(limit)
		t.Setenv("GOGC", c.gogc)
		t.Setenv("GOMEMLIMIT", c.gomemlimit)
		tuneMemory()
		if got, most := debug.SetGCPercent(percent), debug.SetMemoryLimit(-1); got != c.percent || most != c.limit {
			t.Errorf("GOGC=%s GOMEMLIMIT=%s: %d %%, %d bytes", c.gogc, c.gomemlimit, got, most)
		}
	}
}
