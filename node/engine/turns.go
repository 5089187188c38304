package engine

import (
	"context"
	"sync"

	"bdtnode/node/admission"
)

// turns shares a number of places among parties. If several parties wait, they get places in turn, regardless of the
// number of their requests. A single party gets all places.
type turns struct {
	mu     sync.Mutex
	free   int
	queues map[admission.Party][]chan struct{}
	order  []admission.Party // the parties that wait, the next one first
}

func newTurns(places int) *turns {
	return &turns{free: places, queues: make(map[admission.Party][]chan struct{})}
}

// take waits for a place, which give returns, and reports whether it got one before ctx ended.
func (t *turns) take(ctx context.Context, p admission.Party) bool {
	t.mu.Lock()
	if t.free > 0 {
		t.free--
		t.mu.Unlock()
		return true
	}
	mine := make(chan struct{})
	if len(t.queues[p]) == 0 {
		t.order = append(t.order, p)
	}
	t.queues[p] = append(t.queues[p], mine)
	t.mu.Unlock()
	select {
	case <-mine:
		return true
	case <-ctx.Done():
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	select {
	case <-mine: // the place came too late, and is passed to another party
		t.pass()
	default:
		t.forget(p, mine)
	}
	return false
}

// give returns a place.
func (t *turns) give() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pass()
}

// pass gives a place to the party whose turn it is.
func (t *turns) pass() {
	if len(t.order) == 0 {
		t.free++
		return
	}
	p := t.order[0]
	t.order = t.order[1:]
	close(t.queues[p][0])
	t.shift(p, 0)
	if len(t.queues[p]) > 0 {
		t.order = append(t.order, p)
	}
}

// forget removes a request that no longer waits from its party's queue.
func (t *turns) forget(p admission.Party, mine chan struct{}) {
	for i, c := range t.queues[p] {
		if c == mine {
			t.shift(p, i)
			break
		}
	}
	if len(t.queues[p]) > 0 {
		return
	}
	for i := range t.order {
		if t.order[i] == p {
			t.order = append(t.order[:i:i], t.order[i+1:]...)
			return
		}
	}
}

func (t *turns) shift(p admission.Party, i int) {
	q := t.queues[p]
	if len(q) == 1 {
		delete(t.queues, p)
		return
	}
	t.queues[p] = append(q[:i:i], q[i+1:]...)
}
