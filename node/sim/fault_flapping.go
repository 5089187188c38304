package sim

import (
	"fmt"
	"time"

	"bdtnode/protocols"
)

// Flapping parts the replicas into two groups and joins them again, quickly and for some seconds, so that connections
// often break before they are of use.
type Flapping struct {
	Every time.Duration // mean, from one such time to the next
	Lasts time.Duration // of each
	Turn  time.Duration // greatest length of a moment in which they are parted, or joined; the least is a tenth
}

func (f Flapping) String() string {
	return fmt.Sprintf("partitions that come and go within %v, every %v for %v", f.Turn, f.Every, f.Lasts)
}

func (f Flapping) start(s *cluster) {
	s.repeat(f.Every, func() { f.flap(s, s.sides(1+s.rng.IntN(len(s.nodes)-1)), s.now.Add(f.Lasts)) })
}

// flap parts two sides once, and goes on doing so until some time.
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

// sides puts so many replicas, chosen at random, on one side and the others on the other.
func (s *cluster) sides(count int) []bool {
	side := make([]bool, len(s.nodes))
	for _, i := range s.rng.Perm(len(s.nodes))[:count] {
		side[i] = true
	}
	return side
}
