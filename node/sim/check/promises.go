package check

import (
	"time"

	"bdtnode/ledger"
	"bdtnode/node/sim/observe"
)

// graceful is the time after its expiry within which an accepted transaction must have its final answer, once there are
// no faults: the clocks' differences, one batch a second, and a block.
const graceful = 2 * time.Minute

// promises: an honest replica keeps each accepted transaction until its final answer, over restarts too, and that
// answer comes. A final answer is never contradicted. Only processable transactions enter its batches.
type promises struct {
	s     *Shard
	open  [][]*ledger.Tx                // by place: accepted since genesis, and without a final answer yet
	never map[ledger.TxID]bool          // transactions with an input that is never created
	final map[ledger.TxID]ledger.Reason // refused for good by an honest replica: it must never settle
}

func newPromises(s *Shard) promises {
	return promises{s: s, open: make([][]*ledger.Tx, s.Places), never: make(map[ledger.TxID]bool), final: make(map[ledger.TxID]ledger.Reason)}
}

// accepted is called when a replica accepted a transaction.
func (c *promises) accepted(n observe.Replica, tx *ledger.Tx) {
	c.open[n.Place()] = append(c.open[n.Place()], tx)
}

// kept is called when a replica is asked for the transactions that it accepted.
func (c *promises) kept(n observe.Replica) {
	if n.Replaced() {
		return // its store was lost, and its peers will report that to it
	}
	open := c.open[n.Place()][:0]
	for _, tx := range c.open[n.Place()] {
		id := tx.ID()
		p, ok := n.Find(id)
		if !ok && !c.replayed(n, id) {
			c.s.Fail("promises", "replica %d has accepted transaction %s and has lost it", n.ID(), id)
			return
		}
		if p.Refusal != nil && !p.Refusal.Final() {
			c.s.Fail("promises", "replica %d has accepted transaction %s and then refuses it: %v", n.ID(), id, p.Refusal)
			return
		}
		if p.Refusal != nil {
			c.refused(n, id, p.Refusal.Reason)
		}
		if !p.Ended() {
			open = append(open, tx)
		}
	}
	c.open[n.Place()] = open
}

// replayed reports whether a replica will know a transaction once it has executed its committed blocks again.
func (c *promises) replayed(n observe.Replica, id ledger.TxID) bool {
	for _, answers := range []map[ledger.TxID]ledger.Receipt{c.s.durability.answers, c.s.durability.spent} {
		if r, ok := answers[id]; ok && r.Height > n.Height() {
			return true
		}
	}
	return false
}

// refused: an honest replica answered that a transaction never settles.
func (c *promises) refused(n observe.Replica, id ledger.TxID, reason ledger.Reason) {
	if r, ok := c.s.durability.answers[id]; ok && r.Verdict == ledger.VerdictSettled {
		c.s.Fail("promises", "replica %d refuses transaction %s for good (%v), which has settled at height %d", n.ID(), id, reason, r.Height)
	}
	c.s.network.answers.refused[id], c.final[id] = reason, reason
}

// told: a replica of another shard was told the receipt of a transaction in this one. A block has made it, unless more than f
// replicas are Byzantine and invent answers.
func (c *promises) told(n observe.Replica, id ledger.TxID, settled bool, height uint64) {
	final, spent := c.s.durability.answers[id], c.s.durability.spent[id]
	switch {
	case c.s.isHostile():
	case final.Height == height && settled == (final.Verdict == ledger.VerdictSettled):
	case spent.Height == height && !settled:
	default:
		c.s.Fail("promises", "replica %d of shard %d answers that transaction %s has a receipt at height %d, settled %v; its receipts are %v and %v",
			n.ID(), n.Shard(), id, height, settled, spent, final)
	}
}

// batched: transactions are in a batch of an honest replica's own lane, on its disk.
func (c *promises) batched(n observe.Replica, txs []*ledger.Tx) {
	for _, tx := range txs {
		if c.never[tx.ID()] {
			c.s.Fail("promises", "replica %d puts transaction %s into a batch, whose input is never created", n.ID(), tx.ID())
		}
	}
}

// ended: long after the faults, every accepted transaction that has expired has its final answer at the replica that
// accepted it.
func (c *promises) ended(n observe.Replica) {
	c.kept(n)
	for _, tx := range c.open[n.Place()] {
		if p, _ := n.Find(tx.ID()); p.Receipt.Verdict == ledger.VerdictSpent && c.s.network.involved(tx) {
			continue // it is in escrow until a hostile shard gives its verdict
		}
		if c.s.clock.Now().Millis() > tx.ExpiryMS+uint64(graceful/time.Millisecond) {
			c.s.Fail("promises", "replica %d has accepted transaction %s, which has expired, and has no final answer", n.ID(), tx.ID())
		}
	}
}
