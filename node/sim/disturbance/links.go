package disturbance

import (
	"fmt"
	"time"

	"bdtnode/node/sim/machine"
)

// LinkBreaks breaks one connection at a time. Frames under way on it are lost.
type LinkBreaks struct {
	Every time.Duration // mean
}

func (f LinkBreaks) String() string { return fmt.Sprintf("link breaks every %v", f.Every) }

func (f LinkBreaks) Start(s *machine.Shard) {
	s.Repeat(f.Every, func() {
		i := s.Rand.IntN(len(s.Machines))
		s.Network.Sever(i, (i+1+s.Rand.IntN(len(s.Machines)-1))%len(s.Machines))
	})
}
