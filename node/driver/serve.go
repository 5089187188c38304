package driver

import (
	"sync"

	"bdtnode/node/replica"
	"bdtnode/protocols"
)

// serving is the queue of peers' requests for stored data, behind a lock.
type serving struct {
	mu    sync.Mutex
	queue *replica.Serving
}

func (s *serving) put(to protocols.Index, r protocols.Range) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue.Put(to, r)
}

// NextRequest takes the next request of a peer for stored data, for [Driver.Answer]. With none due, r is nil, and again is
// the time of the next call, zero for after the next [Host.Serve].
func (d *Driver) NextRequest() (peer protocols.Index, r protocols.Range, again protocols.Time) {
	d.serving.mu.Lock()
	defer d.serving.mu.Unlock()
	return d.serving.queue.Next(d.time())
}

// Answer reads the answer to a request from the stores and sends it. The error is the store's.
func (d *Driver) Answer(peer protocols.Index, r protocols.Range) error {
	messages, read, err := replica.Answer(d.cfg.Committee, d.cfg.Store, d.Ledger(), r)
	if err != nil {
		return err
	}
	d.serving.mu.Lock()
	d.serving.queue.Read(d.time(), peer, read)
	d.serving.mu.Unlock()
	for _, x := range messages {
		d.send(protocols.To(peer), x)
	}
	return nil
}
