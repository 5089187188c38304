package engine

import (
	"sync"
	"time"

	"bdtnode/node/p2p"
	"bdtnode/node/replica"
	"bdtnode/protocols"
	"bdtnode/protocols/channels"
)

// quotaUnit is the bytes of a frame that take one place of its peer's quota.
const quotaUnit = 64 << 10

// readers are the gates that peers' frames pass before they are decoded, one for each peer.
type readers []reader

type reader struct {
	mu   sync.Mutex
	gate *replica.Gate
}

func newReaders(n int) readers {
	r := make(readers, n)
	for i := range r {
		r[i].gate = replica.NewGate()
	}
	return r
}

// asks notes a message that leaves, if it has an answer.
func (r readers) asks(to protocols.To, m protocols.Message) {
	switch m.(type) {
	case *replica.Request, *channels.FetchLD:
	default:
		return
	}
	for i := range r {
		if to == protocols.Everyone || int(to) == i {
			r[i].mu.Lock()
			r[i].gate.Asks(m)
			r[i].mu.Unlock()
		}
	}
}

// passes reports whether a frame is to be decoded. It makes the stream of a peer that is over a budget wait.
func (e *Engine) passes(from protocols.Index, frame []byte) bool {
	if len(frame) == 0 {
		return true
	}
	r := &e.readers[from]
	r.mu.Lock()
	take, wait := r.gate.Admit(e.clock.now(), protocols.Kind(frame[0]), len(frame))
	over, unasked := r.gate.Refused()
	r.mu.Unlock()
	if wait > 0 {
		outside.Warnw("a replica sends more than its budget", from, "replica", from, "frames", over, "unasked answers", unasked)
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-e.stopped:
			return false
		}
	}
	return take
}

// places is how many places of its quota a frame takes: a value of agreement may have 2 MiB, though it is control.
func places(class p2p.Class, frame []byte) int {
	quota := controlQuota
	if class == p2p.Bulk {
		quota = bulkQuota
	}
	return min(1+len(frame)/quotaUnit, quota/2)
}
