package engine

import (
	"sync"
	"time"
)

// SlowSync is the time from which a sync of the consensus store is reported as slow. The votes of a replica wait for its
// syncs, and an epoch's patience is a fraction of this time.
const SlowSync = time.Second

// slowSyncAge is the time for which a slow sync is reported after its end.
const slowSyncAge = 10 * time.Second

// syncs measures the syncs of the consensus store.
type syncs struct {
	mu    sync.Mutex
	began time.Time     // of the sync in progress; zero if there is none
	slow  time.Duration // of the newest slow sync
	ended time.Time     // its end
}

func (s *syncs) begin(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.began = now
}

func (s *syncs) end(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if took := now.Sub(s.began); took >= SlowSync {
		s.slow, s.ended = took, now
	}
	s.began = time.Time{}
}

// slowest is the time of the sync in progress, or of the newest slow one if it has ended lately; 0 if neither is slow.
func (s *syncs) slowest(now time.Time) (took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended.IsZero() && now.Sub(s.ended) < slowSyncAge {
		took = s.slow
	}
	if d := now.Sub(s.began); !s.began.IsZero() && d >= SlowSync {
		took = max(took, d)
	}
	return took
}

// SlowestSync is the time of a slow sync of the consensus store that is in progress or ended in the last 10 s; 0 if there is
// none.
func (e *Engine) SlowestSync() time.Duration { return e.syncs.slowest(time.Now()) }
