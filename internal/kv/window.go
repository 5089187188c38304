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
	// Before is called before changes become durable, on another goroutine than Apply. They do not if it returns an error,
	// which makes the store fail. Nil does nothing.
	Before func() error
}

// Window is a store in a directory that keeps the newest changes in memory. When the window is full, its net changes are
// sorted, written as tables, and added to the store in one atomic step, while further batches go into a new window. So a
// key that is created and deleted in between is never written, and others are written once for all changes of the
// window. A batch that comes when the window is full and another one is being written waits for that. Keep and Flush end a
// window early; such a window and the next one together take no more memory than a full one.
//
// There is no log. A crash loses the batches since the last step, and never a part of a batch.
type Window struct {
	disk *Pebble
	opts WindowOptions

	mu     sync.RWMutex
	seq    uint64 // number of the newest batch
	active *changes
	sealed []*sealed                    // are written one after another, the oldest first
	open   map[*windowSnapshot]struct{} // snapshots that read active
	seen   uint64                       // greatest seq of these snapshots
}

// sealed are changes that no batch is added to any more.
type sealed struct {
	*changes
	keep    *keepOrder    // the state after them is kept; nil if not
	deleted []Range       // are deleted after them
	written chan struct{} // closed when all of this is done
}

// maxSealed is the number of sealed windows from which on no further one is sealed.
const maxSealed = 2

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
	if err := errors.Join(p.removeUnfinishedTables(), p.removeUnfinishedStates()); err != nil {
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
	for i := len(w.sealed) - 1; v == nil && i >= 0; i-- {
		v = w.sealed[i].get(w.opts.Groups, key, math.MaxUint64)
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
	for w.crowded() {
		if err := w.wait(); err != nil {
			return err
		}
	}
	w.seq++
	w.active.apply(b, w.opts.Groups, w.seq, w.seen)
	if len(w.sealed) == 0 && w.full(w.active.count, w.active.bytes) {
		w.seal(nil, nil)
	}
	w.mu.Unlock()
	if sync {
		return w.flush()
	}
	return nil
}

func (w *Window) full(keys, bytes int) bool { return keys >= w.opts.Keys || bytes >= w.opts.Bytes }

// crowded reports whether the changes behind the window that is being written fill a window.
func (w *Window) crowded() bool {
	if len(w.sealed) == 0 {
		return false
	}
	keys, bytes := w.active.count, w.active.bytes
	for _, s := range w.sealed[1:] {
		keys, bytes = keys+s.count, bytes+s.bytes
	}
	return w.full(keys, bytes)
}

// wait waits until the oldest sealed window is written. The caller holds the lock, also afterwards unless there is an error.
func (w *Window) wait() error {
	first := w.sealed[0]
	w.mu.Unlock()
	if err := w.await(first); err != nil {
		return err
	}
	w.mu.Lock()
	return nil
}

func (w *Window) await(s *sealed) error {
	select {
	case <-s.written:
	case <-w.disk.Failed():
	}
	return w.disk.fs.failure()
}

// seal begins a new window, and lets the active one be written. The caller holds the lock.
func (w *Window) seal(keep *keepOrder, deleted []Range) {
	w.sealed = append(w.sealed, &sealed{w.active, keep, deleted, make(chan struct{})})
	w.active, w.seen = newChanges(w.active), 0
	if len(w.sealed) == 1 {
		go w.write(w.sealed[0])
	}
}

// write writes sealed windows until there are none. If the store fails it ends, and every call returns the error.
func (w *Window) write(s *sealed) {
	for s != nil {
		if w.disk.guard(func() error { return w.writeOne(s) }) != nil {
			return
		}
		written := s.written
		w.mu.Lock()
		w.sealed = append([]*sealed(nil), w.sealed[1:]...) // a copy, since snapshots have the old list
		if s = nil; len(w.sealed) > 0 {
			s = w.sealed[0]
		}
		w.mu.Unlock()
		close(written)
	}
}

func (w *Window) writeOne(s *sealed) (err error) {
	if w.opts.Before != nil {
		err = w.opts.Before()
	}
	if err == nil {
		err = w.disk.ingest(s.sorted(), w.opts.Groups)
	}
	if err == nil && s.keep != nil {
		err = w.disk.keep(s.keep.number, s.keep.ranges)
	}
	if err == nil && len(s.deleted) > 0 {
		err = w.disk.deleteRanges(s.deleted)
	}
	return err
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
	for w.active.count > 0 && len(w.sealed) >= maxSealed {
		if err := w.wait(); err != nil {
			return err
		}
	}
	if w.active.count > 0 {
		w.seal(nil, nil)
	}
	if len(w.sealed) == 0 {
		w.mu.Unlock()
		return w.disk.fs.failure()
	}
	last := w.sealed[len(w.sealed)-1]
	w.mu.Unlock()
	return w.await(last)
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
