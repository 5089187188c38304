package engine

import (
	"testing"

	"bdtnode/node/replica"
	"bdtnode/protocols"
)

// TestServingTakesTurns: a peer that asks for more than is kept loses its own questions, and others wait for one answer
// to it each.
func TestServingTakesTurns(t *testing.T) {
	s := &server{waiting: make([][]protocols.Message, 4), some: make(chan struct{}, 1)}
	for range 10 * maxServing {
		s.put(3, &replica.Serve{From: 1})
	}
	s.put(1, &replica.Serve{From: 7})
	s.put(1, &replica.Serve{From: 8})
	given := make(map[protocols.Index]int)
	for k := range uint64(4) {
		a, ok := s.next()
		if !ok {
			t.Fatal("nothing waits")
		}
		if given[a.to]++; a.to == 1 && a.m.(*replica.Serve).From != 7+k/2 {
			t.Errorf("answer %d to replica 1 is from %d", k, a.m.(*replica.Serve).From)
		}
	}
	if given[1] != 2 || given[3] != 2 {
		t.Errorf("of four answers %v", given)
	}
	rest := 0
	for _, ok := s.next(); ok; _, ok = s.next() {
		rest++
	}
	if rest != maxServing-2 {
		t.Errorf("%d more wait for the peer that asked too much", rest)
	}
}
