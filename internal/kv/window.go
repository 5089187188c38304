package kv

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
)

// Default bounds of a [Window].
const (
	DefaultWindowKeys  = 200_000
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

// changes are the changes of some batches that follow each other. Only Apply changes them, and only while they are the
// active ones.
type changes struct {
	grouped map[string]*entry
	groups  map[string]*entry // by the first bytes of a key: the first of a list of entries
	rest    *node             // of other keys; a value of nil is a deletion
	count   int
	bytes   int
	slab    []entry // memory for entries
}

// entry is a changed key with its newest value and older ones that a snapshot may read.
type entry struct {
	key   string
	next  *entry // in its group
	fresh bool   // the key is not in the store below
	version
}

// version is the value of a key from the batch with number seq on; nil if it is deleted.
type version struct {
	value []byte
	seq   uint64
	older *version
}

// at returns the newest version that the batch with number seq or an earlier one made, nil if there is none.
func (v *version) at(seq uint64) *version {
	for v != nil && v.seq > seq {
		v = v.older
	}
	return v
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
	return &Window{disk: p, opts: window, active: newChanges(), open: make(map[*windowSnapshot]struct{})}, nil
}

func newChanges() *changes {
	return &changes{grouped: make(map[string]*entry), groups: make(map[string]*entry)}
}

// get returns the version of a key at seq, nil if the changes have none.
func (c *changes) get(groups map[byte]int, key []byte, seq uint64) *version {
	if _, ok := groups[first(key)]; ok {
		if e := c.grouped[string(key)]; e != nil {
			return e.version.at(seq)
		}
		return nil
	}
	if v, ok := c.rest.get(key); ok {
		return &version{value: v}
	}
	return nil
}

func first(key []byte) byte {
	if len(key) == 0 {
		return 0
	}
	return key[0]
}

// apply makes the changes of the batch with number seq. seen is the greatest number of a batch that an open snapshot reads.
func (c *changes) apply(b *Batch, groups map[byte]int, seq, seen uint64) {
	size := 0
	for i := range b.Ops {
		size += len(b.Ops[i].Key)
	}
	all := make([]byte, 0, size)
	for i := range b.Ops {
		all = append(all, b.Ops[i].Key...)
	}
	keys := string(all) // one allocation for all keys
	for i := range b.Ops {
		n := len(b.Ops[i].Key)
		c.put(&b.Ops[i], keys[:n], groups, seq, seen)
		keys = keys[n:]
	}
}

// put changes a key. key is the key of op.
func (c *changes) put(op *Op, key string, groups map[byte]int, seq, seen uint64) {
	value := op.Value
	if op.Delete {
		value = nil
	} else if value == nil {
		value = []byte{}
	}
	c.bytes += len(op.Key) + len(value)
	prefix, ok := groups[first(op.Key)]
	if !ok {
		c.count++ // an upper bound: the key may be there already
		c.rest = c.rest.insert(bytes.Clone(op.Key), value, seq)
		return
	}
	if e := c.grouped[key]; e != nil {
		switch {
		case seen == 0: // no snapshot reads an older version
			e.older = nil
		case e.seq <= seen:
			older := e.version
			e.older = &older
		}
		e.value, e.seq = value, seq
		return
	}
	c.count++
	if len(c.slab) == 0 {
		c.slab = make([]entry, min(256, 4+c.count))
	}
	e := &c.slab[0]
	c.slab = c.slab[1:]
	*e = entry{key: key, fresh: op.New, version: version{value: value, seq: seq}}
	c.grouped[e.key] = e
	if prefix > 0 && prefix <= len(e.key) {
		e.next = c.groups[e.key[:prefix]]
		c.groups[e.key[:prefix]] = e
	}
}

// change is a net change of a key.
type change struct {
	head  uint64 // first bytes of the key, by which it is compared first
	key   string
	value []byte // nil if the key is deleted
}

func newChange(key string, value []byte) change {
	c := change{key: key, value: value}
	var head [8]byte
	copy(head[:], key)
	c.head = binary.BigEndian.Uint64(head[:])
	return c
}

func (c *change) compare(d *change) int {
	if c.head != d.head {
		return cmp.Compare(c.head, d.head)
	}
	return cmp.Compare(c.key, d.key)
}

// sorted returns the net changes by key.
func (c *changes) sorted() []change {
	list := make([]change, 0, c.count)
	for _, e := range c.grouped {
		if e.value != nil || !e.fresh {
			list = append(list, newChange(e.key, e.value))
		}
	}
	c.rest.scan(nil, nil, false, func(key, value []byte) bool {
		list = append(list, newChange(string(key), value))
		return true
	})
	slices.SortFunc(list, func(a, b change) int { return a.compare(&b) })
	return list
}

// within appends the changes of keys from lower to upper at seq to list, in any order.
func (c *changes) within(list []change, groups map[byte]int, lower, upper []byte, seq uint64) []change {
	add := func(e *entry) {
		if (len(lower) == 0 || e.key >= string(lower)) && (upper == nil || e.key < string(upper)) {
			if v := e.version.at(seq); v != nil {
				list = append(list, newChange(e.key, v.value))
			}
		}
	}
	prefix := groups[first(lower)]
	if prefix > 0 && len(lower) >= prefix && upper != nil && bytes.Compare(upper, PrefixEnd(lower[:prefix])) <= 0 {
		for e := c.groups[string(lower[:prefix])]; e != nil; e = e.next {
			add(e)
		}
		return list
	}
	for b := range groups {
		if b >= first(lower) && (upper == nil || bytes.Compare([]byte{b}, upper) < 0) {
			for _, e := range c.grouped {
				add(e)
			}
			break
		}
	}
	c.rest.scan(lower, upper, false, func(key, value []byte) bool {
		list = append(list, newChange(string(key), value))
		return true
	})
	return list
}

// Get implements [Reader].
func (w *Window) Get(key []byte) ([]byte, bool, error) {
	if err := w.disk.enter(); err != nil {
		return nil, false, err
	}
	defer w.disk.leave()
	w.mu.RLock()
	v := w.active.get(w.opts.Groups, key, math.MaxUint64)
	if v == nil && w.full != nil {
		v = w.full.get(w.opts.Groups, key, math.MaxUint64)
	}
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

// Scan implements [Reader].
func (w *Window) Scan(lower, upper []byte, reverse bool, yield func(key, value []byte) bool) error {
	s, err := w.snapshot()
	if err != nil {
		return err
	}
	return errors.Join(s.Scan(lower, upper, reverse, yield), s.Close())
}

// Snapshot implements [Store].
func (w *Window) Snapshot() (Snapshot, error) { return w.snapshot() }

// windowSnapshot is a state of a window.
type windowSnapshot struct {
	w            *Window
	active, full *changes
	rest         *node // of active, which may get another one
	seq          uint64
	disk         *pebbleSnapshot
}

func (w *Window) snapshot() (*windowSnapshot, error) {
	if err := w.disk.enter(); err != nil {
		return nil, err
	}
	defer w.disk.leave()
	w.mu.Lock()
	defer w.mu.Unlock()
	s := &windowSnapshot{w: w, active: w.active, full: w.full, rest: w.active.rest, seq: w.seq, disk: &pebbleSnapshot{w.disk, w.disk.db.NewSnapshot()}}
	w.open[s] = struct{}{}
	w.seen = w.seq
	return s, nil
}

// Get implements [Reader].
func (s *windowSnapshot) Get(key []byte) ([]byte, bool, error) {
	if err := s.w.disk.enter(); err != nil {
		return nil, false, err
	}
	defer s.w.disk.leave()
	s.w.mu.RLock()
	at := changes{grouped: s.active.grouped, rest: s.rest}
	v := at.get(s.w.opts.Groups, key, s.seq)
	if v == nil && s.full != nil {
		v = s.full.get(s.w.opts.Groups, key, s.seq)
	}
	s.w.mu.RUnlock()
	if v != nil {
		return v.value, v.value != nil, nil
	}
	return s.disk.Get(key)
}

// Scan implements [Reader].
func (s *windowSnapshot) Scan(lower, upper []byte, reverse bool, yield func(key, value []byte) bool) error {
	if err := s.w.disk.enter(); err != nil {
		return err
	}
	defer s.w.disk.leave()
	if len(lower) == 0 {
		lower = []byte{1} // keys below belong to the store itself
	}
	s.w.mu.RLock()
	at := changes{grouped: s.active.grouped, groups: s.active.groups, rest: s.rest}
	list := at.within(nil, s.w.opts.Groups, lower, upper, s.seq)
	newer := len(list)
	if s.full != nil {
		list = s.full.within(list, s.w.opts.Groups, lower, upper, s.seq)
	}
	s.w.mu.RUnlock()
	slices.SortFunc(list[:newer], func(a, b change) int { return a.compare(&b) })
	slices.SortFunc(list[newer:], func(a, b change) int { return a.compare(&b) })
	m := merger{list: mergeChanges(list[:newer], list[newer:]), reverse: reverse, yield: yield}
	if reverse {
		slices.Reverse(m.list)
	}
	if err := s.disk.Scan(lower, upper, reverse, m.below); err != nil {
		return err
	}
	m.rest()
	return nil
}

// mergeChanges merges two sorted lists. Of two changes of a key, the one of newer counts.
func mergeChanges(newer, older []change) []change {
	if len(older) == 0 {
		return newer
	}
	out := make([]change, 0, len(newer)+len(older))
	for len(newer) > 0 && len(older) > 0 {
		switch c := newer[0].compare(&older[0]); {
		case c > 0:
			out, older = append(out, older[0]), older[1:]
		case c == 0:
			older = older[1:]
			fallthrough
		default:
			out, newer = append(out, newer[0]), newer[1:]
		}
	}
	return append(append(out, newer...), older...)
}

// merger calls yield for the entries of the store below and of a list of changes.
type merger struct {
	list    []change // in the order of the scan
	reverse bool
	yield   func(key, value []byte) bool
	ended   bool
}

// below is called for each entry of the store below.
func (m *merger) below(key, value []byte) bool {
	for len(m.list) > 0 {
		c := cmp.Compare(m.list[0].key, string(key))
		if m.reverse {
			c = -c
		}
		if c > 0 {
			break
		}
		if !m.take() {
			return false
		}
		if c == 0 {
			return true // the change replaces the entry
		}
	}
	m.ended = !m.yield(key, value)
	return !m.ended
}

// take yields the first change.
func (m *merger) take() bool {
	c := &m.list[0]
	m.list = m.list[1:]
	m.ended = c.value != nil && !m.yield([]byte(c.key), c.value)
	return !m.ended
}

func (m *merger) rest() {
	for !m.ended && len(m.list) > 0 {
		m.take()
	}
}

// Close implements [Snapshot].
func (s *windowSnapshot) Close() error {
	s.w.mu.Lock()
	delete(s.w.open, s)
	s.w.seen = 0
	for other := range s.w.open {
		if other.active == s.w.active {
			s.w.seen = max(s.w.seen, other.seq)
		}
	}
	s.w.mu.Unlock()
	return s.disk.Close()
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
	w.active, w.full, w.written, w.seen = newChanges(), full, written, 0
	go func() {
		defer close(written)
		if w.disk.guard(func() error { return w.disk.ingest(full.sorted()) }) != nil {
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
