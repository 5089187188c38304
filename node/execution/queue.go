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
	x        *Execution
	hand     func(ctx context.Context, x *Executed) bool
	in       chan *bdt.Delivery
	over     chan struct{} // closed when Run ends
	executed atomic.Uint64
	flushNow chan struct{}
	flushed  atomic.Uint64
}

// NewQueue makes an empty queue with so many places and starts nothing. Each executed block is handed to the loop by hand,
// which blocks while the loop has many, and returns false if ctx ends before.
func NewQueue(x *Execution, places int, hand func(ctx context.Context, x *Executed) bool) *Queue {
	q := &Queue{x: x, hand: hand, in: make(chan *bdt.Delivery, places), over: make(chan struct{}), flushNow: make(chan struct{}, 1)}
	q.executed.Store(x.cfg.Ledger.Height())
	q.flushed.Store(x.cfg.Ledger.Height())
	return q
}

// Put queues a block. It blocks while the queue is full, until Run has ended.
func (q *Queue) Put(d *bdt.Delivery) {
	select {
	case q.in <- d:
	case <-q.over:
	}
}

// Use is the number of blocks that wait, and the number of places.
func (q *Queue) Use() (used, limit int) { return len(q.in), cap(q.in) }

// Run executes the blocks until ctx ends, or one cannot be executed. It is called once.
func (q *Queue) Run(ctx context.Context) error {
	defer close(q.over)
	for {
		select {
		case d := <-q.in:
			if err := q.execute(ctx, d); err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		}
	}
}

func (q *Queue) execute(ctx context.Context, d *bdt.Delivery) error {
	done, err := q.x.Execute(d)
	if err != nil {
		return err
	}
	height := done.Block.Header.Height
	q.executed.Store(height)
	if height >= q.flushed.Load()+flushBlocks {
		select {
		case q.flushNow <- struct{}{}:
		default:
		}
	}
	if q.hand(ctx, done) {
		q.x.Notify(done)
	}
	return nil
}

// RunFlushes makes the ledger durable from time to time until ctx ends. Closing the store flushes it at the end.
func (q *Queue) RunFlushes(ctx context.Context) error {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-q.flushNow:
		case <-ctx.Done():
			return nil
		}
		h := q.executed.Load()
		if h == q.flushed.Load() {
			continue
		}
		if err := q.x.cfg.Ledger.Flush(); err != nil {
			return fmt.Errorf("flush the ledger: %w", err)
		}
		q.flushed.Store(h)
	}
}
