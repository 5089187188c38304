package engine

import (
	"context"
	"fmt"
	"sync"

	"bdtnode/internal/kv"
	"bdtnode/node/p2p"
	"bdtnode/node/replica"
	"bdtnode/protocols"
)

// Bounds of the steps that wait for the disk; the loop waits when one is reached.
const (
	maxQueuedSteps = 4096
	maxQueuedBytes = 32 << 20 // of their records, one step more at most
)

type action struct {
	step replica.Step
	done func()
}

// writer carries out steps in order: their records are synced, many steps at a time, then their messages leave and
// their outputs go on.
type writer struct {
	e     *Engine
	mu    sync.Mutex
	ready sync.Cond // the queue has something, or room again, or the writer stopped
	queue []action
	bytes int // of the queue's records
	over  bool
}

func newWriter(e *Engine) *writer {
	w := &writer{e: e}
	w.ready.L = &w.mu
	return w
}

func (w *writer) put(_ context.Context, a action) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for (len(w.queue) >= maxQueuedSteps || w.bytes >= maxQueuedBytes) && !w.over {
		w.ready.Wait()
	}
	w.queue = append(w.queue, a)
	for _, r := range a.step.Persist {
		w.bytes += len(r.Key) + len(r.Value)
	}
	w.ready.Broadcast()
}

func (w *writer) run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.over = true
		w.ready.Broadcast()
	})
	defer stop()
	var batch kv.Batch
	var spare []action
	for {
		w.mu.Lock()
		for len(w.queue) == 0 && !w.over {
			w.ready.Wait()
		}
		if w.over {
			w.mu.Unlock()
			return nil
		}
		actions := w.queue
		w.queue, w.bytes = spare[:0], 0
		w.ready.Broadcast()
		w.mu.Unlock()

		batch.Reset()
		sync := false
		for i := range actions {
			sync = replica.Apply(&batch, actions[i].step.Persist) || sync
		}
		if batch.Len() > 0 {
			if err := w.e.cfg.Store.Apply(&batch, sync); err != nil {
				return fmt.Errorf("write to the consensus store: %w", err)
			}
		}
		for i := range actions {
			if err := w.release(ctx, &actions[i]); err != nil {
				return err
			}
			actions[i] = action{}
		}
		spare = actions
	}
}

// release lets a step's messages and outputs out. An error means that the replica must end.
func (w *writer) release(ctx context.Context, a *action) error {
	for _, s := range a.step.Sends {
		if replica.Serves(s.Message) {
			w.e.server.put(protocols.Index(s.To), s.Message)
			continue
		}
		w.e.send(s.To, s.Message)
	}
	for _, o := range a.step.Out {
		switch {
		case o.Deliver != nil:
			w.e.executor.put(ctx, o.Deliver)
		case o.Certified != nil:
			w.e.clients.headerCertified(o.Certified.Height)
			w.e.outbox()
		case o.Inbound != nil:
			x, err := replica.Contradiction(w.e.cfg.Store, w.e.cfg.Network, o.Inbound)
			if err != nil {
				return err
			}
			if x != nil {
				w.e.witness.put(w.e, x)
			}
		case o.Twin != nil:
			outside.Errorw("two processes run with the identity of one replica", o.Twin.Replica, "replica", o.Twin.Replica, "fenced_boot", o.Twin.Boot, "kept_boot", o.Twin.Kept)
		case o.Lost != nil:
			return o.Lost
		}
	}
	if a.done != nil {
		a.done()
	}
	return nil
}

// send encodes a message once, for however many get it.
func (e *Engine) send(to protocols.To, m protocols.Message) {
	e.readers.asks(to, m)
	frame := replica.Encode(m)
	class := p2p.Control
	if replica.Bulk(m.Kind()) {
		class = p2p.Bulk
	}
	if to != protocols.Everyone {
		e.net.Send(protocols.Index(to), class, frame)
		return
	}
	for i := range e.cfg.Committee.N() {
		if protocols.Index(i) != e.cfg.Self {
			e.net.Send(protocols.Index(i), class, frame)
		}
	}
}
