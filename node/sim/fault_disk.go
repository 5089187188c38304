package sim

import (
	"fmt"
	"time"

	"bdtnode/internal/kv"
)

// LosesDisk empties the stores of a replica for good.
type LosesDisk struct{ After time.Duration }

func (f LosesDisk) String() string { return fmt.Sprintf("a replica loses its disk after %v", f.After) }

func (f LosesDisk) start(s *cluster) {
	s.after(f.After, func() { s.replace(s.upright(), kv.NewMem(), kv.NewMem()) })
}

// OldStore restores an old copy of a replica's stores, once the replica's peers have newer signatures of it.
type OldStore struct {
	After time.Duration // time at which the copy is made
	Votes bool          // the newer signatures are votes and no header
}

func (f OldStore) String() string {
	return fmt.Sprintf("a replica goes back to a copy of its stores of after %v", f.After)
}

func (f OldStore) start(s *cluster) { s.after(f.After, func() { f.copy(s) }) }

// copyAge is the time after which another copy is made, if the replica signed nothing of the required kind since.
const copyAge = 2 * time.Second

func (f OldStore) copy(s *cluster) {
	n := s.upright()
	store, effects, life := n.store.Fork(), n.effects.Fork(), n.life
	said, made := s.check.identity.spoke[n.id], s.now
	var look func()
	look = func() {
		switch {
		case !s.active:
		case n.life != life || s.now.Sub(made) > copyAge:
			f.copy(s)
		case s.check.identity.later(n, said, f.Votes):
			s.replace(n, store, effects)
		default:
			s.after(5*time.Millisecond, look)
		}
	}
	look()
}

// upright is a replica that is up and not Byzantine.
func (s *cluster) upright() *node {
	for {
		if n := s.nodes[s.rng.IntN(s.cfg.Nodes)]; n.alive && n.adversary == nil {
			return n
		}
	}
}

// replace crashes a replica and starts it with other stores.
func (s *cluster) replace(n *node, store, effects *kv.Mem) {
	n.crash()
	n.store, n.effects, n.replaced = store, effects, true
	s.trace.add(s.now, "replaced", n.place, -1, nil, nil)
	s.after(100*time.Millisecond, func() { s.guard(n, n.start) })
}
