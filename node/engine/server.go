package engine

import (
	"context"
	"time"
)

// server reads stored data for peers, on a goroutine of its own. The driver decides the order and time of the requests.
type server struct {
	e    *Engine
	some chan struct{} // there may be a request
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
			peer, r, again := s.e.driver.NextRequest()
			if r == nil {
				if again != 0 {
					timer.Reset(max(0, again.Sub(s.e.clock.now())))
				}
				break
			}
			if err := s.e.driver.Answer(peer, r); err != nil {
				return err
			}
		}
	}
}
