package sim

import (
	"fmt"
	"time"
)

// Partitions parts the replicas into two groups that cannot reach each other, and joins them again.
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
		var parted [][2]int
		for i := range side {
			for j := range i {
				if side[i] != side[j] {
					parted = append(parted, [2]int{i, j})
					s.network.pairs[i][j].cuts++
					s.network.sever(i, j)
				}
			}
		}
		s.after(s.around(f.Lasts), func() {
			for _, p := range parted {
				if pair := s.network.pairs[p[0]][p[1]]; s.active {
					pair.cuts--
				}
				s.network.connect(p[0], p[1])
			}
		})
	})
}
