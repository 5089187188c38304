// Package draw has the random numbers from which the parameters of a simulated run are drawn. Each purpose has numbers of
// its own, so that leaving out another disturbance or behaviour does not change them.
package draw

import (
	"math/rand/v2"
	"time"

	"bdtnode/internal/digest"
	"bdtnode/internal/wire"
)

// Source has the random numbers of one purpose.
type Source struct {
	*rand.Rand
	length time.Duration // of the time with disturbances
}

// New is the source of a purpose, in the run of a seed, at a place: a shard or a replica.
func New(seed uint64, place int, purpose string, length time.Duration) Source {
	d := digest.Of("bdt/simulated-draw/1", wire.AppendU64(wire.AppendU64(nil, seed), uint64(place)), []byte(purpose))
	return Source{rand.New(rand.NewChaCha8(d)), length}
}

// Milliseconds is a whole number of milliseconds in a range.
func (s Source) Milliseconds(from, to int) time.Duration {
	return time.Duration(from+s.IntN(to-from)) * time.Millisecond
}

// During is a time in the first two thirds of the time with disturbances.
func (s Source) During() time.Duration {
	return time.Duration(s.Float64() * float64(s.length) * 2 / 3)
}

// Float is a number in a range.
func (s Source) Float(from, to float64) float64 { return from + (to-from)*s.Float64() }
