package node

import (
	"context"
	"testing"
	"time"

	"bdtnode/node/admission"
)

// TestPlacesAreShared: one party never holds all places, a second one finds one at once, and a place that is given back
// goes to the oldest request that its party's share allows.
func TestPlacesAreShared(t *testing.T) {
	p := newPlaces(96)
	over, end := context.WithCancel(t.Context())
	end()
	took := 0
	for p.take(over, "greedy") {
		took++
	}
	if took != 72 {
		t.Errorf("one party takes %d of 96 places, want 72", took)
	}
	for _, party := range []admission.Party{"second", "third"} {
		if !p.take(over, party) {
			t.Errorf("the %s party finds no place", party)
		}
	}
	done := make(chan bool)
	go func() { done <- p.take(t.Context(), "greedy") }()
	for waits := 0; waits == 0; time.Sleep(time.Millisecond) {
		p.mu.Lock()
		waits = len(p.waiting)
		p.mu.Unlock()
	}
	for range 3 { // of 72 it now holds 69: with 25 free, it may hold 70
		p.give("greedy")
	}
	if !<-done {
		t.Error("a request that waits does not get a place that is given back")
	}
	for range 70 {
		p.give("greedy")
	}
	p.give("second")
	p.give("third")
	if p.free != 96 || len(p.held) != 0 || len(p.waiting) != 0 {
		t.Errorf("in the end %d places are free, held %v, %d wait", p.free, p.held, len(p.waiting))
	}
}
