package disturbance

import (
	"fmt"
	"time"

	"bdtnode/node/sim/machine"
)

// Crashes stops one replica at a time at random moments, also between writing and sending. It starts the replica again
// from its disk.
type Crashes struct {
	Every time.Duration // mean
	Down  time.Duration // mean
}

func (f Crashes) String() string { return fmt.Sprintf("crashes every %v for %v", f.Every, f.Down) }

func (f Crashes) Start(s *machine.Shard) {
	s.CrashPoint = func(n *machine.Machine) bool { return f.crashPoint(s, n) }
	s.Repeat(f.Every, func() { s.Machines[s.Rand.IntN(len(s.Machines))].Fall(f.Down) })
}

// crashPoint sometimes crashes a replica at a place that a random moment would seldom hit. It reports whether it did.
func (f Crashes) crashPoint(s *machine.Shard, n *machine.Machine) bool {
	if !s.Active || s.Rand.Float64() >= float64(10*time.Millisecond)/float64(f.Every)/16 {
		return false
	}
	n.Fall(f.Down)
	return true
}
