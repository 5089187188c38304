package engine

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"bdtnode/node/replica"
	"bdtnode/protocols/bdt"
)

// The ledger's store has no log: how much is executed again after a crash is bounded by flushing it this often.
const (
	flushEvery  = 30 * time.Second
	flushBlocks = 5000
)

// executor applies delivered blocks to the ledger, behind the loop.
type executor struct {
	e         *Engine
	in        chan *bdt.Delivery
	certified uint64 // headers up to here were certified before the start: they must come out the same
	executed  atomic.Uint64
	flushNow  chan struct{}
	flushed   atomic.Uint64
}

func newExecutor(e *Engine, certified uint64) *executor {
	x := &executor{e: e, in: make(chan *bdt.Delivery, reserve), certified: certified, flushNow: make(chan struct{}, 1)}
	x.executed.Store(e.cfg.State.Height())
	x.flushed.Store(e.cfg.State.Height())
	return x
}

func (x *executor) put(ctx context.Context, d *bdt.Delivery) {
	select {
	case x.in <- d:
	case <-ctx.Done():
	}
}

func (x *executor) run(ctx context.Context) error {
	for {
		select {
		case d := <-x.in:
			if err := x.execute(ctx, d); err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		}
	}
}

func (x *executor) execute(ctx context.Context, d *bdt.Delivery) error {
	in, err := replica.Ordered(d, x)
	if err != nil {
		return err
	}
	block, err := x.e.cfg.State.Execute(in)
	if err != nil {
		return fmt.Errorf("execute block %d: %w", in.Height, err)
	}
	for i := range block.Frozen { // once for each shard, ever
		f := &block.Frozen[i]
		outside.Errorw("channel frozen: the shard broke the rules of settlement", f.Source, "shard", f.Source, "number", f.Number, "height", in.Height, "why", f.Why)
	}
	if in.Height <= x.certified {
		if err := replica.CheckExecuted(x.e.cfg.Store, in.Height, block.HeaderDigest); err != nil {
			return err
		}
	}
	ordered := uint64(0)
	for _, ref := range d.Refs {
		x.e.contents.drop(ref.Tip.Digest)
		if ref.Lane == x.e.cfg.Self {
			ordered = max(ordered, ref.Tip.Seq)
		}
	}
	for _, ref := range d.LDs {
		x.e.contents.drop(ref.Tip.Digest)
	}
	x.executed.Store(in.Height)
	if in.Height >= x.flushed.Load()+flushBlocks {
		select {
		case x.flushNow <- struct{}{}:
		default:
		}
	}
	select {
	case x.e.in <- event{executed: block}:
	case <-ctx.Done():
		return nil
	}
	x.e.clients.executed(block, ordered)
	if len(block.Outbox) > 0 {
		x.e.outbox() // the others may have certified the header before this replica had executed the block
	}
	return nil
}

// flushes makes the ledger durable from time to time, and at the end.
func (x *executor) flushes(ctx context.Context) error {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-x.flushNow:
		case <-ctx.Done():
			return nil // closing the store flushes it
		}
		h := x.executed.Load()
		if h == x.flushed.Load() {
			continue
		}
		if err := x.e.cfg.State.Flush(); err != nil {
			return fmt.Errorf("flush the ledger: %w", err)
		}
		x.flushed.Store(h)
	}
}
