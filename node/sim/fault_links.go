package sim

import (
	"fmt"
	"time"
)

// LinkBreaks breaks one connection at a time. Frames under way on it are lost.
type LinkBreaks struct {
	Every time.Duration // mean
}

func (f LinkBreaks) String() string { return fmt.Sprintf("link breaks every %v", f.Every) }

func (f LinkBreaks) start(s *cluster) {
	s.repeat(f.Every, func() {
		i := s.rng.IntN(len(s.nodes))
		s.network.sever(i, (i+1+s.rng.IntN(len(s.nodes)-1))%len(s.nodes))
	})
}
