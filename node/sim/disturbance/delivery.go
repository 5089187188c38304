package disturbance

import (
	"fmt"

	"bdtnode/node/sim/machine"
)

// Duplication delivers a share of all messages twice.
type Duplication struct{ Rate float64 }

func (f Duplication) String() string { return fmt.Sprintf("%.0f %% duplicated", 100*f.Rate) }

func (f Duplication) Start(s *machine.Shard) { s.Network.Duplicates = f.Rate }

// Reordering lets a share of all messages overtake others of their stream, or be overtaken.
type Reordering struct{ Rate float64 }

func (f Reordering) String() string { return fmt.Sprintf("%.0f %% reordered", 100*f.Rate) }

func (f Reordering) Start(s *machine.Shard) { s.Network.Reorders = f.Rate }
