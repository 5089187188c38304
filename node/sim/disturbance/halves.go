package disturbance

import (
	"fmt"
	"time"

	"bdtnode/node/sim/machine"
)

// Halves partitions the replicas in the middle, so that neither side has a quorum, and joins them again.
type Halves struct {
	Every time.Duration // mean
	Lasts time.Duration // mean
}

func (f Halves) String() string {
	return fmt.Sprintf("partitions into halves every %v for %v", f.Every, f.Lasts)
}

func (f Halves) Start(s *machine.Shard) {
	s.Repeat(f.Every, func() {
		s.After(s.Around(f.Lasts), s.Network.Part(sides(s, len(s.Machines)/2)))
	})
}
