package sim

import (
	"time"

	"bdtnode/ledger"
)

// graceful is the time after its expiry within which an accepted transaction must have its final answer, once there are
// no faults: the clocks' differences, one batch a second, and a block.
const graceful = 2 * time.Minute

// promises: an honest replica keeps each accepted transaction until its final answer, over restarts too, and that
// answer comes. A final answer is never contradicted. Only processable transactions enter its batches.
type promises struct {
	s     *cluster
	never map[ledger.TxID]bool // transactions with an input that is never created
}

func newPromises(s *cluster) promises { return promises{s: s, never: make(map[ledger.TxID]bool)} }

// kept is called when a replica is asked for the transactions that it accepted.
func (c *promises) kept(n *node) {
	if n.replaced {
		return // its store was lost, and its peers will report that to it
	}
	open := n.promised[:0]
	for _, tx := range n.promised {
		id := tx.ID()
		p, ok := n.find(id)
		if !ok && !c.replayed(n, id) {
			c.s.fail("promises", "replica %d has accepted transaction %s and has lost it", n.id, id)
			return
		}
		if p.Refusal != nil && !p.Refusal.Final() {
			c.s.fail("promises", "replica %d has accepted transaction %s and then refuses it: %v", n.id, id, p.Refusal)
			return
		}
		if p.Refusal != nil {
			c.refused(n, id, p.Refusal.Reason)
			c.s.submissions.told[id], c.s.clients.doomed[id] = p.Refusal.Reason, p.Refusal.Reason
		}
		if !p.Ended() {
			open = append(open, tx)
		}
	}
	n.promised = open
}

// replayed reports whether a replica will know a transaction once it has executed its committed blocks again.
func (c *promises) replayed(n *node, id ledger.TxID) bool {
	for _, answers := range []map[ledger.TxID]ledger.Receipt{c.s.check.durability.answers, c.s.check.durability.spent} {
		if r, ok := answers[id]; ok && r.Height > n.state.Height() {
			return true
		}
	}
	return false
}

// refused: an honest replica answered that a transaction never settles.
func (c *promises) refused(n *node, id ledger.TxID, reason ledger.Reason) {
	if r, ok := c.s.check.durability.answers[id]; ok && r.Verdict == ledger.VerdictSettled {
		c.s.fail("promises", "replica %d refuses transaction %s for good (%v), which has settled at height %d", n.id, id, reason, r.Height)
	}
}

// batched: transactions are in a batch of an honest replica's own lane, on its disk.
func (c *promises) batched(n *node, txs []*ledger.Tx) {
	for _, tx := range txs {
		if c.never[tx.ID()] {
			c.s.fail("promises", "replica %d puts transaction %s into a batch, whose input is never created", n.id, tx.ID())
		}
	}
}

// ended: long after the faults, every accepted transaction that has expired has its final answer at the replica that
// accepted it.
func (c *promises) ended(n *node) {
	c.kept(n)
	for _, tx := range n.promised {
		if p, _ := n.find(tx.ID()); p.Receipt.Verdict == ledger.VerdictSpent && c.s.involved(tx) {
			continue // it is in escrow until a hostile shard gives its verdict
		}
		if c.s.now.Millis() > tx.ExpiryMS+uint64(graceful/time.Millisecond) {
			c.s.fail("promises", "replica %d has accepted transaction %s, which has expired, and has no final answer", n.id, tx.ID())
		}
	}
}
