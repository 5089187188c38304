package load

import (
	"math/rand/v2"
	"time"
)

// schedule says when each arrival is due.
type schedule struct {
	n     int
	next  int
	every float64 // nanoseconds
	rng   *rand.Rand
	due   time.Duration // of the next one, since the start
}

func newSchedule(n int, span time.Duration, seed uint64) *schedule {
	s := &schedule{n: n, every: float64(span) / float64(n), rng: rand.New(rand.NewPCG(seed, 1))}
	s.draw()
	return s
}

func (s *schedule) draw() {
	s.due = time.Duration((float64(s.next) + s.rng.Float64()) * s.every)
}

// more reports whether an arrival is still to come.
func (s *schedule) more() bool { return s.next < s.n }

// take appends the arrivals due by now, all since the start, to due.
func (s *schedule) take(now time.Duration, due []time.Duration) []time.Duration {
	for s.more() && s.due <= now {
		due = append(due, s.due)
		s.next++
		s.draw()
	}
	return due
}
