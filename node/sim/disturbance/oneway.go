package disturbance

import (
	"fmt"
	"time"

	"bdtnode/node/sim/machine"
)

// OneWay stalls one direction of a connection, or of all connections between two groups: one side receives the messages
// of the other, and not the other way around. Connections stay up meanwhile, and those that break do not come up again.
// At the end the stalled messages arrive, or are lost with the connection.
type OneWay struct {
	Every time.Duration // mean
	Lasts time.Duration // mean
}

func (f OneWay) String() string {
	return fmt.Sprintf("one direction stalled every %v for %v", f.Every, f.Lasts)
}

func (f OneWay) Start(s *machine.Shard) {
	s.Repeat(f.Every, func() {
		n := len(s.Machines)
		mute := make([]bool, n) // the others do not receive its messages
		deaf := make([]bool, n)
		if s.Rand.IntN(2) == 0 {
			i := s.Rand.IntN(n)
			mute[i], deaf[(i+1+s.Rand.IntN(n-1))%n] = true, true
		} else {
			mute = sides(s, 1+s.Rand.IntN(n-1))
			for i := range deaf {
				deaf[i] = !mute[i]
			}
		}
		var ends []func(lost bool)
		for i := range mute {
			for j := range deaf {
				if mute[i] && deaf[j] {
					ends = append(ends, s.Network.Stall(i, j))
				}
			}
		}
		s.After(s.Around(f.Lasts), func() {
			lost := s.Rand.IntN(2) == 0
			for _, end := range ends {
				end(lost)
			}
		})
	})
}
