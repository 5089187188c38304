package sim

import (
	"bdtnode/ledger"
	"bdtnode/node/driver"
	"bdtnode/protocols/bdt"
)

// durability: a block that an honest replica committed survives every crash of it. A transaction that a client was told
// is committed has the same answer after any crash of all replicas (design §2.2, §2.7).
type durability struct {
	s       *cluster
	crashes int
	onDisk  []uint64                       // by replica: the greatest height whose commit is on disk
	answers map[ledger.TxID]ledger.Receipt // final answers
	spent   map[ledger.TxID]ledger.Receipt // of cross-shard transactions: the receipt before the final one
}

func newDurability(s *cluster) durability {
	return durability{
		s: s, onDisk: make([]uint64, s.cfg.Nodes), answers: make(map[ledger.TxID]ledger.Receipt), spent: make(map[ledger.TxID]ledger.Receipt),
	}
}

func (c *durability) synced(n *node, group []driver.Action) {
	for i := range group {
		for _, r := range group[i].Persist {
			if b := committed(c.s, r); b != nil {
				c.onDisk[n.id] = max(c.onDisk[n.id], b.Height)
			}
		}
	}
}

func (c *durability) started(n *node) {
	if n.replaced {
		c.onDisk[n.id] = n.core.Status().Committed
	}
	if have := n.core.Status().Committed; have < c.onDisk[n.id] {
		c.s.fail("durability", "replica %d had committed height %d on disk, and starts at %d", n.id, c.onDisk[n.id], have)
	}
	c.onDisk[n.id] = max(c.onDisk[n.id], n.core.Status().Committed) // records that survived without a sync are on disk as well
	c.log(n)
}

// log compares the replica's committed blocks on disk with the blocks that all committed.
func (c *durability) log(n *node) {
	for h := uint64(1); h <= c.onDisk[n.id]; h++ {
		v, ok, err := n.store.Get(bdt.CommitKey(h))
		if err != nil {
			panic(err)
		}
		if !ok {
			c.s.fail("durability", "replica %d has lost its committed block %d", n.id, h)
			return
		}
		b, err := bdt.DecodeCommit(c.s.committee, v)
		if err != nil || b.Digest() != c.s.check.agreement.blocks[h] {
			c.s.fail("durability", "replica %d holds another block than it committed at height %d: %v", n.id, h, err)
			return
		}
	}
}

// executed is called when clients get their answers: the commit is on disk by then.
func (c *durability) executed(n *node, b *ledger.Block) {
	if b.Header.Height > c.onDisk[n.id] {
		c.s.fail("durability", "replica %d executes block %d, and its commit is not on disk", n.id, b.Header.Height)
	}
	for _, r := range b.Receipts {
		answers := c.answers
		if !r.Verdict.Final() {
			answers = c.spent
		}
		if have, ok := answers[r.Tx]; ok && have != r {
			c.s.fail("durability", "transaction %s was answered %v, and is now %v", r.Tx, have, r)
		}
		if reason, ok := c.s.clients.doomed[r.Tx]; ok && r.Verdict == ledger.VerdictSettled {
			c.s.fail("durability", "transaction %s was refused for good (%v) and settles", r.Tx, reason)
		}
		answers[r.Tx] = r
	}
}

// ended compares all answers up to the height that the replica has executed.
func (c *durability) ended(n *node) {
	c.log(n)
	height := n.state.Height()
	for id, want := range c.answers {
		if want.Height > height {
			continue
		}
		if have, ok, err := n.state.Receipt(id); err != nil || !ok || have != want {
			c.s.fail("durability", "replica %d answers %v for a transaction whose answer was %v (%v)", n.id, have, want, err)
			return
		}
	}
}
