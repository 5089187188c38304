package ledger

import (
	"fmt"
	"slices"
	"sort"

	"bdtnode/internal/kv"
	"bdtnode/internal/wire"
)

// With [Config.Retain], old block records and old windows of the id index are deleted, and with them receipts, proofs and
// history. The limit moves at each multiple of the state interval, and depends on heights and block times alone, so it is
// the same on every replica at each height. Deletion keeps to these rules:
//
//   - Execution reads none of it: no block record, and no window of the id index but the recent ones, which are never
//     deleted. So results do not depend on deletion, and it may be late, or undone by a crash.
//   - A window of the id index is deleted together with the records of all blocks of that window. So each entry of the index
//     that is left has its receipt.
//   - The limit moves before the data is deleted. A query below it gets [Pruned], whether the data is there or not.
//
// Headers are kept, and so are the parts of transactions between shards: execution reads these.

// Pruned is the error of a query for data of a block whose records are deleted.
type Pruned struct {
	Below uint64 // height of the lowest block that has its records
}

func (e *Pruned) Error() string { return fmt.Sprintf("pruned below height %d", e.Below) }

// limits are the limits of deletion at one height.
type limits struct {
	below  uint64 // records of blocks below this height are deleted
	window uint32 // windows of the id index below this one are deleted
}

// limitsAt returns the limits when a block is the last executed one.
func (s *State) limitsAt(height uint64) (limits, error) {
	x := s.cfg.StateInterval
	if s.cfg.Retain == 0 || x == 0 || height-height%x <= s.cfg.Retain {
		return limits{}, nil
	}
	newest := height - height%x
	oldest := newest - s.cfg.Retain // the records of this block are kept
	recent, known, err := s.windowAt(newest)
	if err != nil || !known {
		return limits{}, err
	}
	w, known, err := s.windowAt(oldest)
	if err != nil || !known {
		return limits{}, err
	}
	w = min(w, recent-min(recent, recentWindows-1))
	// Block times do not fall, so the blocks of a window follow each other.
	below := sort.Search(int(oldest), func(h int) bool {
		its, known, bad := s.windowAt(uint64(h))
		if bad != nil {
			err = bad
		}
		return known && its >= w
	})
	return limits{uint64(below), w}, err
}

// windowAt returns the window of a block's time.
func (s *State) windowAt(height uint64) (w uint32, known bool, err error) {
	h, known, err := s.Header(height)
	return s.cfg.window(h.TimeMS), known, err
}

// prune moves the limits to those of the last executed block, and deletes the data below. A store that cannot delete ranges
// keeps it.
func (s *State) prune() error {
	height := s.Height()
	if s.cfg.Retain == 0 || s.cfg.StateInterval == 0 || height%s.cfg.StateInterval != 0 {
		return nil
	}
	return s.pruneAt(height)
}

func (s *State) pruneAt(height uint64) error {
	l, err := s.limitsAt(height)
	if err != nil || l.below == 0 {
		return err
	}
	s.mu.Lock()
	s.limits = l
	old, _ := slices.BinarySearch(s.windows, l.window)
	s.windows = s.windows[old:]
	s.mu.Unlock()
	store, ok := s.store.(kv.RangeDeleter)
	if !ok {
		return nil
	}
	return store.DeleteRanges(
		kv.Range{Lower: []byte{keyBlock}, Upper: heightKey(keyBlock, l.below)},
		kv.Range{Lower: []byte{keyBad}, Upper: heightKey(keyBad, l.below)},
		kv.Range{Lower: []byte{keyID}, Upper: wire.AppendU32([]byte{keyID}, l.window)},
	)
}

// PrunedBelow is the height of the lowest block that has its records, 0 if none were deleted.
func (s *State) PrunedBelow() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.limits.below
}

// present returns [Pruned] if the records of a block are deleted. A reader calls it after reading, so that it does not take
// a deletion in between for a block without receipts.
func (s *State) present(height uint64) error {
	if below := s.PrunedBelow(); height < below {
		return &Pruned{below}
	}
	return nil
}
