package check

import "bdtnode/node/sim/observe"

// value: unspent outputs and burned fees equal the supply of genesis (design §2.6).
func (s *Shard) value(n observe.Replica) {
	a := n.Audit()
	if !a.Conserved() {
		s.Fail("value", "replica %d: %d unspent and %d burned of %d at height %d", n.ID(), a.Unspent, a.Burned, a.Genesis, a.Height)
	}
}
