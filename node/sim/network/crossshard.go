package network

import (
	"time"

	"bdtnode/node/sim/clock"
)

// CrossShard is the network between the shards: one topic of gossip for each, which loses, duplicates and reorders
// messages, and requests from any replica to any other, which may get no answer.
type CrossShard struct {
	Delay      time.Duration // mean, one way
	Lost       float64       // share of gossip that does not arrive
	Outages    int           // while above 0 no gossip arrives at all
	Duplicates float64       // share of gossip that arrives twice

	clock *clock.Clock
	cuts  [][]int           // partitions between two shards
	slow  [][]time.Duration // additional delay of messages from one shard to another
}

// Site is a node of one of the shards.
type Site interface {
	Shard() uint16
	Alive() bool
	// Guard runs an action of the node.
	Guard(action func())
}

// NewCrossShard is the network between a number of shards, with a mean one-way delay.
func NewCrossShard(c *clock.Clock, shards int, delay time.Duration) *CrossShard {
	x := &CrossShard{clock: c, Delay: delay, cuts: make([][]int, shards), slow: make([][]time.Duration, shards)}
	for s := range x.cuts {
		x.cuts[s], x.slow[s] = make([]int, shards), make([]time.Duration, shards)
	}
	return x
}

// Part begins a partition between two shards.
func (x *CrossShard) Part(a, b int) { x.cuts[a][b]++; x.cuts[b][a]++ }

// Join ends a partition between two shards.
func (x *CrossShard) Join(a, b int) { x.cuts[a][b]--; x.cuts[b][a]-- }

// Slow delays the messages of one shard to another in addition.
func (x *CrossShard) Slow(from, to int, by time.Duration) { x.slow[from][to] = by }

// Heal ends all disturbances, except a loss of all gossip.
func (x *CrossShard) Heal() {
	if x.Lost < 1 {
		x.Lost = 0
	}
	x.Outages, x.Duplicates = 0, 0
	for s := range x.cuts {
		clear(x.cuts[s])
		clear(x.slow[s])
	}
}

// Carry carries out an action at a replica of another shard after a delay, if that replica can be reached and is up
// then.
func (x *CrossShard) Carry(from, to Site, action func()) {
	a, b := from.Shard(), to.Shard()
	if x.cuts[a][b] > 0 {
		return
	}
	x.clock.After(x.Delay/4+x.clock.Around(x.Delay*3/4)+x.slow[a][b], func() {
		if x.cuts[a][b] == 0 && to.Alive() {
			to.Guard(action)
		}
	})
}

// Copies draws the number of times that a gossiped message arrives at one receiver.
func (x *CrossShard) Copies() int {
	switch {
	case x.Outages > 0 || x.Lost > 0 && x.clock.Rand.Float64() < x.Lost:
		return 0
	case x.Duplicates > 0 && x.clock.Rand.Float64() < x.Duplicates:
		return 2
	}
	return 1
}
