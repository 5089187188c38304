package check

import "fmt"

// unsettled describes pending work, empty if there is none. Nothing is pending when every accepted transaction has its
// final answer at every honest replica, and all have committed, executed and certified one height (design §2.8).
// Exceptions are a transaction with an input that is unknown everywhere, and one that expires beyond the horizon.
func (s *Shard) unsettled() string {
	honest := s.honest()
	top := s.agreement.top
	for _, n := range honest {
		st := n.Status()
		if !n.Alive() || st.Committed != top || n.Height() != top || st.Certified != top {
			return fmt.Sprintf("replica %d (up: %v) has committed %d, executed %d and certified %d of %d",
				n.ID(), n.Alive(), st.Committed, n.Height(), st.Certified, top)
		}
	}
	return ""
}
