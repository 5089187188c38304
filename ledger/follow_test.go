package ledger

import (
	"testing"

	"bdtnode/internal/kv"
)

// TestAdvanced: a caller learns of the next executed block, and misses none between two calls.
func TestAdvanced(t *testing.T) {
	s := open(t, kv.NewMem(), testConfig(1, 10, 100))
	for want := range uint64(3) {
		height, higher := s.Advanced()
		if _, again := s.Advanced(); height != want || again != higher {
			t.Fatalf("at height %d, want %d", height, want)
		}
		select {
		case <-higher:
			t.Fatal("closed before a block was executed")
		default:
		}
		run(t, s, genesisTime)
		<-higher
	}
	run(t, s, genesisTime) // no caller waits
	if height, _ := s.Advanced(); height != 4 {
		t.Errorf("at height %d, want 4", height)
	}
}

// TestNoReceipts: a block that was not executed, and an address without history.
func TestNoReceipts(t *testing.T) {
	s := open(t, kv.NewMem(), testConfig(1, 10, 100))
	if r, more, ok, err := s.BlockReceipts(1, 0, 10); ok || more || err != nil || len(r) > 0 {
		t.Errorf("receipts of a block ahead: %v %v %v %v", r, more, ok, err)
	}
	if r, more, ok, err := s.BlockReceipts(0, 0, 10); !ok || more || err != nil || len(r) > 0 {
		t.Errorf("receipts of the genesis: %v %v %v %v", r, more, ok, err)
	}
	if n, err := s.FirstChange(Address{1}, 0); n != 0 || err != nil {
		t.Errorf("first change of an unknown address: %d, %v", n, err)
	}
	if h, err := s.Changes(Address{1}, 0, 10); len(h) > 0 || err != nil {
		t.Errorf("history of an unknown address: %v, %v", h, err)
	}
}
