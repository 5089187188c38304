package kv

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2"
)

// Range has the keys with Lower <= key < Upper. Neither is nil.
type Range struct{ Lower, Upper []byte }

// Keeper is implemented by stores that keep earlier states, each under a number.
type Keeper interface {
	// Keep keeps the present state under a number. It returns before the state is on disk, and Flush waits for that. If a
	// batch after it survives a crash, so does the state. It does nothing if there is a state with this number. Readers of
	// the state see all keys in ranges; of others, they may see older values or none.
	Keep(number uint64, ranges []Range) error
	// Kept lists the numbers of the states that are on disk, in ascending order.
	Kept() ([]uint64, error)
	// ReadKept opens the state with a number, and waits until it is on disk; ok is false if there is none. Several readers
	// may be open.
	ReadKept(number uint64) (s Snapshot, ok bool, err error)
	// Forget removes the state with a number, as soon as it has no reader.
	Forget(number uint64) error
}

// RangeDeleter is implemented by stores that delete a range of keys in about the time of one key.
type RangeDeleter interface {
	// DeleteRanges deletes the keys of earlier batches in the ranges, in the background: a reader may still see them. A crash
	// may undo the deletion, unless a flush came after it.
	DeleteRanges(ranges ...Range) error
}

var (
	_ Keeper       = (*Window)(nil)
	_ Keeper       = (*Mem)(nil)
	_ RangeDeleter = (*Window)(nil)
	_ RangeDeleter = (*Mem)(nil)
)

// A kept state is a directory of links to the tables of the store, below the directory of the store. Its name is the number
// in decimal; while it is made or removed, with a suffix. The links keep the tables after a compaction has replaced them.
const (
	keptDir    = "kept"
	keptPart   = ".part"
	keptGone   = ".gone"
	keptDigits = 20
	keptCache  = 4 << 20 // bytes of the cache of an open state
)

// KeptOpenFiles is the greatest number of files that an open kept state adds to those of its store.
const KeptOpenFiles = 80

// keptReader is the engine on a kept state.
type keptReader struct {
	db   *pebble.DB
	refs int
	gone bool // it is removed when refs drops to 0
}

func (p *Pebble) keptPath(number uint64) string {
	return p.fs.PathJoin(p.dir, keptDir, fmt.Sprintf("%0*d", keptDigits, number))
}

// keep makes the present state of the tables a kept one.
func (p *Pebble) keep(number uint64, ranges []Range) error {
	path := p.keptPath(number)
	if _, err := p.fs.Stat(path); err == nil {
		return nil
	} else if !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("keep state %d: %w", number, err)
	}
	spans := make([]pebble.CheckpointSpan, len(ranges))
	for i, r := range ranges {
		spans[i] = pebble.CheckpointSpan{Start: r.Lower, End: r.Upper}
	}
	err := p.db.Checkpoint(path+keptPart, pebble.WithRestrictToSpans(spans))
	if err == nil {
		err = p.fs.Rename(path+keptPart, path)
	}
	if err == nil {
		err = p.syncDir(p.fs.PathJoin(p.dir, keptDir))
	}
	if err != nil {
		return fmt.Errorf("keep state %d: %w", number, err)
	}
	return nil
}

