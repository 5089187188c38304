package disturbance

import (
	"fmt"
	"time"

	"bdtnode/node/sim/machine"
)

// PowerCuts crashes all replicas at once.
type PowerCuts struct {
	Every time.Duration // mean
	Down  time.Duration // mean, of each
}

func (f PowerCuts) String() string { return fmt.Sprintf("power cuts every %v for %v", f.Every, f.Down) }

func (f PowerCuts) Start(s *machine.Shard) {
	s.Repeat(f.Every, func() {
		for _, n := range s.Machines {
			n.Fall(f.Down)
		}
	})
}
