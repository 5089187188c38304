package sim

import (
	"time"

	"bdtnode/shard/settlement"
)

// crossing is the network between the shards: one topic of gossip for each, which loses, duplicates and reorders
// messages, and requests from any replica to any other, which may get no answer.
type crossing struct {
	w          *world
	delay      time.Duration // mean, one way
	lost       float64       // share of gossip that does not arrive
	deaf       int           // while above 0 no gossip arrives at all
	duplicates float64
	cuts       [][]int           // partitions between two shards
	slow       [][]time.Duration // additional delay of messages from one shard to another
}

func newCrossing(w *world) *crossing {
	x := &crossing{w: w, delay: time.Millisecond, cuts: make([][]int, len(w.shards)), slow: make([][]time.Duration, len(w.shards))}
	for s := range x.cuts {
		x.cuts[s], x.slow[s] = make([]int, len(w.shards)), make([]time.Duration, len(w.shards))
	}
	return x
}

// part and join are called at the beginning and the end of a partition between two shards.
func (x *crossing) part(a, b int) { x.cuts[a][b]++; x.cuts[b][a]++ }

func (x *crossing) join(a, b int) { x.cuts[a][b]--; x.cuts[b][a]-- }

// heal ends all faults, except a loss of all gossip.
func (x *crossing) heal() {
	if x.lost < 1 {
		x.lost = 0
	}
	x.deaf, x.duplicates = 0, 0
	for s := range x.cuts {
		clear(x.cuts[s])
		clear(x.slow[s])
	}
}

// carry runs an event at a replica of another shard after a delay, if that replica can be reached and is up then.
func (x *crossing) carry(from, to *node, what func()) {
	a, b := from.s.shard, to.s.shard
	if x.cuts[a][b] > 0 {
		return
	}
	x.w.after(x.delay/4+x.w.around(x.delay*3/4)+x.slow[a][b], func() {
		if x.cuts[a][b] == 0 && to.alive {
			to.s.guard(to, what)
		}
	})
}

// gossip carries an LD to all replicas of its destination, or loses it.
func (x *crossing) gossip(from *node, ld *settlement.LD) {
	for _, to := range x.w.shards[ld.Delivery.Destination].nodes {
		for _, p := range from.told(to, ld) {
			for copies := x.copies(); copies > 0; copies-- {
				x.carry(from, to, func() { to.take(from, p) })
			}
		}
	}
}

func (x *crossing) copies() int {
	switch {
	case x.deaf > 0 || x.lost > 0 && x.w.rng.Float64() < x.lost:
		return 0
	case x.duplicates > 0 && x.w.rng.Float64() < x.duplicates:
		return 2
	}
	return 1
}
