package load

import (
	"math/rand/v2"
	"time"
)

// schedule generates the due times of the arrivals.
type schedule struct {
	n     int
	next  int
	every float64 // length of an interval, in nanoseconds
	rng   *rand.Rand
	due   time.Duration // due time of the next arrival, since the start
}

func newSchedule(n int, span time.Duration, seed uint64) *schedule {
	s := &schedule{n: n, every: float64(span) / float64(n), rng: rand.New(rand.NewPCG(seed, 1))}
	s.draw()
	return s
}

func (s *schedule) draw() {
	s.due = time.Duration((float64(s.next) + s.rng.Float64()) * s.every)
}

// more reports whether there are further arrivals.
func (s *schedule) more() bool { return s.next < s.n }

// take appends to due the times of the arrivals due by now, all measured from the start.
func (s *schedule) take(now time.Duration, due []time.Duration) []time.Duration {
	for s.more() && s.due <= now {
		due = append(due, s.due)
		s.next++
		s.draw()
	}
	return due
}
