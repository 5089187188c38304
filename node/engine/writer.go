package engine

import (
	"context"
	"fmt"
	"sync"
	"time"

	"bdtnode/internal/kv"
	"bdtnode/node/driver"
)

// Bounds of the actions that wait for the disk. The loop blocks when one is reached.
const (
	maxQueuedActions = 4096
	maxQueuedBytes   = 32 << 20 // of their records, at most one action more
)

// writer writes the records of many actions at once, with one sync if [driver.Writes] needs one, and then releases the
// actions in order.
type writer struct {
	store kv.Store // consensus store
	syncs *syncs
	mu    sync.Mutex
	ready sync.Cond // the queue has an action, or room again, or the writer ended
	queue []driver.Action
	bytes int           // of the queue's records
	ended bool          // the engine ends
	over  chan struct{} // closed with it
}

func newWriter(store kv.Store, s *syncs) *writer {
	w := &writer{store: store, syncs: s, over: make(chan struct{})}
	w.ready.L = &w.mu
	return w
}

func (w *writer) put(a driver.Action) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for (len(w.queue) >= maxQueuedActions || w.bytes >= maxQueuedBytes) && !w.ended {
		w.ready.Wait()
	}
	w.queue = append(w.queue, a)
	for _, r := range a.Persist {
		w.bytes += len(r.Key) + len(r.Value)
	}
	w.ready.Broadcast()
}

// waiting is the number of queued actions, and the bytes of their records.
func (w *writer) waiting() (actions, bytes int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.queue), w.bytes
}

// take waits for actions and empties the queue into spare. It is nil when the engine ends.
func (w *writer) take(spare []driver.Action) []driver.Action {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.queue) == 0 && !w.ended {
		w.ready.Wait()
	}
	if w.ended {
		return nil
	}
	actions := w.queue
	w.queue, w.bytes = spare[:0], 0
	w.ready.Broadcast()
	return actions
}

// end wakes all goroutines that wait for the writer. Later calls do nothing.
func (w *writer) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return
	}
	w.ended = true
	close(w.over)
	w.ready.Broadcast()
}

// run writes and releases the actions of a driver until ctx ends.
func (w *writer) run(ctx context.Context, d *driver.Driver) error {
	defer w.end() // also after a failure: the loop may be waiting for room in the queue
	defer context.AfterFunc(ctx, w.end)()
	var batch kv.Batch
	var writes driver.Writes
	var spare []driver.Action
	for {
		actions := w.take(spare)
		if actions == nil {
			return nil
		}
		batch.Reset()
		sync := writes.Add(&batch, actions)
		if batch.Len() > 0 || sync {
			w.syncs.begin(time.Now())
			if err := w.store.Apply(&batch, sync); err != nil {
				return fmt.Errorf("write to the consensus store: %w", err)
			}
			w.syncs.end(time.Now())
		}
		for i := range actions {
			d.Send(&actions[i])
			if err := d.Deliver(&actions[i]); err != nil {
				return err
			}
			actions[i] = driver.Action{}
		}
		spare = actions
	}
}
