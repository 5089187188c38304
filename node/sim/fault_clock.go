package sim

import (
	"fmt"
	"time"
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

func (f ClockSteps) start(s *cluster) {
	set := false
	s.repeat(f.Every, func() {
		if set {
			return
		}
		n, right := s.nodes[s.rng.IntN(len(s.nodes))], time.Duration(0)
		right, n.skew, set = n.skew, s.between(-f.Most, f.Most), true
		s.trace.add(s.now, "clock", n.place, -1, nil, n.skew)
		s.after(s.around(f.Lasts), func() {
			n.skew, set = right, false
			s.trace.add(s.now, "clock", n.place, -1, nil, n.skew)
		})
	})
}
