package kv

import (
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// compactions grants the compactions of one store, as many at a time as the store allows. Pebble's default scheduler does the
// same, and looks at the allowed number every 100 ms too, also in an idle store: with two stores in a process, these looks
// were most of the wake-ups of an idle replica. Here the number is looked at when it may have changed: a compaction ends, or
// a flush or an ingestion adds tables.
type compactions struct {
	db      pebble.DBForCompaction
	mu      sync.Mutex
	running int
	refused bool // a compaction waits for permission
	closed  bool // Unregister was called
	looks   int  // calls of grant in progress
	idle    sync.Cond
	turn    sync.Mutex // held by the one grant at a time that calls db
}

var (
	_ pebble.CompactionScheduler   = (*compactions)(nil)
	_ pebble.CompactionGrantHandle = (*compactions)(nil)
)

func newCompactions() *compactions {
	c := &compactions{}
	c.idle.L = &c.mu
	return c
}

// Register implements [pebble.CompactionScheduler].
func (c *compactions) Register(_ int, db pebble.DBForCompaction) { c.db = db }

// Unregister implements [pebble.CompactionScheduler]. After it, no method of the store is called.
func (c *compactions) Unregister() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for c.looks > 0 {
		c.idle.Wait()
	}
}

// TrySchedule implements [pebble.CompactionScheduler].
func (c *compactions) TrySchedule() (bool, pebble.CompactionGrantHandle) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false, nil
	}
	if c.running < c.db.GetAllowedWithoutPermission() {
		c.running++
		return true, c
	}
	c.refused = true
	return false, nil
}

// UpdateGetAllowedWithoutPermission implements [pebble.CompactionScheduler]: tables were added. The store may hold its lock, so
// compactions are started by another goroutine.
func (c *compactions) UpdateGetAllowedWithoutPermission() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refused && c.running < c.db.GetAllowedWithoutPermission() && c.enter() {
		go c.grant()
	}
}

// Started implements [pebble.CompactionGrantHandle].
func (c *compactions) Started() {}

// MeasureCPU implements [pebble.CompactionGrantHandle].
func (c *compactions) MeasureCPU(pebble.CompactionGoroutineKind) {}

// CumulativeStats implements [pebble.CompactionGrantHandle].
func (c *compactions) CumulativeStats(pebble.CompactionGrantHandleStats) {}

// Done implements [pebble.CompactionGrantHandle]: a compaction has ended.
func (c *compactions) Done() {
	c.mu.Lock()
	c.running--
	ok := c.enter()
	c.mu.Unlock()
	if ok {
		c.grant()
	}
}

// enter begins a look, unless the store is closed. The caller holds mu, and then calls grant.
func (c *compactions) enter() bool {
	if !c.closed {
		c.looks++
	}
	return !c.closed
}

// grant starts compactions that wait, as many as are allowed. It calls the store without mu, since the store's lock comes
// first. A refusal during the look is not lost: the store remembers the compaction under its own lock, and a look that finds
// none has that lock later.
func (c *compactions) grant() {
	c.turn.Lock()
	defer c.turn.Unlock()
	defer c.leave()
	for c.allowed() {
		waiting, _ := c.db.GetWaitingCompaction()
		if !waiting || !c.db.Schedule(c) {
			return
		}
		c.mu.Lock()
		c.running++
		c.mu.Unlock()
	}
	c.mu.Lock()
	c.refused = true // possibly: the next look finds out
	c.mu.Unlock()
}

// allowed reports whether one more compaction may run, and forgets that one was refused.
func (c *compactions) allowed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refused = false
	return !c.closed && c.running < c.db.GetAllowedWithoutPermission()
}

func (c *compactions) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.looks--; c.looks == 0 {
		c.idle.Broadcast()
	}
}
