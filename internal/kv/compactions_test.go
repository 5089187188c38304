package kv

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// compactingStore is a store with a number of compactions to do, as a scheduler sees it.
type compactingStore struct {
	mu      sync.Mutex
	s       *compactions
	allowed int
	waiting int
	started int
	calls   int // of GetWaitingCompaction
}

func newCompactingStore(allowed int) *compactingStore {
	d := &compactingStore{s: newCompactions(), allowed: allowed}
	d.s.Register(2, d)
	return d
}

// want adds compactions, as the store does when tables were added.
func (d *compactingStore) want(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for d.waiting += n; d.waiting > 0; {
		ok, _ := d.s.TrySchedule()
		if !ok {
			return
		}
		d.waiting--
		d.started++
	}
}

func (d *compactingStore) GetAllowedWithoutPermission() int { return d.allowed }

func (d *compactingStore) GetWaitingCompaction() (bool, pebble.WaitingCompaction) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls++
	return d.waiting > 0, pebble.WaitingCompaction{}
}

func (d *compactingStore) Schedule(pebble.CompactionGrantHandle) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.waiting == 0 {
		return false
	}
	d.waiting--
	d.started++
	return true
}

func (d *compactingStore) check(t *testing.T, started int) {
	t.Helper()
	synctest.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.started != started {
		t.Fatalf("%d compactions were started, want %d", d.started, started)
	}
}

func TestCompactionsStartAsFarAsTheStoreAllows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newCompactingStore(1)
		d.want(3)
		d.check(t, 1)
		d.s.Done()
		d.check(t, 2)
		d.s.Done()
		d.check(t, 3)
		d.s.Done()
		d.want(1)
		d.check(t, 4)
		d.s.Unregister()
	})
}

func TestCompactionsStartWhenMoreAreAllowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newCompactingStore(1)
		d.want(4)
		d.check(t, 1)
		d.s.UpdateGetAllowedWithoutPermission()
		d.check(t, 1)
		d.allowed = 2
		d.s.UpdateGetAllowedWithoutPermission()
		d.check(t, 2)
		d.allowed = 3
		d.s.UpdateGetAllowedWithoutPermission()
		d.check(t, 3)
		d.s.Done()
		d.check(t, 4)
		d.s.Unregister()
	})
}

func TestNoCompactionAfterTheStoreIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newCompactingStore(1)
		d.want(2)
		d.s.Unregister()
		d.s.Done()
		time.Sleep(time.Second)
		d.check(t, 1)
		if ok, _ := d.s.TrySchedule(); ok {
			t.Fatal("a compaction was allowed after the end")
		}
	})
}
