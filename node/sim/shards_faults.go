package sim

import (
	"fmt"
	"time"
)

// GossipLoss loses a share of all LDs that are gossiped. With a rate of 1 none ever arrives by itself, and the loss
// does not end with the other faults.
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

// GossipDuplication brings a share of what is gossiped twice.
type GossipDuplication struct{ Rate float64 }

func (f GossipDuplication) String() string { return fmt.Sprintf("%.0f %% of gossip twice", 100*f.Rate) }

func (f GossipDuplication) begin(w *world) { w.crossing.duplicates = f.Rate }

// ShardPartitions parts one shard from another, or from all others, and joins them again.
type ShardPartitions struct {
	Every time.Duration // mean
	Lasts time.Duration // mean
}

func (f ShardPartitions) String() string {
	return fmt.Sprintf("shards parted every %v for %v", f.Every, f.Lasts)
}

func (f ShardPartitions) begin(w *world) {
	w.repeat(f.Every, func() {
		a := w.rng.IntN(len(w.shards))
		only, all := w.rng.IntN(len(w.shards)), w.rng.IntN(2) == 0
		var parted []int
		for b := range w.shards {
			if b != a && (all || b == only) {
				parted = append(parted, b)
				w.crossing.part(a, b)
			}
		}
		w.after(w.around(f.Lasts), func() {
			for _, b := range parted {
				if w.active {
					w.crossing.join(a, b)
				}
			}
		})
	})
}

// ShardOutages crashes all replicas of a shard at once.
type ShardOutages struct {
	Every time.Duration // mean
	Down  time.Duration // mean, of each replica
}

func (f ShardOutages) String() string {
	return fmt.Sprintf("a shard down every %v for %v", f.Every, f.Down)
}

func (f ShardOutages) begin(w *world) {
	w.repeat(f.Every, func() {
		s := w.shards[w.rng.IntN(len(w.shards))]
		for _, n := range s.nodes {
			s.fell(n, f.Down)
		}
	})
}
