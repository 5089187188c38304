package disturbance

import (
	"fmt"
	"time"

	"bdtnode/node/sim/machine"
)

// GossipLoss loses a share of all gossiped LDs. With a rate of 1 all are lost, and the loss does not end with the other
// faults.
type GossipLoss struct{ Rate float64 }

func (f GossipLoss) String() string { return fmt.Sprintf("%.0f %% of gossip lost", 100*f.Rate) }

func (f GossipLoss) Start(w *machine.System) {
	w.CrossShard.Lost = max(w.CrossShard.Lost, f.Rate)
}

// GossipBursts loses all gossip for a while, again and again.
type GossipBursts struct {
	Every time.Duration // mean
	Lasts time.Duration // mean
}

func (f GossipBursts) String() string {
	return fmt.Sprintf("gossip lost every %v for %v", f.Every, f.Lasts)
}

func (f GossipBursts) Start(w *machine.System) {
	w.Repeat(f.Every, func() {
		w.CrossShard.Outages++
		w.After(w.Around(f.Lasts), func() {
			if w.Active {
				w.CrossShard.Outages--
			}
		})
	})
}

// GossipDuplication delivers a share of gossip twice.
type GossipDuplication struct{ Rate float64 }

func (f GossipDuplication) String() string { return fmt.Sprintf("%.0f %% of gossip twice", 100*f.Rate) }

func (f GossipDuplication) Start(w *machine.System) { w.CrossShard.Duplicates = f.Rate }
