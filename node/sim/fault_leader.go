package sim

import (
	"fmt"
	"time"
)

// LeaderDies takes whoever leads down for good.
type LeaderDies struct{ After time.Duration }

func (f LeaderDies) String() string { return fmt.Sprintf("the leader dies after %v", f.After) }

func (f LeaderDies) start(s *Sim) {
	s.after(f.After, func() {
		n := s.leading()
		if n.adversary != nil || n.dead {
			return // as good as dead
		}
		n.dead = true
		if n.alive {
			n.crash()
		}
	})
}

// SlowLeader delays every message of whoever leads by a random time.
type SlowLeader struct{ Min, Max time.Duration }

func (f SlowLeader) String() string {
	return fmt.Sprintf("messages of the leader %v to %v late", f.Min, f.Max)
}

func (f SlowLeader) start(s *Sim) {
	s.network.slow = func(i int) time.Duration {
		if int(s.leading().id) != i {
			return 0
		}
		return s.between(f.Min, f.Max)
	}
}
