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
	for _, id := range c.s.clients.order {
		if c.s.clients.answered(id) {
			continue
		}
		tx := c.s.clients.accepted[id]
		if tx.ExpiryMS > c.s.now.Millis()+c.s.ledger.HorizonMS {
			continue // taken while an input was unknown, and too early
		}
		for _, n := range honest {
			tip, _, _ := n.state.Tip()
			refusal, err := n.state.Precheck(tx, tip.TimeMS)
			if err != nil {
				panic(err)
			}
			if refusal == nil || refusal.Final() {
				return fmt.Sprintf("transaction %s has no answer; replica %d would say %v", id, n.id, refusal)
			}
		}
	}
	return ""
}
