package node

import (
	"context"
	"slices"
	"sync"

	"bdtnode/node/admission"
)

// shareOfFree is the number of places that a party may hold for each place that is left free: three quarters of all for one
// party alone, and the next party always finds one.
const shareOfFree = 3

// places bounds the calls to other shards that wait there for clients, and shares them among parties. A call may wait for a
// minute: without shares one client with many requests would take all.
type places struct {
	mu      sync.Mutex
	free    int
	held    map[admission.Party]int
	waiting []*waiter // oldest first; they hold no place, and the API bounds their number
}

// waiter is a request for a place.
type waiter struct {
	party admission.Party
	taken chan struct{} // closed with the place
}

func newPlaces(n int) *places { return &places{free: n, held: make(map[admission.Party]int)} }

// take waits for a place until ctx ends, and reports whether there was one. Each place is given back.
func (p *places) take(ctx context.Context, party admission.Party) bool {
	p.mu.Lock()
	if p.allows(party) {
		p.hold(party)
		p.mu.Unlock()
		return true
	}
	w := &waiter{party, make(chan struct{})}
	p.waiting = append(p.waiting, w)
	p.mu.Unlock()
	select {
	case <-w.taken:
		return true
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.waiting, w); i >= 0 {
		p.waiting = slices.Delete(p.waiting, i, i+1)
		return false
	}
	return true // it was given in the same moment
}

// give returns a place.
func (p *places) give(party admission.Party) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free++
	if p.held[party]--; p.held[party] == 0 {
		delete(p.held, party)
	}
	p.waiting = slices.DeleteFunc(p.waiting, func(w *waiter) bool {
		if !p.allows(w.party) {
			return false
		}
		p.hold(w.party)
		close(w.taken)
		return true
	})
}

func (p *places) allows(party admission.Party) bool {
	held := p.held[party] + 1
	return p.free > 0 && (held == 1 || held <= shareOfFree*(p.free-1))
}

func (p *places) hold(party admission.Party) {
	p.free--
	p.held[party]++
}
