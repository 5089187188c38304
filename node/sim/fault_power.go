package sim

import (
	"fmt"
	"time"
)

// PowerCuts crashes all replicas at once.
type PowerCuts struct {
	Every time.Duration // mean
	Down  time.Duration // mean, of each
}

func (f PowerCuts) String() string { return fmt.Sprintf("power cuts every %v for %v", f.Every, f.Down) }

func (f PowerCuts) start(s *cluster) {
	s.repeat(f.Every, func() {
		for _, n := range s.nodes {
			s.fell(n, f.Down)
		}
	})
}
