package engine

import (
	"context"
	"fmt"
	"sync"

	"bdtnode/internal/kv"
	"bdtnode/node/p2p"
	"bdtnode/node/replica"
	"bdtnode/protocols"
	"bdtnode/protocols/channels"
	"bdtnode/protocols/lanes"
)

// maxQueuedSteps bounds the steps that wait for the disk; the loop waits when it is reached.
const maxQueuedSteps = 4096

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
	for len(w.queue) >= maxQueuedSteps && !w.over {
		w.ready.Wait()
	}
	w.queue = append(w.queue, a)
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
		w.queue = spare[:0]
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

func (w *writer) release(ctx context.Context, a *action) error {
	for _, s := range a.step.Sends {
		switch m := s.Message.(type) {
		case *lanes.Chain, *channels.Stretch, *replica.Serve:
			w.e.server.put(protocols.Index(s.To), m)
		default:
			w.e.send(s.To, m)
		}
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
		}
	}
	if a.done != nil {
		a.done()
	}
	return nil
}

// send encodes a message once, for however many get it.
func (e *Engine) send(to protocols.To, m protocols.Message) {
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

// maxServing bounds the answers for each peer that wait to be read from the store; more are dropped, and asked for again.
const maxServing = 64

// server reads from the store what peers asked for, away from the writer. Peers take turns, so that one that asks for
// much delays its own answers only.
type server struct {
	e       *Engine
	mu      sync.Mutex
	waiting [][]protocols.Message // by peer
	turn    int                   // whose answer was read last
	some    chan struct{}         // something waits
}

type answer struct {
	to protocols.Index
	m  protocols.Message
}

func newServer(e *Engine) *server {
	return &server{e: e, waiting: make([][]protocols.Message, e.cfg.Committee.N()), some: make(chan struct{}, 1)}
}

func (s *server) put(to protocols.Index, m protocols.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting[to]) >= maxServing {
		return
	}
	s.waiting[to] = append(s.waiting[to], m)
	select {
	case s.some <- struct{}{}:
	default:
	}
}

// next is the answer whose turn it is; ok is false if none waits.
func (s *server) next() (a answer, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for range s.waiting {
		s.turn = (s.turn + 1) % len(s.waiting)
		if w := s.waiting[s.turn]; len(w) > 0 {
			s.waiting[s.turn] = w[1:]
			return answer{protocols.Index(s.turn), w[0]}, true
		}
	}
	return answer{}, false
}

func (s *server) run(ctx context.Context) error {
	for {
		select {
		case <-s.some:
		case <-ctx.Done():
			return nil
		}
		for a, ok := s.next(); ok && ctx.Err() == nil; a, ok = s.next() {
			if err := s.answer(a); err != nil {
				return err
			}
		}
	}
}

func (s *server) answer(a answer) error {
	c, store := s.e.cfg.Committee, s.e.cfg.Store
	switch m := a.m.(type) {
	case *lanes.Chain:
		batches, err := replica.Chain(c, store, m)
		if err != nil {
			return err
		}
		for _, b := range batches {
			s.e.send(protocols.To(a.to), b)
		}
	case *channels.Stretch:
		lds, err := replica.Stretch(store, m)
		if err != nil {
			return err
		}
		for _, d := range lds {
			s.e.send(protocols.To(a.to), d)
		}
	case *replica.Serve:
		h, err := replica.ReadHistory(c, store, s.e.cfg.State, m)
		if err != nil {
			return err
		}
		s.e.send(protocols.To(a.to), h)
	}
	return nil
}
