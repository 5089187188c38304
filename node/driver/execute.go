package driver

import (
	"fmt"

	"bdtnode/ledger"
	"bdtnode/node/replica"
	"bdtnode/protocols/bdt"
)

// Executed is a block whose effects are in the ledger.
type Executed struct {
	Ordered ledger.CommittedBlock // the input of execution
	Block   *ledger.Block
	own     uint64 // number of the last batch of the own lane in it, 0 if it has none
}

// Execute applies a committed block to the ledger. The host calls it for each block that [Host.Execute] gave, in order. It
// then calls [Driver.Executed] on the loop and [Driver.Notify], in either order. An error means that the replica must end.
func (d *Driver) Execute(x *bdt.Delivery) (*Executed, error) {
	in, err := replica.Ordered(x, d)
	if err != nil {
		return nil, err
	}
	block, err := d.ledger.Execute(in)
	if err != nil {
		return nil, fmt.Errorf("execute block %d: %w", in.Height, err)
	}
	for i := range block.Frozen { // once for each shard, ever
		d.host.Frozen(&block.Frozen[i], in.Height)
	}
	if in.Height <= d.certifiedBefore {
		if err := replica.CheckExecuted(d.cfg.Store, in.Height, block.HeaderDigest); err != nil {
			return nil, err
		}
	}
	out := &Executed{Ordered: in, Block: block}
	for _, ref := range x.Refs {
		d.contents.drop(ref.Tip.Digest)
		if ref.Lane == d.cfg.Self {
			out.own = max(out.own, ref.Tip.Seq)
		}
	}
	for _, ref := range x.LDs {
		d.contents.drop(ref.Tip.Digest)
	}
	if d.cfg.Recorder != nil {
		d.cfg.Recorder.Block(out)
	}
	return out, nil
}

// Executed reports an executed block to the core.
func (d *Driver) Executed(x *Executed) {
	d.input(CoreInput{Kind: CoreExecuted, At: d.clock(), Block: x})
}

// Notify reports an executed block to the clients' transactions, and to the exchange with other shards.
func (d *Driver) Notify(x *Executed) {
	d.intake.executed(x)
	d.cancels.executed(x)
	d.host.Wake()
	d.host.Attend()
	if len(x.Block.Outbox) > 0 {
		d.host.Publish() // the others may have certified the header before this replica had executed the block
	}
}
