package sim

import (
	"fmt"
	"time"
)

// Crashes stops one replica at a time at random moments, also between writing and sending. It starts the replica again
// from its disk.
type Crashes struct {
	Every time.Duration // mean
	Down  time.Duration // mean
}

func (f Crashes) String() string { return fmt.Sprintf("crashes every %v for %v", f.Every, f.Down) }

func (f Crashes) start(s *cluster) {
	s.crashPoints = &f
	s.repeat(f.Every, func() { s.fell(s.nodes[s.rng.IntN(len(s.nodes))], f.Down) })
}

// fell crashes a replica and starts it again after a random time of a mean.
func (s *cluster) fell(n *node, down time.Duration) {
	if !n.alive {
		return
	}
	n.crash()
	life := n.life
	s.after(s.around(down), func() {
		if !n.alive && n.life == life {
			s.guard(n, n.start)
		}
	})
}

// crashPoint sometimes crashes a replica at a place that a random moment would seldom hit. It reports whether it did.
func (s *cluster) crashPoint(n *node) bool {
	f := s.crashPoints
	if f == nil || !s.active || s.rng.Float64() >= float64(10*time.Millisecond)/float64(f.Every)/16 {
		return false
	}
	s.fell(n, f.Down)
	return true
}
