package disturbance

import (
	"fmt"
	"time"

	"bdtnode/node/sim/machine"
	"bdtnode/node/sim/network"
	"bdtnode/protocols"
)

// LeaderDies takes the current leader down for good.
type LeaderDies struct{ After time.Duration }

func (f LeaderDies) String() string {
	return fmt.Sprintf("the leader fails for good after %v", f.After)
}

func (f LeaderDies) Start(s *machine.Shard) {
	s.After(f.After, func() {
		n := s.Leading()
		if !n.Honest() || n.Dead() {
			return // it is one of the f that fail already
		}
		n.Kill()
	})
}

// SlowLeader delays every message of the current leader by a random time.
type SlowLeader struct{ Min, Max time.Duration }

func (f SlowLeader) String() string {
	return fmt.Sprintf("messages of the leader delayed by %v to %v", f.Min, f.Max)
}

func (f SlowLeader) Start(s *machine.Shard) {
	s.Network.Hinder(func(from, _ protocols.Index, _ network.Packet) (time.Duration, bool) {
		if s.Leading().ID() != from {
			return 0, false
		}
		return s.Between(f.Min, f.Max), false
	})
}
