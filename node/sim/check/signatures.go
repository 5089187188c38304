package check

import (
	"bdtnode/ledger"
	"bdtnode/node/sim/observe"
	"bdtnode/protocols"
	"bdtnode/protocols/lanes"
)

// signatures: a batch in which a signature does not verify contributes nothing to a block, and every other batch does
// (docs/adr/0018).
type signatures struct {
	s   *Shard
	top uint64 // greatest height whose batches were examined
	bad int    // bad batches up to it
}

// executed examines the batches of a block. Those of a height that another replica has executed are the same if the
// headers are.
func (c *signatures) executed(n observe.Replica, in *ledger.CommittedBlock) {
	if in.Height <= c.top {
		return
	}
	c.top = in.Height
	c.bad += len(in.Bad)
	for _, p := range in.Payloads {
		if err := p.CheckSignatures(c.s.Scheme, nil); err != nil {
			c.s.Fail("signatures", "replica %d executed a batch of block %d with a bad signature: %v", n.ID(), in.Height, err)
		}
	}
	for i := range in.Bad {
		if c.isGood(n, &in.Bad[i]) {
			c.s.Fail("signatures", "replica %d left out batch %d of lane %d in block %d, whose signatures are good", n.ID(), in.Bad[i].Seq, in.Bad[i].Lane, in.Height)
		}
	}
}

// isGood reports whether all signatures of a batch verify.
func (c *signatures) isGood(n observe.Replica, x *ledger.BatchID) bool {
	value, ok, err := n.Stored(lanes.StoredKey(protocols.Index(x.Lane), lanes.Tip{Seq: x.Seq, Digest: x.Digest}))
	if err != nil || !ok {
		c.s.Fail("signatures", "replica %d executed batch %d of lane %d, which it does not hold: %v", n.ID(), x.Seq, x.Lane, err)
		return false
	}
	b, err := lanes.DecodeStored(c.s.Committee, value)
	if err != nil {
		c.s.Fail("signatures", "replica %d holds a malformed batch: %v", n.ID(), err)
		return false
	}
	p, err := ledger.DecodePayload(c.s.network.peers.Kinds(c.s.Number), b.Payload)
	return err == nil && p.CheckSignatures(c.s.Scheme, nil) == nil
}
