package fairshare

import (
	"context"
	"slices"
	"sync"
)

// Places is a pool of places for which requests can wait. Parties that wait get places in turn, as far as their shares
// allow; the number of their requests does not matter. The number of requests that wait is not bounded. Places may be
// used concurrently.
type Places[P comparable] struct {
	mu     sync.Mutex
	pool   Pool[P]
	queues map[P][]chan struct{} // requests that wait, each closed when it gets its place
	order  []P                   // keys of queues, the next one first
}

// NewPlaces returns n places with the shares of a [Pool].
func NewPlaces[P comparable](n, least int) *Places[P] {
	return &Places[P]{pool: NewPool[P](int64(n), int64(least)), queues: make(map[P][]chan struct{})}
}

// Take waits for a place until ctx ends, and reports whether it got one. [Places.Give] returns the place.
func (s *Places[P]) Take(ctx context.Context, party P) bool {
	s.mu.Lock()
	if s.pool.Take(party, 1) {
		s.mu.Unlock()
		return true
	}
	place := make(chan struct{})
	if len(s.queues[party]) == 0 {
		s.order = append(s.order, party)
	}
	s.queues[party] = append(s.queues[party], place)
	s.mu.Unlock()
	select {
	case <-place:
		return true
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-place: // the place came too late, and is passed to another request
		s.pool.Give(party, 1)
		s.pass()
	default:
		s.remove(party, slices.Index(s.queues[party], place))
	}
	return false
}

// Give returns a place of a party.
func (s *Places[P]) Give(party P) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pool.Give(party, 1)
	s.pass()
}

// pass gives free places to the parties whose turn it is and whose shares allow it.
func (s *Places[P]) pass() {
	for i := 0; i < len(s.order); {
		party := s.order[i]
		if !s.pool.Take(party, 1) {
			i++
			continue
		}
		close(s.queues[party][0])
		s.remove(party, 0)
		if len(s.queues[party]) > 0 { // it is behind the others now
			s.order = append(slices.Delete(s.order, i, i+1), party)
		}
	}
}

// remove removes a request from its party's queue, and the party from the order if it has no other.
func (s *Places[P]) remove(party P, i int) {
	if q := slices.Delete(s.queues[party], i, i+1); len(q) > 0 {
		s.queues[party] = q
		return
	}
	delete(s.queues, party)
	i = slices.Index(s.order, party)
	s.order = slices.Delete(s.order, i, i+1)
}

// Waiting is the number of requests that wait.
func (s *Places[P]) Waiting() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, q := range s.queues {
		n += len(q)
	}
	return n
}