func (p *Pebble) syncDir(name string) error {
	d, err := p.fs.OpenDir(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// keptNames lists the directory of kept states.
func (p *Pebble) keptNames() ([]string, error) {
	names, err := p.fs.List(p.fs.PathJoin(p.dir, keptDir))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return names, err
}

// kept lists the kept states.
func (p *Pebble) kept() ([]uint64, error) {
	names, err := p.keptNames()
	if err != nil {
		return nil, fmt.Errorf("list the kept states: %w", err)
	}
	var out []uint64
	for _, name := range names {
		if n, err := strconv.ParseUint(name, 10, 64); err == nil {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out, nil
}

// removeUnfinishedStates removes the directories that a crash left behind.
func (p *Pebble) removeUnfinishedStates() error {
	names, err := p.keptNames()
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasSuffix(name, keptPart) || strings.HasSuffix(name, keptGone) {
			if err := p.fs.RemoveAll(p.fs.PathJoin(p.dir, keptDir, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// readKept opens a kept state that is on disk.
func (p *Pebble) readKept(number uint64) (*keptSnapshot, bool, error) {
	p.keptMu.Lock()
	defer p.keptMu.Unlock()
	r := p.readers[number]
	if r != nil && r.gone {
		return nil, false, nil
	}
	if r == nil {
		if _, err := p.fs.Stat(p.keptPath(number)); err != nil {
			if errors.Is(err, os.ErrNotExist) {
				err = nil
			}
			return nil, false, err
		}
		cache := pebble.NewCache(keptCache)
		defer cache.Unref()
		opts := p.opts
		opts.OpenFiles = KeptOpenFiles
		o := p.options(opts, cache)
		o.ReadOnly = true
		db, err := pebble.Open(p.keptPath(number), o)
		if err != nil {
			return nil, false, fmt.Errorf("open kept state %d: %w", number, err)
		}
		r = &keptReader{db: db}
		p.readers[number] = r
	}
	r.refs++
	return &keptSnapshot{p, number, r}, true, nil
}

// forget removes a kept state, or lets its last reader do it.
func (p *Pebble) forget(number uint64) error {
	p.keptMu.Lock()
	defer p.keptMu.Unlock()
	if r := p.readers[number]; r != nil {
		r.gone = true
		return nil
	}
	return p.removeKept(number)
}

func (p *Pebble) removeKept(number uint64) error {
	path := p.keptPath(number)
	if _, err := p.fs.Stat(path); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	err := p.fs.Rename(path, path+keptGone)
	if err == nil {
		err = p.fs.RemoveAll(path + keptGone)
	}
	if err != nil {
		return fmt.Errorf("remove kept state %d: %w", number, err)
	}
	return nil
}

// keptSnapshot is a reader of a kept state.
type keptSnapshot struct {
	store  *Pebble
	number uint64
	reader *keptReader
}

func (s *keptSnapshot) Get(key []byte) ([]byte, bool, error) {
	if err := s.store.enter(); err != nil {
		return nil, false, err
	}
	defer s.store.leave()
	v, ok, err := get(s.reader.db, key)
	return v, ok, s.store.read(err)
}

func (s *keptSnapshot) Scan(lower, upper []byte, reverse bool, yield func(key, value []byte) bool) error {
	if err := s.store.enter(); err != nil {
		return err
	}
	defer s.store.leave()
	if len(lower) == 0 {
		lower = []byte{1} // keys below belong to the store itself
	}
	return s.store.read(scan(s.reader.db, lower, upper, reverse, yield))
}

func (s *keptSnapshot) Close() error {
	if err := s.store.enter(); err != nil {
		return err
	}
	defer s.store.leave()
	s.store.keptMu.Lock()
	defer s.store.keptMu.Unlock()
	if s.reader.refs--; s.reader.refs > 0 {
		return nil
	}
	delete(s.store.readers, s.number)
	err := s.reader.db.Close()
	if err == nil && s.reader.gone {
		err = s.store.removeKept(s.number)
	}
	return err
}

// keepOrder is a state to be kept.
type keepOrder struct {
	number uint64
	ranges []Range
}

// Keep implements [Keeper]. The window ends, and the state is kept after its tables are in the store and before those of
// later windows are. A call that comes while two windows wait for the disk waits for the first one.
func (w *Window) Keep(number uint64, ranges []Range) error {
	return w.end(&keepOrder{number, ranges}, nil)
}

// end ends the window with an order for the time after its tables are in the store. While two windows wait for the disk, it
// waits for the first one.
func (w *Window) end(keep *keepOrder, deleted []Range) error {
	if err := w.disk.enter(); err != nil {
		return err
	}
	defer w.disk.leave()
	w.mu.Lock()
	for len(w.sealed) >= maxSealed {
		if err := w.wait(); err != nil {
			return err
		}
	}
	w.seal(keep, deleted)
	w.mu.Unlock()
	return nil
}

// Kept implements [Keeper].
func (w *Window) Kept() ([]uint64, error) {
	if err := w.disk.enter(); err != nil {
		return nil, err
	}
	defer w.disk.leave()
	return w.disk.kept()
}

// ReadKept implements [Keeper].
func (w *Window) ReadKept(number uint64) (Snapshot, bool, error) {
	if err := w.disk.enter(); err != nil {
		return nil, false, err
	}
	defer w.disk.leave()
	w.mu.Lock()
	for slices.ContainsFunc(w.sealed, func(s *sealed) bool { return s.keep != nil && s.keep.number == number }) {
		if err := w.wait(); err != nil {
			return nil, false, err
		}
	}
	w.mu.Unlock()
	s, ok, err := w.disk.readKept(number)
	if err != nil || !ok {
		return nil, false, w.disk.read(err)
	}
	return s, true, nil
}

// Forget implements [Keeper].
func (w *Window) Forget(number uint64) error {
	if err := w.disk.enter(); err != nil {
		return err
	}
	defer w.disk.leave()
	return w.disk.guard(func() error { return w.disk.forget(number) })
}

// DeleteRanges implements [RangeDeleter]. The window ends, and the ranges are deleted after its tables are in the store and
// before those of later windows are. A call that comes while two windows wait for the disk waits for the first one.
func (w *Window) DeleteRanges(ranges ...Range) error {
	return w.end(nil, ranges)
}

// deleteRanges deletes ranges of keys. It returns when the deletion survives a crash. Nothing else is in memory that a table
// could overlap: the engine would keep such a table in its queue, and a crash would lose it, since there is no log.
func (p *Pebble) deleteRanges(ranges []Range) error {
	for _, r := range ranges {
		if err := p.db.DeleteRange(r.Lower, r.Upper, pebble.NoSync); err != nil {
			return fmt.Errorf("delete a range of keys: %w", err)
		}
	}
	if err := p.db.Flush(); err != nil {
		return fmt.Errorf("delete a range of keys: %w", err)
	}
	return nil
}
