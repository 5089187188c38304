package machine

import "bdtnode/protocols/bdt"

// executor applies the committed blocks of a life to the ledger.
type executor struct {
	n          *Machine
	deliveries []*bdt.Delivery
	executing  bool
}

// execute applies committed blocks to the ledger, one at a time.
func (e *executor) execute() {
	n := e.n
	if e.executing || len(e.deliveries) == 0 {
		return
	}
	e.executing = true
	n.after(n.s.Around(n.s.ExecMean), func() {
		d := e.deliveries[0]
		e.deliveries = e.deliveries[1:]
		e.executing = false
		x, err := n.driver.Execute(d)
		must(err)
		h := x.Block.Header.Height
		n.s.Trace.Add(n.s.Now(), "executed", n.place, -1, x.Block.HeaderDigest[:], h)
		n.s.check.Executed(n, &x.Ordered, x.Block)
		if n.s.Rand.IntN(16) == 0 {
			must(n.chain.Flush())
		}
		n.do(func() {
			n.driver.Notify(x)
			n.driver.Executed(x)
		})
		if n.alive {
			e.execute()
		}
	})
}
