package sim

import "context"

// value: unspent outputs and burned fees equal the supply of genesis (design §2.6).
func (c *checks) value(n *node) {
	a, err := n.state.Audit(context.Background())
	if err != nil {
		panic(err)
	}
	if !a.Conserved() {
		c.s.fail("value", "replica %d: %d unspent and %d burned of %d at height %d", n.id, a.Unspent, a.Burned, a.Genesis, a.Height)
	}
}
