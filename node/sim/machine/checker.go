package machine

import "time"

// checkMean is the mean time of a check of batches.
const checkMean = 2 * time.Millisecond

// checker checks the signatures of batches of a life, as the checker goroutine of a process does.
type checker struct {
	n        *Machine
	checking bool
}

// check checks the batches that wait, group by group.
func (c *checker) check() {
	n := c.n
	if c.checking {
		return
	}
	c.checking = true
	n.after(n.s.Around(checkMean), func() {
		c.checking = false
		some, err := n.driver.Execution().CheckBatches()
		must(err)
		if some {
			n.do(func() {})
			if n.alive {
				c.check()
			}
		}
	})
}
