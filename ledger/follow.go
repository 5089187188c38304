package ledger

import (
	"encoding/binary"
	"fmt"
	"math"
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
	newest := append([]byte{keyHistory}, a[:]...) // keys of newer entries are lower
	err := kv.Each(s.store, newest, append(key, 0), true, func(_, v []byte) (bool, error) {
		h, err := decodeHistory(v)
		out = append(out, h)
		return len(out) < limit, err
	})
	if err != nil {
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
