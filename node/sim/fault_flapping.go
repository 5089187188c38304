package sim

import (
	"fmt"
	"time"

	"bdtnode/protocols"
)

// Flapping partitions the replicas into two groups and joins them again, at short intervals and for some seconds. So
// connections often break before they are used.
type Flapping struct {
	Every time.Duration // mean, from the begin of one to the next
	Lasts time.Duration // of each
	Turn  time.Duration // maximal length of one partition or of one connected interval; the minimum is a tenth of it
}

func (f Flapping) String() string {
	return fmt.Sprintf("partitions of at most %v, every %v for %v", f.Turn, f.Every, f.Lasts)
}

func (f Flapping) start(s *cluster) {
	s.repeat(f.Every, func() { f.flap(s, s.sides(1+s.rng.IntN(len(s.nodes)-1)), s.now.Add(f.Lasts)) })
}

// flap partitions two sides once, and repeats that until some time.
func (f Flapping) flap(s *cluster, side []bool, until protocols.Time) {
	if !s.active || s.now >= until {
		return
	}
	join := s.network.part(side)
	s.after(s.between(f.Turn/10, f.Turn), func() {
		join()
		s.after(s.between(f.Turn/10, f.Turn), func() { f.flap(s, side, until) })
	})
}

// sides puts this number of replicas, chosen at random, on one side and the others on the other.
func (s *cluster) sides(count int) []bool {
	side := make([]bool, len(s.nodes))
	for _, i := range s.rng.Perm(len(s.nodes))[:count] {
		side[i] = true
	}
	return side
}
