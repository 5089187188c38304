package execution

import (
	"errors"
	"fmt"

	"bdtnode/internal/digest"
	"bdtnode/ledger"
	"bdtnode/node/replica"
	"bdtnode/protocols/bdt"
)

// Executed is a block whose effects are in the ledger.
type Executed struct {
	Ordered ledger.CommittedBlock // the input of execution
	Block   *ledger.Block
	Own     uint64 // number of the last batch of the own lane in it, 0 if it has none
}

// Execute applies a committed block to the ledger. The caller gives it each block, in order. It then reports the result to
// the core on the loop, and calls [Execution.Notify], in either order. An error means that the replica must end.
func (e *Execution) Execute(x *bdt.Delivery) (*Executed, error) {
	in, block, err := e.execute(x)
	if err != nil {
		return nil, err
	}
	for i := range block.Frozen { // once for each shard, ever
		e.host.Frozen(&block.Frozen[i], in.Height)
	}
	if in.Height <= e.cfg.Certified {
		if err := replica.CheckExecuted(e.cfg.Store, in.Height, block.HeaderDigest); err != nil {
			return nil, err
		}
	}
	out := &Executed{Ordered: in, Block: block}
	for _, ref := range x.Refs {
		e.contents.drop(ref.Tip.Digest)
		if ref.Lane == e.cfg.Self {
			out.Own = max(out.Own, ref.Tip.Seq)
		}
	}
	for _, ref := range x.LDs {
		e.contents.drop(ref.Tip.Digest)
	}
	if e.cfg.Recorder != nil {
		e.cfg.Recorder.Block(out)
	}
	return out, nil
}

// execute applies a block to the ledger. If some batches are not known and the header of the block is certified, all of them
// are taken as good, and the header decides: with another one, the signatures of all batches are checked, and the block is
// executed again without the bad ones. If it has another header again, the replica must end.
func (e *Execution) execute(x *bdt.Delivery) (ledger.CommittedBlock, *ledger.Block, error) {
	var expect digest.Digest
	if x.ByHeader {
		c, err := replica.Certificate(e.cfg.Store, x.Block.Height)
		if err == nil && c == nil {
			err = fmt.Errorf("the certificate of header %d is not in the store: the store is damaged", x.Block.Height)
		}
		if err != nil {
			return ledger.CommittedBlock{}, nil, err
		}
		expect = c.Header
	}
	in, block, err := e.attempt(x, expect)
	if mismatch := (*ledger.Mismatch)(nil); errors.As(err, &mismatch) {
		checked := *x
		if checked.Bad, err = e.badBatches(x.Refs); err != nil {
			return in, nil, err
		}
		if in, block, err = e.attempt(&checked, expect); errors.As(err, &mismatch) {
			err = fmt.Errorf("%w; the signatures of all its batches were checked, %d batches are bad: the ledger's store is corrupt, or more than f replicas are Byzantine",
				err, len(checked.Bad))
		}
	}
	return in, block, err
}

// attempt applies a block to the ledger. If expect is not zero, the block must have that header.
func (e *Execution) attempt(x *bdt.Delivery, expect digest.Digest) (ledger.CommittedBlock, *ledger.Block, error) {
	in, err := replica.Ordered(x, e)
	if err != nil {
		return in, nil, err
	}
	in.Expect = expect
	block, err := e.cfg.Ledger.Execute(in)
	if err != nil {
		return in, nil, fmt.Errorf("execute block %d: %w", in.Height, err)
	}
	return in, block, nil
}

// Notify reports an executed block to the observers: to the clients' transactions, and to the exchange with other shards.
func (e *Execution) Notify(x *Executed) {
	for _, o := range e.cfg.Observers {
		o.Executed(x)
	}
	e.host.Wake()
	if len(x.Block.Outbox) > 0 {
		e.host.Publish() // the others may have certified the header before this replica had executed the block
	}
}
