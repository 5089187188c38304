package clients

import (
	"sync"
	"sync/atomic"

	"bdtnode/ledger"
	"bdtnode/node/appends"
	"bdtnode/node/execution"
	"bdtnode/protocols"
	"bdtnode/protocols/lanes"
)

// Appends is the requests of clients to append opaque payloads, behind a lock.
type Appends struct {
	host  Host
	mu    sync.Mutex
	queue *appends.Queue

	waiting atomic.Int64 // bytes that wait for a batch
}

// NewAppends makes an empty queue of payloads for a replica whose header of this height is certified.
func NewAppends(self protocols.Index, certified uint64, host Host) *Appends {
	return &Appends{host: host, queue: appends.New(uint16(self), appends.DefaultBytes, certified)}
}

// Open queues the payloads of a request. [Appends.Close] ends it. It returns false, and the request has ended, if the party
// has as many bytes waiting as it may have.
func (a *Appends) Open(r *appends.Request) bool {
	a.mu.Lock()
	ok := a.queue.Add(r)
	a.count()
	a.mu.Unlock()
	if ok {
		a.host.Wake()
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

// Waiting is the bytes of payloads that wait for a batch.
func (a *Appends) Waiting() int { return int(a.waiting.Load()) }

// Take hands out payloads for one batch that carries so many bytes of notices.
func (a *Appends) Take(notices int) Entries {
	a.mu.Lock()
	defer a.mu.Unlock()
	defer a.count()
	return Entries{Opaque: a.queue.Take(lanes.MaxPayload-ledger.PayloadSize(0, 0)-notices, lanes.MaxCount)}
}

// Logged is called when a batch of the own lane is on disk.
func (a *Appends) Logged(b *OwnBatch) {
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

// HeaderCertified is called when a header has its f+1 VOTEs.
func (a *Appends) HeaderCertified(height uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.queue.Certified(height)
}
