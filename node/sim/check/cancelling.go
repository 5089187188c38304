package check

import (
	"bdtnode/ledger"
	"bdtnode/node/replica"
	"bdtnode/node/sim/network"
	"bdtnode/node/sim/observe"
	"bdtnode/protocols/cancel"
	"bdtnode/shard/settlement"
)

// cancelling: an honest replica states that a transaction can never be SPENT (CL_M) only in an input shard in which the
// transaction has not expired, and no block of that shard ever gives SPENT on it (design §6.7). A replica takes a CL
// only if an honest replica of its source stated the same. Escrow returns with reason cancelled only after such a
// statement of another input shard.
type cancelling struct {
	w      *Network
	stated map[ledger.TxID]ledger.ShardSet // shards in which an honest replica signed a CL_M
	taken  map[ledger.TxID]bool            // whether the CL of some shard reached a replica of another one
}

func newCancelling(w *Network) cancelling {
	return cancelling{w: w, stated: make(map[ledger.TxID]ledger.ShardSet), taken: make(map[ledger.TxID]bool)}
}

// stepped is called with each step of an honest replica.
func (c *cancelling) stepped(n observe.Replica, st *replica.Step) {
	for i := range st.Sends {
		if x, ok := st.Sends[i].Message.(*cancel.CLM); ok {
			c.states(n, x)
		}
	}
}

// states is called when an honest replica signs a CL_M.
func (c *cancelling) states(n observe.Replica, x *cancel.CLM) {
	s := c.w.of(n)
	tx, err := ledger.DecodeTx(x.Content)
	if err != nil {
		s.Fail("cancelling", "replica %d signs a CL_M for a transaction that does not decode: %v", n.ID(), err)
		return
	}
	id, parties := tx.ID(), tx.Shards(c.w.peers.Home)
	switch f := c.w.settling.fates[id]; {
	case !parties.Inputs.Has(s.Number) || parties.Inside(s.Number):
		s.Fail("cancelling", "replica %d signs a CL_M for transaction %s, which has no inputs here or is inside the shard", n.ID(), id)
	case n.BlockTimeMS() > tx.ExpiryMS:
		s.Fail("cancelling", "replica %d signs a CL_M for transaction %s, which has expired", n.ID(), id)
	case f != nil && f.verdicts[s.Number] == ledger.VerdictSpent:
		s.Fail("cancelling", "replica %d signs a CL_M for transaction %s, which the shard has SPENT", n.ID(), id)
	}
	c.stated[id] = c.stated[id].With(s.Number)
}

// spent: a shard gave SPENT on a transaction.
func (c *cancelling) spent(s *Shard, id ledger.TxID) {
	if c.stated[id].Has(s.Number) {
		s.Fail("cancelling", "the shard gives SPENT on transaction %s, and a replica of it has signed a CL_M for it", id)
	}
}

// returned: a shard returned escrow upon a CL.
func (c *cancelling) returned(s *Shard, tx *ledger.Tx) {
	if c.stated[tx.ID()]&tx.Shards(c.w.peers.Home).Inputs.Without(s.Number) == 0 {
		s.Fail("cancelling", "transaction %s is cancelled, and no honest replica of another input shard has signed a CL_M for it", tx.ID())
	}
}

// took: a replica accepted a CL.
func (c *cancelling) took(n, from observe.Replica, p network.Packet, cl *settlement.CL) {
	s := c.w.of(n)
	if p.Forged != "" {
		s.Fail("blame", "replica %d takes a forged CL of replica %d of shard %d (%s)", n.ID(), from.ID(), from.Shard(), p.Forged)
	}
	id := cl.Tx.ID()
	if !c.w.Shards[cl.Source].isHostile() && !c.stated[id].Has(cl.Source) {
		s.Fail("cancelling", "replica %d takes a CL of shard %d for transaction %s, and no honest replica of that shard has signed a CL_M for it", n.ID(), cl.Source, id)
	}
	c.taken[id] = true
}
