package sim

import (
	"fmt"
	"time"
)

// Partitions separates the replicas into two groups that cannot reach each other, and joins them again.
type Partitions struct {
	Every time.Duration // mean
	Lasts time.Duration // mean
}

func (f Partitions) String() string {
	return fmt.Sprintf("partitions every %v for %v", f.Every, f.Lasts)
}

func (f Partitions) start(s *cluster) {
	s.repeat(f.Every, func() {
		side := make([]bool, len(s.nodes))
		for i := range side {
			side[i] = s.rng.IntN(2) == 0
		}
		s.after(s.around(f.Lasts), s.network.part(side))
	})
}
