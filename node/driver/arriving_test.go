package driver

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"bdtnode/protocols/inbound"
	"bdtnode/shard/settlement"
)

// miscertified is a copy of an LD whose certificate has a bad signature.
func miscertified(ld *settlement.LD) *settlement.LD {
	x := *ld
	x.Certificate.Signatures = slices.Clone(x.Certificate.Signatures)
	x.Certificate.Signatures[0][5] ^= 1
	return &x
}

// TestCopiesInGossip: once an LD is verified, its copies are dropped, with any certificate and without blame, while it is on
// its way to the loop and while it is held. Before, each copy is verified, and a bad one does not stop a good one.
func TestCopiesInGossip(t *testing.T) {
	b := newBench(t)
	offer := func(name string, ld *settlement.LD, want error, blamed bool) {
		t.Helper()
		err := b.d.Exchange().TakeGossip(ld)
		if blamed && (err == nil || errors.Is(err, ErrHeld)) || !blamed && !errors.Is(err, want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	good := b.ld(1)
	offer("a bad copy before the good one", miscertified(good), nil, true)
	offer("the good one", good, nil, false)
	offer("the same again", good, ErrHeld, false)
	offer("a bad copy on the way to the loop", miscertified(good), ErrHeld, false)
	if len(b.host.inbound) != 1 {
		t.Fatalf("%d LDs for the loop", len(b.host.inbound))
	}
	b.d.Handle(b.host.inbound[0])
	if len(b.d.exchange.arriving.lds) != 0 {
		t.Error("an LD that the loop has handled is in memory")
	}
	offer("a copy of a held LD", good, ErrHeld, false)
	offer("a bad copy of a held LD", miscertified(good), ErrHeld, false)

	// One that the replica could not keep is taken again, and its copies are verified again.
	ahead := b.ld(inbound.Window + 2)
	for range 2 {
		b.host.inbound = nil
		offer("one far ahead", ahead, nil, false)
		if len(b.host.inbound) != 1 {
			t.Fatal("an LD that was refused by its number never reaches the loop again")
		}
		b.d.Handle(b.host.inbound[0])
		offer("a bad copy of one far ahead", miscertified(ahead), nil, true)
	}
}

// TestCopiesAtATime: of many good copies that come at a time, one reaches the loop.
func TestCopiesAtATime(t *testing.T) {
	var a arriving
	var good atomic.Int64
	var all sync.WaitGroup
	d := newBench(t).ld(1).Digest()
	for i := range 16 {
		all.Go(func() {
			if a.begin(d) {
				verified := i >= 4 // four copies are bad
				if verified {
					good.Add(1)
				}
				a.end(d, verified)
			}
		})
	}
	all.Wait()
	if good.Load() != 1 || len(a.lds) != 1 {
		t.Errorf("%d copies reach the loop", good.Load())
	}
}
