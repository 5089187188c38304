package sim

import (
	"fmt"
	"time"
)

// GossipLoss loses a share of all gossiped LDs. With a rate of 1 all are lost, and the loss does not end with the other
// faults.
type GossipLoss struct{ Rate float64 }

func (f GossipLoss) String() string { return fmt.Sprintf("%.0f %% of gossip lost", 100*f.Rate) }

func (f GossipLoss) begin(w *world) {
	w.crossing.lost = max(w.crossing.lost, f.Rate)
}

// GossipBursts loses all gossip for a while, again and again.
type GossipBursts struct {
	Every time.Duration // mean
	Lasts time.Duration // mean
}

func (f GossipBursts) String() string {
	return fmt.Sprintf("gossip lost every %v for %v", f.Every, f.Lasts)
}

func (f GossipBursts) begin(w *world) {
	w.repeat(f.Every, func() {
		w.crossing.deaf++
		w.after(w.around(f.Lasts), func() {
			if w.active {
				w.crossing.deaf--
			}
		})
	})
}

// GossipDuplication delivers a share of gossip twice.
type GossipDuplication struct{ Rate float64 }

func (f GossipDuplication) String() string { return fmt.Sprintf("%.0f %% of gossip twice", 100*f.Rate) }

func (f GossipDuplication) begin(w *world) { w.crossing.duplicates = f.Rate }
