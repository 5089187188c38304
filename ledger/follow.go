package ledger

import (
	"errors"
	"fmt"
	"math"
	"sort"
)

// Advanced returns the height of the last executed block, and a channel that is closed when a higher block is executed.
func (s *State) Advanced() (height uint64, higher <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.advanced == nil {
		s.advanced = make(chan struct{})
	}
	return s.tip.header.Height, s.advanced
}

// setTip makes the state that Execute has written the current one.
func (s *State) setTip(t tip) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tip = t
	if s.advanced != nil {
		close(s.advanced)
		s.advanced = nil
	}
}

// BlockReceipts returns receipts of a block by position, at most limit from a position on. more is true if the block has
// further ones. ok is false if the block was not executed.
//
// The store keeps the newest receipt of each transaction. A transaction has a later one only if it is between shards,
// and then the receipt before is that of its escrow. So the receipts of every block can be given at any time.
func (s *State) BlockReceipts(height uint64, position, limit int) (receipts []Receipt, more, ok bool, err error) {
	h, ok, err := s.Header(height)
	if err != nil || !ok {
		return nil, false, false, err
	}
	ids, ok, err := s.BlockTxs(height)
	if err == nil && !ok {
		err = fmt.Errorf("the list of receipts of block %d is missing in the store", height)
	}
	if err != nil {
		return nil, false, false, err
	}
	end := min(len(ids), position+limit)
	for at := position; at < end; at++ {
		r, ok, err := s.Receipt(ids[at])
		switch {
		case err != nil:
			return nil, false, false, err
		case ok && r.Height == height && int(r.Position) == at:
		case ok && r.Height >= height:
			r = Receipt{Tx: ids[at], Shard: h.Shard, Height: height, Position: uint32(at), Verdict: VerdictSpent, TimeMS: h.TimeMS}
		default:
			return nil, false, false, fmt.Errorf("the receipt of transaction %s in block %d is missing in the store", ids[at], height)
		}
		receipts = append(receipts, r)
	}
	return receipts, end < len(ids), true, nil
}

// Changes returns the entries of an account's history from a number on, oldest first, at most limit of them. Numbers count
// from 0; the one of the first entry at a height is that of [State.FirstChange].
func (s *State) Changes(a Address, number uint64, limit int) ([]HistoryEntry, error) {
	var mem arena
	key := mem.historyKey(a, number)
	// Most calls find nothing new, and a read of one key costs less than a scan.
	if _, ok, err := s.store.Get(key); err != nil || !ok || limit <= 0 {
		return nil, err
	}
	var out []HistoryEntry
	var bad error
	newest := append([]byte{keyHistory}, a[:]...) // keys of newer entries are lower
	err := s.store.Scan(newest, append(key, 0), true, func(_, v []byte) bool {
		var h HistoryEntry
		h, bad = decodeHistory(v)
		out = append(out, h)
		return bad == nil && len(out) < limit
	})
	if err := errors.Join(err, bad); err != nil {
		return nil, err
	}
	return out, nil
}

// FirstChange returns the number of the first entry of an account's history at or above a height. If there is none, it is
// the number of the next entry.
func (s *State) FirstChange(a Address, height uint64) (number uint64, err error) {
	acc, err := readAccount(s.store, a)
	if err != nil || acc.entries == 0 {
		return 0, err
	}
	if acc.entries > math.MaxInt {
		return 0, fmt.Errorf("the account of %s has %d history entries: its record is damaged", a, acc.entries)
	}
	var mem arena
	n := sort.Search(int(acc.entries), func(i int) bool {
		if err != nil {
			return true
		}
		v, ok, e := s.store.Get(mem.historyKey(a, uint64(i)))
		if e == nil && !ok {
			e = fmt.Errorf("history entry %d of address %s is missing in the store", i, a)
		}
		var h HistoryEntry
		if e == nil {
			h, e = decodeHistory(v)
		}
		err = e
		return h.Height >= height
	})
	return uint64(n), err
}

// Place is the place of a receipt in the shard's history.
type Place struct {
	Height   uint64
	Position int
}

// Place returns the place of the receipt with which the entry was made. ids are those of [State.BlockTxs] at the entry's
// height. Between shards, a block may have two receipts of a transaction: of its escrow, and of its end. An entry that
// spends belongs to the first. ok is false if ids has none.
func (h *HistoryEntry) Place(ids []TxID) (at Place, ok bool) {
	at.Height = h.Height
	for i := range ids {
		if ids[i] != h.Tx {
			continue
		}
		at.Position, ok = i, true
		if h.Spent > 0 {
			break
		}
	}
	return at, ok
}
