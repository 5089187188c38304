package check

import (
	"bdtnode/ledger"
	"bdtnode/node/driver"
	"bdtnode/node/sim/observe"
	"bdtnode/protocols/bdt"
)

// durability: a block whose commit an honest replica has synced survives every crash of it. A transaction that a client was told
// is committed has the same answer after any crash of all replicas (design §2.2, §2.7).
type durability struct {
	s       *Shard
	crashes int
	onDisk  []uint64                       // by replica: the greatest height whose commit is on disk
	answers map[ledger.TxID]ledger.Receipt // final answers
	spent   map[ledger.TxID]ledger.Receipt // of cross-shard transactions: the receipt before the final one
}

func newDurability(s *Shard) durability {
	return durability{
		s: s, onDisk: make([]uint64, s.Replicas), answers: make(map[ledger.TxID]ledger.Receipt), spent: make(map[ledger.TxID]ledger.Receipt),
	}
}

func (c *durability) synced(n observe.Replica, group []driver.Action) {
	for i := range group {
		for _, r := range group[i].Persist {
			if b := committed(c.s, r); b != nil {
				c.onDisk[n.ID()] = max(c.onDisk[n.ID()], b.Height)
			}
		}
	}
}

func (c *durability) started(n observe.Replica) {
	if n.Replaced() {
		c.onDisk[n.ID()] = n.Status().Committed
	}
	if have := n.Status().Committed; have < c.onDisk[n.ID()] {
		c.s.Fail("durability", "replica %d had committed height %d on disk, and starts at %d", n.ID(), c.onDisk[n.ID()], have)
	}
	c.onDisk[n.ID()] = max(c.onDisk[n.ID()], n.Status().Committed) // records that survived without a sync are on disk as well
	c.log(n)
}

// log compares the replica's committed blocks on disk with the blocks that all committed.
func (c *durability) log(n observe.Replica) {
	for h := uint64(1); h <= c.onDisk[n.ID()]; h++ {
		v, ok, err := n.Stored(bdt.CommitKey(h))
		if err != nil {
			panic(err)
		}
		if !ok {
			c.s.Fail("durability", "replica %d has lost its committed block %d", n.ID(), h)
			return
		}
		b, err := bdt.DecodeCommit(c.s.Committee, v)
		if err != nil || b.Digest() != c.s.agreement.blocks[h] {
			c.s.Fail("durability", "replica %d holds another block than it committed at height %d: %v", n.ID(), h, err)
			return
		}
	}
}

// executed is called when clients get their answers. The commit may be on no disk by then: then all replicas order the block
// again after a crash, with the same answers.
func (c *durability) executed(b *ledger.Block) {
	for _, r := range b.Receipts {
		answers := c.answers
		if !r.Verdict.Final() {
			answers = c.spent
		}
		if have, ok := answers[r.Tx]; ok && have != r {
			c.s.Fail("durability", "transaction %s was answered %v, and is now %v", r.Tx, have, r)
		}
		if reason, ok := c.s.promises.final[r.Tx]; ok && r.Verdict == ledger.VerdictSettled {
			c.s.Fail("durability", "transaction %s was refused for good (%v) and settles", r.Tx, reason)
		}
		answers[r.Tx] = r
	}
}

// ended compares all answers up to the height that the replica has executed.
func (c *durability) ended(n observe.Replica) {
	c.log(n)
	height := n.Height()
	for id, want := range c.answers {
		if want.Height > height {
			continue
		}
		if have, ok, err := n.Receipt(id); err != nil || !ok || have != want {
			c.s.Fail("durability", "replica %d answers %v for a transaction whose answer was %v (%v)", n.ID(), have, want, err)
			return
		}
	}
}
