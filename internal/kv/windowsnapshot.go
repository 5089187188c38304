package kv

import (
	"bytes"
	"slices"
)

// Snapshot implements [Store].
func (w *Window) Snapshot() (Snapshot, error) { return w.snapshot() }

// windowSnapshot is a state of a window.
type windowSnapshot struct {
	w      *Window
	active *changes
	sealed []*sealed
	rest   *node // of active, which may get another one
	seq    uint64
	disk   *pebbleSnapshot
}

func (w *Window) snapshot() (*windowSnapshot, error) {
	if err := w.disk.enter(); err != nil {
		return nil, err
	}
	defer w.disk.leave()
	w.mu.Lock()
	defer w.mu.Unlock()
	s := &windowSnapshot{w: w, active: w.active, sealed: w.sealed, rest: w.active.rest, seq: w.seq, disk: &pebbleSnapshot{w.disk, w.disk.db.NewSnapshot()}}
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
	for i := len(s.sealed) - 1; v == nil && i >= 0; i-- {
		v = s.sealed[i].get(s.w.opts.Groups, key, s.seq)
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
	at := changes{grouped: s.active.grouped, rest: s.rest}
	lists := [][]change{at.within(nil, s.w.opts.Groups, lower, upper, s.seq)} // the newest first
	for i := len(s.sealed) - 1; i >= 0; i-- {
		lists = append(lists, s.sealed[i].within(nil, s.w.opts.Groups, lower, upper, s.seq))
	}
	s.w.mu.RUnlock()
	m := merger{reverse: reverse, yield: yield}
	for i := len(lists) - 1; i >= 0; i-- {
		sortChanges(lists[i])
		m.list = mergeChanges(lists[i], m.list)
	}
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
		c := bytes.Compare(m.list[0].key, key)
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
	m.ended = c.value != nil && !m.yield(c.key, c.value)
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
