package kv

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// Default bounds of a [Window].
const (
	DefaultWindowKeys  = 300_000
	DefaultWindowBytes = 64 << 20
)

// WindowOptions describe the memory of a [Window]. The zero WindowOptions are the defaults.
type WindowOptions struct {
	Keys  int // greatest number of changed keys in memory before they are written; 0 for the default
	Bytes int // greatest length of these keys and their values; 0 for the default
	// Groups are the first bytes of keys that are many, each with a number of bytes: a Scan over keys that are equal in
	// that many first bytes reads these only. A Scan over a wider range of such keys reads all of them in memory. Other
	// keys cost more time to write, and a Scan reads no key outside of its range.
	Groups map[byte]int
}

// Window is a store in a directory that keeps the newest changes in memory. When the window is full, its net changes are
// sorted, written as tables, and added to the store in one atomic step, while further batches go into a new window. So a
// key that is created and deleted in between is never written, and others are written once for all changes of the
// window. A batch that comes when both windows are full waits for the first one.
//
// There is no log. A crash loses the batches since the last step, and never a part of a batch.
type Window struct {
	disk *Pebble
	opts WindowOptions

	mu      sync.RWMutex
	seq     uint64 // number of the newest batch
	active  *changes
	full    *changes // is being written; nil if there is none
	written chan struct{}
	open    map[*windowSnapshot]struct{} // snapshots that read active
	seen    uint64                       // greatest seq of these snapshots
}

// OpenWindow opens the store in dir like [OpenPebble], with a window in memory and without a log.
func OpenWindow(dir string, opts Options, window WindowOptions) (*Window, error) {
	opts.NoLog, opts.window = true, true
	if window.Keys == 0 {
		window.Keys = DefaultWindowKeys
	}
	if window.Bytes == 0 {
		window.Bytes = DefaultWindowBytes
	}
	p, err := OpenPebble(dir, opts)
	if err != nil {
		return nil, err
	}
	if err := p.removeUnfinishedTables(); err != nil {
		return nil, errors.Join(fmt.Errorf("store %s: %w", dir, err), p.db.Close())
	}
	return &Window{disk: p, opts: window, active: newChanges(nil), open: make(map[*windowSnapshot]struct{})}, nil
}

// Get implements [Reader].
func (w *Window) Get(key []byte) ([]byte, bool, error) {
	if err := w.disk.enter(); err != nil {
		return nil, false, err
	}
	defer w.disk.leave()
	w.mu.RLock()
	v := w.newest(key)
	var value []byte
	if v != nil {
		value = v.value // Apply may change v, but no value
	}
	w.mu.RUnlock()
	if v != nil {
		return value, value != nil, nil
	}
	value, ok, err := get(w.disk.db, key)
	return value, ok, w.disk.read(err)
}

// newest is the newest version of a key in memory, nil if there is none. The caller holds the lock.
func (w *Window) newest(key []byte) *version {
	v := w.active.get(w.opts.Groups, key, math.MaxUint64)
	if v == nil && w.full != nil {
		v = w.full.get(w.opts.Groups, key, math.MaxUint64)
	}
	return v
}

// GetMany reads many keys, in less time than [Window.Get] for each of them. It calls yield for each key that exists, with its
// place in keys, in any order; value is valid during that call only. If batches are applied meanwhile, the values may be
// of different states.
func (w *Window) GetMany(keys [][]byte, yield func(n int, value []byte)) error {
	if err := w.disk.enter(); err != nil {
		return err
	}
	defer w.disk.leave()
	below := make([]sortItem, 0, len(keys)) // not in memory
	w.mu.RLock()
	for n, key := range keys {
		switch v := w.newest(key); {
		case v == nil:
			below = append(below, sortItem{n: uint32(n)})
		case v.value != nil:
			yield(n, v.value)
		}
	}
	w.mu.RUnlock()
	sortByKey(below, func(n uint32) []byte { return keys[n] })
	return w.disk.read(getSorted(w.disk.db, keys, below, yield))
}

