package disturbance

import (
	"fmt"
	"time"

	"bdtnode/node/sim/machine"
)

// LosesDisk empties the stores of a replica for good.
type LosesDisk struct{ After time.Duration }

func (f LosesDisk) String() string { return fmt.Sprintf("a replica loses its disk after %v", f.After) }

func (f LosesDisk) Start(s *machine.Shard) {
	s.After(f.After, func() { replace(s, upright(s), machine.EmptyStores()) })
}

// OldStore restores an old copy of a replica's stores, once the replica's peers have newer signatures of it.
type OldStore struct {
	After time.Duration // time at which the copy is made
	Votes bool          // the newer signatures are votes and no header
}

func (f OldStore) String() string {
	return fmt.Sprintf("a replica goes back to a copy of its stores of after %v", f.After)
}

func (f OldStore) Start(s *machine.Shard) { s.After(f.After, func() { f.copy(s) }) }

// copyAge is the time after which another copy is made, if the replica signed nothing of the required kind since.
const copyAge = 2 * time.Second

func (f OldStore) copy(s *machine.Shard) {
	n := upright(s)
	stores, life := n.CopyStores(), n.Life()
	newer, made := s.Newer(n), s.Now()
	var look func()
	look = func() {
		switch {
		case !s.Active:
		case n.Life() != life || s.Now().Sub(made) > copyAge:
			f.copy(s)
		case newer(f.Votes):
			replace(s, n, stores)
		default:
			s.After(5*time.Millisecond, look)
		}
	}
	look()
}

// upright is a replica that is up and not Byzantine.
func upright(s *machine.Shard) *machine.Machine {
	for {
		if n := s.Machines[s.Rand.IntN(s.Config.Replicas)]; n.Alive() && n.Honest() {
			return n
		}
	}
}

// replace crashes a replica and starts it with other stores.
func replace(s *machine.Shard, n *machine.Machine, stores machine.Stores) {
	n.Crash()
	n.SetStores(stores, true)
	s.Trace.Add(s.Now(), "replaced", n.Place(), -1, nil, nil)
	s.After(100*time.Millisecond, n.Start)
}
