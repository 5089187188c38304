package engine

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"bdtnode/protocols/bdt"
)

// The ledger's store has no log. These intervals of its flushes bound the blocks that are executed again after a crash.
const (
	flushEvery  = 30 * time.Second
	flushBlocks = 5000
)

// executor applies committed blocks to the ledger, on a goroutine of its own.
type executor struct {
	e        *Engine
	in       chan *bdt.Delivery
	executed atomic.Uint64
	flushNow chan struct{}
	flushed  atomic.Uint64
}

func newExecutor(e *Engine) *executor {
	x := &executor{e: e, in: make(chan *bdt.Delivery, reserve), flushNow: make(chan struct{}, 1)}
	x.executed.Store(e.driver.Ledger().Height())
	x.flushed.Store(e.driver.Ledger().Height())
	return x
}

// put blocks while the queue is full, until the executor has ended.
func (x *executor) put(d *bdt.Delivery) {
	select {
	case x.in <- d:
	case <-x.e.writer.over:
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
	done, err := x.e.driver.Execute(d)
	if err != nil {
		return err
	}
	height := done.Block.Header.Height
	x.executed.Store(height)
	if height >= x.flushed.Load()+flushBlocks {
		signal(x.flushNow)
	}
	select {
	case x.e.inputs.events <- event{executed: done}:
	case <-ctx.Done():
		return nil
	}
	x.e.driver.Notify(done)
	return nil
}

// flushes makes the ledger durable from time to time. Closing the store flushes it at the end.
func (x *executor) flushes(ctx context.Context) error {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-x.flushNow:
		case <-ctx.Done():
			return nil
		}
		h := x.executed.Load()
		if h == x.flushed.Load() {
			continue
		}
		if err := x.e.driver.Ledger().Flush(); err != nil {
			return fmt.Errorf("flush the ledger: %w", err)
		}
		x.flushed.Store(h)
	}
}
