package disturbance

import (
	"fmt"
	"time"

	"bdtnode/node/sim/machine"
)

// ClockSkew sets each replica's clock ahead or behind by at most Max.
type ClockSkew struct{ Max time.Duration }

func (f ClockSkew) String() string { return fmt.Sprintf("clock offsets of %v", f.Max) }

func (f ClockSkew) Start(s *machine.Shard) {
	for _, n := range s.Machines {
		n.SetSkew(s.Between(-f.Max, f.Max))
	}
}

// SlowDisks makes a sync take a random time.
type SlowDisks struct{ Mean time.Duration }

func (f SlowDisks) String() string { return fmt.Sprintf("syncs of %v", f.Mean) }

func (f SlowDisks) Start(s *machine.Shard) { s.SyncMean = f.Mean }

// SlowExecution makes the execution of a block take a random time.
type SlowExecution struct{ Mean time.Duration }

func (f SlowExecution) String() string { return fmt.Sprintf("execution of %v", f.Mean) }

func (f SlowExecution) Start(s *machine.Shard) { s.ExecMean = f.Mean }
