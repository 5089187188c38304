package sim

import (
	"fmt"
	"time"
)

// CutOff makes f replicas unreachable for the others, for a long time. The f replicas stay connected with each other.
// The next cut begins when the last one has ended. The others are a quorum and must continue to commit.
type CutOff struct {
	Every             time.Duration // mean, from the end of one to the next
	Shortest, Longest time.Duration // duration of a cut
}

func (f CutOff) String() string {
	return fmt.Sprintf("f replicas cut off every %v for %v to %v", f.Every, f.Shortest, f.Longest)
}

func (f CutOff) start(s *cluster) {
	s.after(s.around(f.Every), func() {
		if !s.active {
			return
		}
		join := s.network.part(s.sides(s.cfg.faulty()))
		s.after(s.between(f.Shortest, f.Longest), func() {
			join()
			f.start(s)
		})
	})
}
