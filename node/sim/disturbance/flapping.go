package disturbance

import (
	"fmt"
	"time"

	"bdtnode/node/sim/machine"
	"bdtnode/protocols"
)

// Flapping partitions the replicas into two groups and joins them again, at short intervals and for some seconds. So
// connections often break before they are used.
type Flapping struct {
	Every time.Duration // mean, from the begin of one to the next
	Lasts time.Duration // of each
	Turn  time.Duration // maximal length of one partition or of one connected interval; the minimum is a tenth of it
}

func (f Flapping) String() string {
	return fmt.Sprintf("partitions of at most %v, every %v for %v", f.Turn, f.Every, f.Lasts)
}

func (f Flapping) Start(s *machine.Shard) {
	s.Repeat(f.Every, func() { f.flap(s, sides(s, 1+s.Rand.IntN(len(s.Machines)-1)), s.Now().Add(f.Lasts)) })
}

// flap partitions two sides once, and repeats that until some time.
func (f Flapping) flap(s *machine.Shard, side []bool, until protocols.Time) {
	if !s.Active || s.Now() >= until {
		return
	}
	join := s.Network.Part(side)
	s.After(s.Between(f.Turn/10, f.Turn), func() {
		join()
		s.After(s.Between(f.Turn/10, f.Turn), func() { f.flap(s, side, until) })
	})
}

// sides puts this number of replicas, chosen at random, on one side and the others on the other.
func sides(s *machine.Shard, count int) []bool {
	side := make([]bool, len(s.Machines))
	for _, i := range s.Rand.Perm(len(s.Machines))[:count] {
		side[i] = true
	}
	return side
}
