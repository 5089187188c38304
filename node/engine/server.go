package engine

import (
	"context"
	"time"
)

// runServer reads stored data for peers, on a goroutine of its own. The driver decides the order and time of the requests.
func (e *Engine) runServer(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-e.serve:
		case <-timer.C:
		case <-ctx.Done():
			return nil
		}
		for ctx.Err() == nil {
			peer, r, again := e.driver.NextRequest()
			if r == nil {
				if again != 0 {
					timer.Reset(max(0, again.Sub(e.clock.now())))
				}
				break
			}
			if err := e.driver.Answer(peer, r); err != nil {
				return err
			}
		}
	}
}
