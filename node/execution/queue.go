package execution

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

// Queue has the committed blocks of a process that wait for execution.
type Queue struct {
	in   chan *bdt.Delivery
	over chan struct{} // closed when the executor ends
}

// NewQueue makes an empty queue with so many places.
func NewQueue(places int) *Queue {
	return &Queue{in: make(chan *bdt.Delivery, places), over: make(chan struct{})}
}

// Put queues a block. It blocks while the queue is full, until the executor has ended.
func (q *Queue) Put(d *bdt.Delivery) {
	select {
	case q.in <- d:
	case <-q.over:
	}
}

// Use is the number of blocks that wait, and the number of places.
func (q *Queue) Use() (used, limit int) { return len(q.in), cap(q.in) }

// Executor executes the blocks of a queue.
type Executor struct {
	q        *Queue
	x        *Execution
	hand     func(ctx context.Context, x *Executed) bool
	executed atomic.Uint64
	flushNow chan struct{}
	flushed  atomic.Uint64
}

// NewExecutor makes the executor of a queue and starts nothing. Each executed block is handed to the loop by hand, which
// blocks while the loop has many, and returns false if ctx ends before.
func NewExecutor(q *Queue, x *Execution, hand func(ctx context.Context, x *Executed) bool) *Executor {
	e := &Executor{q: q, x: x, hand: hand, flushNow: make(chan struct{}, 1)}
	e.executed.Store(x.cfg.Ledger.Height())
	e.flushed.Store(x.cfg.Ledger.Height())
	return e
}

// Run executes the blocks until ctx ends, or one cannot be executed. It is called once.
func (e *Executor) Run(ctx context.Context) error {
	defer close(e.q.over)
	for {
		select {
		case d := <-e.q.in:
			if err := e.execute(ctx, d); err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		}
	}
}

func (e *Executor) execute(ctx context.Context, d *bdt.Delivery) error {
	done, err := e.x.Execute(d)
	if err != nil {
		return err
	}
	height := done.Block.Header.Height
	e.executed.Store(height)
	if height >= e.flushed.Load()+flushBlocks {
		select {
		case e.flushNow <- struct{}{}:
		default:
		}
	}
	if e.hand(ctx, done) {
		e.x.Notify(done)
	}
	return nil
}

// RunFlushes makes the ledger durable from time to time until ctx ends. Closing the store flushes it at the end.
func (e *Executor) RunFlushes(ctx context.Context) error {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-e.flushNow:
		case <-ctx.Done():
			return nil
		}
		h := e.executed.Load()
		if h == e.flushed.Load() {
			continue
		}
		if err := e.x.cfg.Ledger.Flush(); err != nil {
			return fmt.Errorf("flush the ledger: %w", err)
		}
		e.flushed.Store(h)
	}
}
