// Package proctest measures the processes of replicas, for tests.
package proctest

import (
	"context"
	"fmt"
	"iter"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// WatchMemory samples the resident memory of processes, which it gets with their names before each sample, until the
// returned function is called. That returns the greatest value in bytes and the name of its process.
func WatchMemory(every time.Duration, processes iter.Seq2[string, int]) (end func() (most uint64, name string)) {
	ctx, cancel := context.WithCancel(context.Background())
	var most uint64
	var of string
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for ctx.Err() == nil {
			for name, pid := range processes {
				if b := resident(pid); b > most {
					most, of = b, name
				}
			}
			<-tick.C
		}
	})
	return func() (uint64, string) {
		cancel()
		wg.Wait()
		return most, of
	}
}

// resident is the resident memory of a process in bytes, 0 if the process has ended.
func resident(pid int) uint64 {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(raw))
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseUint(fields[1], 10, 64)
	if err != nil {
		return 0
	}
	return pages * uint64(os.Getpagesize())
}
