package driver

import (
	"sync"
	"sync/atomic"

	"bdtnode/ledger"
	"bdtnode/node/appends"
	"bdtnode/node/execution"
	"bdtnode/protocols/lanes"
)

// Appends is the requests of clients to append opaque payloads, behind a lock.
type Appends struct {
	d     *Driver
	mu    sync.Mutex
	queue *appends.Queue

	waiting atomic.Int64 // bytes that wait for a batch
}

func newAppends(d *Driver) *Appends {
	return &Appends{d: d, queue: appends.New(uint16(d.cfg.Self), appends.DefaultBytes, d.core.Status().Certified)}
}

// Open queues the payloads of a request. [Appends.Close] ends it. It returns false, and the request has ended, if the party
// has as many bytes waiting as it may have.
func (a *Appends) Open(r *appends.Request) bool {
	a.mu.Lock()
	ok := a.queue.Add(r)
	a.count()
	a.mu.Unlock()
	if ok {
		a.d.host.Wake()
	}
	return ok
}

// Close ends a request, whether it has reached its stage or not, and returns its result.
func (a *Appends) Close(r *appends.Request) appends.Result {
	a.mu.Lock()
	defer a.mu.Unlock()
	defer a.count()
	return a.queue.Close(r)
}

// Holding is the number of requests and payloads that wait for a batch, and the bytes of these payloads.
func (a *Appends) Holding() (requests, payloads, bytes int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	requests, _ = a.queue.Requests()
	payloads, bytes = a.queue.Waiting()
	return requests, payloads, bytes
}

// count makes the number of waiting bytes readable without the lock.
func (a *Appends) count() {
	_, bytes := a.queue.Waiting()
	a.waiting.Store(int64(bytes))
}

// Waiting implements intake.
func (a *Appends) Waiting() int { return int(a.waiting.Load()) }

func (a *Appends) take(notices int) Entries {
	a.mu.Lock()
	defer a.mu.Unlock()
	defer a.count()
	return Entries{Opaque: a.queue.Take(lanes.MaxPayload-ledger.PayloadSize(0, 0)-notices, lanes.MaxCount)}
}

func (a *Appends) logged(b *OwnBatch) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.queue.Logged(b.Number)
}

// Executed implements [execution.Observer].
func (a *Appends) Executed(x *execution.Executed) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.queue.Executed(x.Block.Header.Height, x.Block.Log)
}

func (a *Appends) headerCertified(height uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.queue.Certified(height)
}
