package engine

import (
	"slices"
	"sync"
	"time"
)

// Bounds of the latencies that are kept: their number and their age.
const (
	recentLatencies = 512
	recentAge       = 5 * time.Second
)

// latencies keeps the newest times from acceptance to execution.
type latencies struct {
	mu   sync.Mutex
	ring [recentLatencies]struct {
		at   time.Time
		took time.Duration
	}
	next int
}

func (l *latencies) add(now time.Time, took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	x := &l.ring[l.next%recentLatencies]
	x.at, x.took = now, took
	l.next++
}

// median is the median of the recent latencies, 0 if there are none.
func (l *latencies) median(now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	recent := make([]time.Duration, 0, recentLatencies)
	for i := range l.ring {
		if x := &l.ring[i]; !x.at.IsZero() && now.Sub(x.at) < recentAge {
			recent = append(recent, x.took)
		}
	}
	if len(recent) == 0 {
		return 0
	}
	slices.Sort(recent)
	return recent[len(recent)/2]
}
