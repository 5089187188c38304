package disturbance

import (
	"fmt"
	"time"

	"bdtnode/node/sim/machine"
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

func (f CutOff) Start(s *machine.Shard) {
	s.After(s.Around(f.Every), func() {
		if !s.Active {
			return
		}
		join := s.Network.Part(sides(s, s.Config.Faulty()))
		s.After(s.Between(f.Shortest, f.Longest), func() {
			join()
			f.Start(s)
		})
	})
}
