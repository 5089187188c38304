package ledger

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"sort"

	"bdtnode/internal/kv"
	"bdtnode/internal/wire"
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
	if w := s.cfg.window(t.header.TimeMS); len(s.windows) == 0 || s.windows[len(s.windows)-1] < w {
		s.windows = append(s.windows, w)
	}
	if s.advanced != nil {
		close(s.advanced)
		s.advanced = nil
	}
}

// window is the window of the last executed block.
func (s *State) window() uint32 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.cfg.window(s.tip.header.TimeMS)
}

// BlockReceipts returns receipts of a block by position, at most limit from a position on. more is true if the block has
// further ones. ok is false if the block was not executed. The error is the store's, or [Pruned].
func (s *State) BlockReceipts(height uint64, position, limit int) (receipts []Receipt, more, ok bool, err error) {
	if _, ok, err := s.Header(height); err != nil || !ok || height == 0 || position > math.MaxUint32 {
		return nil, false, ok, err
	}
	err = eachReceipt(s.store, height, uint32(position), func(c *chunk, at uint32) bool {
		if more = len(receipts) >= limit; !more {
			receipts = append(receipts, c.receipt(s.cfg.Shard, at))
		}
		return !more
	})
	if err == nil {
		err = s.present(height)
	}
	if err != nil {
		return nil, false, false, err
	}
	return receipts, more, true, nil
}

// Changes returns the entries of an account's history from a number on, oldest first, at most limit of them. Numbers count
// from 0; the one of the first entry at a height is that of [State.FirstChange]. The error is the store's, or [Pruned] if one
// of the entries is deleted.
func (s *State) Changes(a Address, number uint64, limit int) ([]HistoryEntry, error) {
	h, err := s.readHistory(s.store, a)
	if err != nil || number >= h.acc.entries || limit <= 0 {
		return nil, err
	}
	count := min(h.acc.entries-number, uint64(limit))
	at, err := h.place(number + count - 1)
	if err != nil {
		return nil, err
	}
	out, err := h.list(at, int(count))
	if err != nil {
		return nil, err
	}
	slices.Reverse(out)
	return out, nil
}

// FirstChange returns the number of the first entry of an account's history at or above a height. If there is none, it is
// the number of the next entry. The error is the store's, or [Pruned] if an entry at or above the height may be deleted.
func (s *State) FirstChange(a Address, height uint64) (number uint64, err error) {
	h, err := s.readHistory(s.store, a)
	if err != nil || h.acc.entries == 0 {
		return 0, err
	}
	if h.acc.entries > math.MaxInt {
		return 0, fmt.Errorf("the account of %s has %d history entries: its record is damaged", a, h.acc.entries)
	}
	groups := int((h.acc.entries + historyStride - 1) / historyStride)
	group := sort.Search(groups, func(i int) bool {
		if err != nil {
			return true
		}
		var newest uint64
		newest, err = h.heightOf(uint64(i))
		return newest >= height
	})
	if err != nil || group == groups {
		return h.acc.entries, err
	}
	// The newest entry of the group is at or above the height, and all of the groups before are below.
	number = min(uint64(group+1)*historyStride, h.acc.entries) - 1
	at, err := h.place(number)
	for first := uint64(group) * historyStride; err == nil && number > first; number-- {
		if _, at, err = h.entry(at); at.height < height {
			break
		}
	}
	return number, err
}

// Positions are the positions of the receipts of a block, by transaction. Between shards, a block may have two receipts of
// a transaction: that of its escrow, and that of its end.
type Positions map[TxID][2]int

// PositionsOf returns the positions of a block's receipts, whose list is that of [State.BlockTxs].
func PositionsOf(ids []TxID) Positions {
	p := make(Positions, len(ids))
	for i, id := range ids {
		both, ok := p[id]
		if !ok {
			both[0] = i
		}
		both[1] = i
		p[id] = both
	}
	return p
}

// Of returns the position of the receipt with which an entry of the block was made: an entry that spends was made with
// the first receipt of its transaction. ok is false if the block has none.
func (p Positions) Of(h *HistoryEntry) (position int, ok bool) {
	both, ok := p[h.Tx]
	if h.Spent > 0 {
		return both[0], ok
	}
	return both[1], ok
}

// Freezes returns the freeze records of channels that the blocks from..to froze, by source.
func (s *State) Freezes(from, to uint64) ([]Freeze, error) {
	var out []Freeze
	err := kv.Each(s.store, []byte{keyFreeze}, []byte{keyFreeze + 1}, false, func(key, v []byte) (bool, error) {
		// A record has up to 512 KiB, so it is decoded only if it is wanted.
		if height := wire.NewReader(v).U64(); height < from || height > to {
			return true, nil
		}
		f, err := decodeFreeze(v, binary.BigEndian.Uint16(key[1:]))
		out = append(out, f)
		return true, err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
