package sim

import (
	"fmt"
	"time"
)

// Halves partitions the replicas in the middle, so that neither side has a quorum, and joins them again.
type Halves struct {
	Every time.Duration // mean
	Lasts time.Duration // mean
}

func (f Halves) String() string {
	return fmt.Sprintf("partitions into halves every %v for %v", f.Every, f.Lasts)
}

func (f Halves) start(s *cluster) {
	s.repeat(f.Every, func() {
		s.after(s.around(f.Lasts), s.network.part(s.sides(len(s.nodes)/2)))
	})
}
