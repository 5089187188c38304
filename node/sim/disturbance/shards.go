package disturbance

import (
	"fmt"
	"time"

	"bdtnode/node/sim/machine"
)

// ShardPartitions separates one shard from another, or from all others, and joins them again.
type ShardPartitions struct {
	Every time.Duration // mean
	Lasts time.Duration // mean
}

func (f ShardPartitions) String() string {
	return fmt.Sprintf("shards partitioned every %v for %v", f.Every, f.Lasts)
}

func (f ShardPartitions) Start(w *machine.System) {
	w.Repeat(f.Every, func() {
		a := w.Rand.IntN(len(w.Shards))
		only, all := w.Rand.IntN(len(w.Shards)), w.Rand.IntN(2) == 0
		var parted []int
		for b := range w.Shards {
			if b != a && (all || b == only) {
				parted = append(parted, b)
				w.CrossShard.Part(a, b)
			}
		}
		w.After(w.Around(f.Lasts), func() {
			for _, b := range parted {
				if w.Active {
					w.CrossShard.Join(a, b)
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

func (f ShardOutages) Start(w *machine.System) {
	w.Repeat(f.Every, func() {
		s := w.Shards[w.Rand.IntN(len(w.Shards))]
		for _, n := range s.Machines {
			n.Fall(f.Down)
		}
	})
}
