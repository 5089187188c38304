package disturbance

import (
	"fmt"
	"time"

	"bdtnode/node/sim/machine"
)

// Partitions separates the replicas into two groups that cannot reach each other, and joins them again.
type Partitions struct {
	Every time.Duration // mean
	Lasts time.Duration // mean
}

func (f Partitions) String() string {
	return fmt.Sprintf("partitions every %v for %v", f.Every, f.Lasts)
}

func (f Partitions) Start(s *machine.Shard) {
	s.Repeat(f.Every, func() {
		side := make([]bool, len(s.Machines))
		for i := range side {
			side[i] = s.Rand.IntN(2) == 0
		}
		s.After(s.Around(f.Lasts), s.Network.Part(side))
	})
}
