package sim

import "fmt"

// unsettled describes pending work, empty if there is none. Nothing is pending when every accepted transaction has its
// final answer at every honest replica, and all have committed, executed and certified one height (design §2.8).
// Exceptions are a transaction with an input that is unknown everywhere, and one that expires beyond the horizon.
func (c *checks) unsettled() string {
	honest := c.s.honest()
	top := c.agreement.top
	for _, n := range honest {
		st := n.core.Status()
		if !n.alive || st.Committed != top || n.state.Height() != top || st.Certified != top {
			return fmt.Sprintf("replica %d (up: %v) has committed %d, executed %d and certified %d of %d",
				n.id, n.alive, st.Committed, n.state.Height(), st.Certified, top)
		}
	}
	return ""
}
