package p2p

import (
	"sync"
	"time"
)

// frameOverhead is added to the size of each queued frame, so that the number of tiny frames is bounded too.
const frameOverhead = 64

// batchBytes is the number of bytes that a writer takes from a queue at a time.
const batchBytes = 64 << 10

// queue holds the frames that wait for one peer and class. Frames are shared with other peers' queues and never
// changed.
type queue struct {
	limit int
	ready chan struct{} // holds a token when the writer may have work

	mu       sync.Mutex
	frames   [][]byte
	bytes    int
	taken    bool          // the writer has frames that it has not finished writing
	overflow bool          // dropped, and not yet drained
	idle     chan struct{} // closed when the queue becomes idle; nil while no goroutine waits
}

func newQueue(limit int) *queue { return &queue{limit: limit, ready: make(chan struct{}, 1)} }

// push adds a frame and returns the number of lost frames, normally 0. A frame that exceeds the limit drops the whole
// queue; until the queue has drained, every frame is lost.
func (q *queue) push(frame []byte) (lost int) {
	cost := len(frame) + frameOverhead
	q.mu.Lock()
	switch {
	case q.overflow:
		lost = 1
	case q.bytes+cost > q.limit:
		lost = len(q.frames) + 1
		q.frames, q.bytes, q.overflow = nil, 0, true
	default:
		q.frames = append(q.frames, frame)
		q.bytes += cost
	}
	q.mu.Unlock()
	select {
	case q.ready <- struct{}{}:
	default:
	}
	return lost
}

// waiting is the number of queued bytes, with the overhead of frames.
func (q *queue) waiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.bytes
}

// take returns the next frames for the writer, up to batchBytes or one frame, in dst's memory. Calling it means that
// all frames taken before are written. If it returns none, drained reports whether an overflow ends.
func (q *queue) take(dst [][]byte) (batch [][]byte, drained bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	batch = dst[:0]
	n, size := 0, 0
	for n < len(q.frames) && (n == 0 || size+len(q.frames[n]) <= batchBytes) {
		f := q.frames[n]
		batch = append(batch, f)
		size += len(f) + headerSize
		q.bytes -= len(f) + frameOverhead
		q.frames[n] = nil
		n++
	}
	if q.frames = q.frames[n:]; len(q.frames) == 0 {
		q.frames = nil
	}
	q.taken = n > 0
	if q.taken {
		return batch, false
	}
	if q.idle != nil {
		close(q.idle)
		q.idle = nil
	}
	drained, q.overflow = q.overflow, false
	return batch, drained
}

// waitIdle returns when no frame is queued or being written, when stop is closed, or after at most d.
func (q *queue) waitIdle(stop <-chan struct{}, d time.Duration) {
	q.mu.Lock()
	if len(q.frames) == 0 && !q.taken {
		q.mu.Unlock()
		return
	}
	if q.idle == nil {
		q.idle = make(chan struct{})
	}
	idle := q.idle
	q.mu.Unlock()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-idle:
	case <-stop:
	case <-t.C:
	}
}
