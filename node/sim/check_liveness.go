package sim

import "fmt"

// unsettled says what is still to come, if anything is: every accepted transaction has its final answer at every
// honest replica, unless an input of it is unknown everywhere or it expires beyond the horizon, and all have committed, executed and certified one
// height (DESIGN §2.8).
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
