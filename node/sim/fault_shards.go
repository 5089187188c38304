package sim

import (
	"fmt"
	"time"
)

// ShardPartitions separates one shard from another, or from all others, and joins them again.
type ShardPartitions struct {
	Every time.Duration // mean
	Lasts time.Duration // mean
}

func (f ShardPartitions) String() string {
	return fmt.Sprintf("shards partitioned every %v for %v", f.Every, f.Lasts)
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
