package disturbance

import (
	"fmt"
	"time"

	"bdtnode/node/sim/machine"
)

// ClockSteps sets the wall clock of one replica at a time ahead or back, and corrects it after a while.
type ClockSteps struct {
	Every time.Duration // mean
	Lasts time.Duration // mean
	Most  time.Duration // maximal offset of a clock
}

func (f ClockSteps) String() string {
	return fmt.Sprintf("a clock is set by up to %v every %v for %v", f.Most, f.Every, f.Lasts)
}

func (f ClockSteps) Start(s *machine.Shard) {
	set := false
	to := func(n *machine.Machine, skew time.Duration) (before time.Duration) {
		s.Trace.Add(s.Now(), "clock", n.Place(), -1, nil, skew)
		s.Trace.Clocks++
		return n.SetSkew(skew)
	}
	s.Repeat(f.Every, func() {
		if set {
			return
		}
		n, skew := s.Machines[s.Rand.IntN(len(s.Machines))], s.Between(-f.Most, f.Most)
		right := to(n, skew)
		set = true
		s.After(s.Around(f.Lasts), func() {
			to(n, right)
			set = false
		})
	})
}
