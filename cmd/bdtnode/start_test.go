package main

import (
	"context"
	"math"
	"os"
	"os/exec"
	"runtime"
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
		bounded          bool
	}{
		{"", "", 400, true},
		{"50", "", percent, true},
		{"off", "", percent, true},
		{"", "1GiB", 400, false},
		{"50", "off", percent, false},
	} {
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(limit)
		t.Setenv("GOGC", c.gogc)
		t.Setenv("GOMEMLIMIT", c.gomemlimit)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		tuneMemory(ctx)
		got, most := debug.SetGCPercent(percent), debug.SetMemoryLimit(-1)
		if bounded := most < 1<<40; got != c.percent || bounded != c.bounded || bounded && most < maxGarbage {
			t.Errorf("GOGC=%s GOMEMLIMIT=%s: %d %%, %d bytes", c.gogc, c.gomemlimit, got, most)
		}
	}
}

// TestGarbageIsBounded: the heap of a process with little live data does not grow by much more than maxGarbage, however
// fast it makes garbage, and live data does not count as garbage. The check runs in a process of its own, because the heap of
// this process also has the data of other tests.
func TestGarbageIsBounded(t *testing.T) {
	const own = "BDTNODE_TEST_GARBAGE"
	if os.Getenv(own) == "" {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestGarbageIsBounded$")
		cmd.Env = append(os.Environ(), own+"=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	debug.SetGCPercent(gcPercent)
	live := make([][]byte, 150)
	for i := range live {
		live[i] = make([]byte, 1<<20)
	}
	runtime.GC()
	limitGarbage()
	var peak uint64
	for range 2000 {
		sink = make([]byte, 1<<20)
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		peak = max(peak, m.HeapAlloc)
	}
	if all := uint64(len(live)<<20 + maxGarbage + 32<<20); peak > all {
		t.Errorf("the heap reached %d MiB, want at most %d", peak>>20, all>>20)
	}
	runtime.KeepAlive(live)
}

var sink []byte
