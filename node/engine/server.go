package engine

import (
	"context"
	"sync"
	"time"

	"bdtnode/node/replica"
	"bdtnode/protocols"
)

// server answers what peers ask for from the store, away from the writer. What is answered when, and at what rate, is
// decided by [replica.Serving].
type server struct {
	e       *Engine
	mu      sync.Mutex
	serving *replica.Serving
	some    chan struct{} // something waits
}

func newServer(e *Engine) *server {
	return &server{e: e, serving: replica.NewServing(e.cfg.Committee.N()), some: make(chan struct{}, 1)}
}

func (s *server) put(to protocols.Index, m protocols.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serving.Put(to, m)
	select {
	case s.some <- struct{}{}:
	default:
	}
}

func (s *server) run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-s.some:
		case <-timer.C:
		case <-ctx.Done():
			return nil
		}
		for ctx.Err() == nil {
			s.mu.Lock()
			now := s.e.clock.now()
			to, m, again := s.serving.Next(now)
			s.mu.Unlock()
			if m == nil {
				if again != 0 {
					timer.Reset(again.Sub(now))
				}
				break
			}
			if err := s.answer(to, m); err != nil {
				return err
			}
		}
	}
}

func (s *server) answer(to protocols.Index, m protocols.Message) error {
	messages, read, err := replica.Answer(s.e.cfg.Committee, s.e.cfg.Store, s.e.cfg.State, m)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.serving.Read(s.e.clock.now(), to, read)
	s.mu.Unlock()
	for _, x := range messages {
		s.e.send(protocols.To(to), x)
	}
	return nil
}