// getSorted reads keys in ascending order.
func getSorted(db *pebble.DB, keys [][]byte, order []sortItem, yield func(n int, value []byte)) error {
	it, err := db.NewIter(nil)
	if err != nil {
		return err
	}
	for _, k := range order {
		key := keys[k.n]
		if !it.SeekPrefixGE(key) || !bytes.Equal(it.Key(), key) {
			continue
		}
		var value []byte
		if value, err = valueAt(it); err != nil {
			break
		}
		yield(int(k.n), value)
	}
	return errors.Join(err, it.Close()) // Close returns an error of the iterator too
}

// Scan implements [Reader].
func (w *Window) Scan(lower, upper []byte, reverse bool, yield func(key, value []byte) bool) error {
	s, err := w.snapshot()
	if err != nil {
		return err
	}
	return errors.Join(s.Scan(lower, upper, reverse, yield), s.Close())
}

// Apply implements [Store]. The window keeps the values of b, which must never change.
func (w *Window) Apply(b *Batch, sync bool) error {
	if err := w.disk.enter(); err != nil {
		return err
	}
	defer w.disk.leave()
	w.mu.Lock()
	for w.full != nil && (w.active.count >= w.opts.Keys || w.active.bytes >= w.opts.Bytes) {
		if err := w.wait(); err != nil {
			return err
		}
	}
	w.seq++
	w.active.apply(b, w.opts.Groups, w.seq, w.seen)
	if w.full == nil && (w.active.count >= w.opts.Keys || w.active.bytes >= w.opts.Bytes) {
		w.turn()
	}
	w.mu.Unlock()
	if sync {
		return w.flush()
	}
	return nil
}

// wait waits until the full window is written. The caller holds the lock, also afterwards unless there is an error.
func (w *Window) wait() error {
	written := w.written
	w.mu.Unlock()
	select {
	case <-written:
	case <-w.disk.Failed():
	}
	if err := w.disk.fs.failure(); err != nil {
		return err
	}
	w.mu.Lock()
	return nil
}

// turn begins a new window, and writes the active one in the background. The caller holds the lock, and no other window is
// being written.
func (w *Window) turn() {
	full, written := w.active, make(chan struct{})
	w.active, w.full, w.written, w.seen = newChanges(full), full, written, 0
	go func() {
		defer close(written)
		if w.disk.guard(func() error { return w.disk.ingest(full.sorted(), w.opts.Groups) }) != nil {
			return // the store has failed, and every call returns the error
		}
		w.mu.Lock()
		w.full = nil
		w.mu.Unlock()
	}()
}

// Flush implements [Store].
func (w *Window) Flush() error {
	if err := w.disk.enter(); err != nil {
		return err
	}
	defer w.disk.leave()
	return w.flush()
}

func (w *Window) flush() error {
	w.mu.Lock()
	for last := w.seq; ; {
		if w.full == nil {
			if w.active.count == 0 || last == 0 {
				w.mu.Unlock()
				return w.disk.fs.failure()
			}
			w.turn()
			last = 0 // later batches need not be written
		}
		if err := w.wait(); err != nil {
			return err
		}
	}
}

// Durable implements [Store].
func (w *Window) Durable(key []byte) (value []byte, ok bool, err error) { return w.disk.Durable(key) }

// Syncs implements [Store].
func (w *Window) Syncs() uint64 { return w.disk.Syncs() }

// Written is the number of bytes written to files since the store was opened.
func (w *Window) Written() uint64 { return w.disk.Written() }

// DiskUse reads the sizes of the files. It returns zero once the store is closed.
func (w *Window) DiskUse() DiskUse { return w.disk.DiskUse() }

// Failed implements [Store].
func (w *Window) Failed() <-chan struct{} { return w.disk.Failed() }

// Close implements [Store]. It writes the window.
func (w *Window) Close() error {
	if err := w.Flush(); err != nil {
		return err
	}
	return w.disk.Close()
}
