package fairshare

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"
)

// TestPlacesAreShared: one party never holds all places, a second one finds one at once, and a place that is given back
// goes to a request that its party's share allows.
func TestPlacesAreShared(t *testing.T) {
	p := NewPlaces[string](96, 1)
	over, end := context.WithCancel(t.Context())
	end()
	took := 0
	for p.Take(over, "greedy") {
		took++
	}
	if took != 72 {
		t.Errorf("one party takes %d of 96 places, want 72", took)
	}
	for _, party := range []string{"second", "third"} {
		if !p.Take(over, party) {
			t.Errorf("the %s party finds no place", party)
		}
	}
	done := make(chan bool)
	go func() { done <- p.Take(t.Context(), "greedy") }()
	for p.Waiting() == 0 {
		time.Sleep(time.Millisecond)
	}
	for range 3 { // of 72 it now holds 69: with 25 free, it may hold 70
		p.Give("greedy")
	}
	if !<-done {
		t.Error("a request that waits does not get a place that is given back")
	}
	for range 70 {
		p.Give("greedy")
	}
	p.Give("second")
	p.Give("third")
	wantIdle(t, p, 96)
}

// TestPartiesGetPlacesInTurn: a party with many requests takes turns with others, and a request that no longer waits gets
// no place. With a least amount of all places, one party may hold all.
func TestPartiesGetPlacesInTurn(t *testing.T) {
	p := NewPlaces[string](1, 1)
	if !p.Take(t.Context(), "greedy") {
		t.Fatal("no place")
	}
	var mu sync.Mutex
	var order []string
	var wg sync.WaitGroup
	queue := func(party string, n int) {
		for range n {
			before := p.Waiting()
			wg.Go(func() {
				if p.Take(t.Context(), party) {
					mu.Lock()
					order = append(order, party)
					mu.Unlock()
					p.Give(party)
				}
			})
			for p.Waiting() == before {
				time.Sleep(time.Millisecond)
			}
		}
	}
	queue("greedy", 5)
	queue("modest", 2)
	gone, cancel := context.WithCancel(t.Context())
	wg.Go(func() {
		if p.Take(gone, "gone") {
			t.Error("a place for a client that is gone")
		}
	})
	for p.Waiting() != 8 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	for p.Waiting() != 7 {
		time.Sleep(time.Millisecond)
	}
	p.Give("greedy")
	wg.Wait()
	if want := []string{"greedy", "modest", "greedy", "modest", "greedy", "greedy", "greedy"}; !slices.Equal(order, want) {
		t.Errorf("places went to %v, want %v", order, want)
	}
	wantIdle(t, p, 1)
}

// TestOnePartyMayHoldAllPlaces: with a least amount of all places, a single party gets all, and still takes turns with
// others.
func TestOnePartyMayHoldAllPlaces(t *testing.T) {
	p := NewPlaces[string](3, 3)
	for range 3 {
		if !p.Take(t.Context(), "alone") {
			t.Fatal("no place")
		}
	}
	got := make(chan bool)
	go func() { got <- p.Take(t.Context(), "other") }()
	for p.Waiting() == 0 {
		time.Sleep(time.Millisecond)
	}
	p.Give("alone")
	if !<-got {
		t.Error("the other party gets no place")
	}
	p.Give("alone")
	p.Give("alone")
	p.Give("other")
	wantIdle(t, p, 3)
}

// wantIdle checks that all places are free and that nothing is kept of parties.
func wantIdle(t *testing.T, p *Places[string], places int64) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pool.Free() != places || p.pool.Parties()+len(p.queues)+len(p.order) != 0 {
		t.Errorf("%d places are free, want %d; %d parties hold some, %v wait", p.pool.Free(), places, p.pool.Parties(), p.order)
	}
}
