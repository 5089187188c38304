package sim

import (
	"fmt"
	"time"
)

// ClockSkew sets each replica's clock ahead or behind by at most Max.
type ClockSkew struct{ Max time.Duration }

func (f ClockSkew) String() string { return fmt.Sprintf("clock offsets of %v", f.Max) }

func (f ClockSkew) start(s *cluster) {
	for _, n := range s.nodes {
		n.skew = s.between(-f.Max, f.Max)
	}
}

// SlowDisks makes a sync take a random time.
type SlowDisks struct{ Mean time.Duration }

func (f SlowDisks) String() string { return fmt.Sprintf("syncs of %v", f.Mean) }

func (f SlowDisks) start(s *cluster) { s.syncMean = f.Mean }

// SlowExecution makes the execution of a block take a random time.
type SlowExecution struct{ Mean time.Duration }

func (f SlowExecution) String() string { return fmt.Sprintf("execution of %v", f.Mean) }

func (f SlowExecution) start(s *cluster) { s.execMean = f.Mean }
