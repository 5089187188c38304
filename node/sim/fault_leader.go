package sim

import (
	"fmt"
	"time"

	"bdtnode/protocols"
)

// LeaderDies takes the current leader down for good.
type LeaderDies struct{ After time.Duration }

func (f LeaderDies) String() string {
	return fmt.Sprintf("the leader fails for good after %v", f.After)
}

func (f LeaderDies) start(s *cluster) {
	s.after(f.After, func() {
		n := s.leading()
		if n.adversary != nil || n.dead {
			return // it is one of the f that fail already
		}
		n.dead = true
		if n.alive {
			n.crash()
		}
	})
}

// SlowLeader delays every message of the current leader by a random time.
type SlowLeader struct{ Min, Max time.Duration }

func (f SlowLeader) String() string {
	return fmt.Sprintf("messages of the leader delayed by %v to %v", f.Min, f.Max)
}

func (f SlowLeader) start(s *cluster) {
	s.network.hinder(func(from, _ protocols.Index, _ packet) (time.Duration, bool) {
		if s.leading().id != from {
			return 0, false
		}
		return s.between(f.Min, f.Max), false
	})
}
