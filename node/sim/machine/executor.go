package machine

import (
	"sort"

	"bdtnode/protocols/bdt"
)

// executor applies the committed blocks of a life to the ledger.
type executor struct {
	n          *Machine
	deliveries []*bdt.Delivery
	executing  bool
	marks      []mark // of the executed blocks whose effects may be on no disk
}

// mark has the numbers of batches that the two stores had when a block was executed.
type mark struct{ ledger, consensus int }

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
		x, err := n.driver.Execution().Execute(d)
		must(err)
		h := x.Block.Header.Height
		n.s.Trace.Add(n.s.Now(), "executed", n.place, -1, x.Block.HeaderDigest[:], h)
		n.s.check.Executed(n, &x.Ordered, x.Block)
		e.marks = append(e.marks, mark{n.effects.Applied(), n.store.Applied()})
		if n.s.Rand.IntN(16) == 0 {
			e.flush()
		}
		n.do(func() {
			n.driver.Execution().Notify(x)
			n.driver.Executed(x)
		})
		if n.alive {
			e.execute()
		}
	})
}

// flush makes the effects of all executed blocks durable. As in the node, the consensus store is synced before.
func (e *executor) flush() {
	n := e.n
	if !n.s.Config.Mutation.LedgerFirst {
		n.disk.sync()
	}
	must(n.chain.Flush())
	e.marks = e.marks[:0]
}

// survive chooses the numbers of unsynced batches of the two stores that survive a crash. The process may have written the
// effects of any number of executed blocks to the disk by then, and before each time it has synced the consensus store.
func (e *executor) survive() (consensus, ledger int) {
	n := e.n
	consensus, ledger = n.s.Rand.IntN(n.store.Unsynced()+1), n.s.Rand.IntN(n.effects.Unsynced()+1)
	if n.s.Config.Mutation.LedgerFirst || ledger == 0 || len(e.marks) == 0 {
		return consensus, ledger
	}
	written := n.effects.Applied() - n.effects.Unsynced() + ledger
	k := sort.Search(len(e.marks)-1, func(k int) bool { return e.marks[k].ledger >= written })
	synced := n.store.Applied() - n.store.Unsynced()
	return max(consensus, e.marks[k].consensus-synced), ledger
}
