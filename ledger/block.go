package ledger

import (
	"errors"
	"fmt"

	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
	"bdtnode/internal/wire"
)

// The receipts of a block and its history entries are in one record. A chunk of the record has up to chunkItems
// items, one for each receipt by position: the id, the verdict, and the effect on each address whose outputs the
// receipt created or consumed. Receipts, proofs and the history of an account are made from these records. The record
// of block 0 has an item without a verdict for each genesis id.
const chunkItems = 64

// place is where a history entry is: at an address of the item of a receipt.
type place struct {
	height   uint64
	position uint32 // of the receipt
	party    uint8  // number of the address in its item
}

const placeSize = 8 + 4 + 1

func (p place) append(b []byte) []byte {
	return append(wire.AppendU32(wire.AppendU64(b, p.height), p.position), p.party)
}

func readPlace(r *wire.Reader) place { return place{r.U64(), r.U32(), r.U8()} }

// party is the effect of a receipt on one address. The address is not in it: a reader comes from the account.
type party struct {
	before          place // of the previous entry in the history of the address; unused in its first entry
	received, spent uint64
}

const partySize = placeSize + 2*8

// item is the record of one receipt.
type item struct {
	tx      TxID
	verdict Verdict
	reason  Reason
	parties []party
}

const itemHead = digest.Size + 3

// maxParties is the number of addresses that one transaction can have.
const maxParties = MaxInputs + MaxOutputs

func (i *item) append(b []byte) []byte {
	b = append(append(b, i.tx[:]...), byte(i.verdict), byte(i.reason), byte(len(i.parties)))
	for k := range i.parties {
		p := &i.parties[k]
		b = wire.AppendU64(wire.AppendU64(p.before.append(b), p.received), p.spent)
	}
	return b
}

func readItem(r *wire.Reader) (i item) {
	r.Fixed(i.tx[:])
	i.verdict, i.reason = Verdict(r.U8()), Reason(r.U8())
	n := int(r.U8())
	if n > maxParties || n*partySize > r.Len() {
		r.Fail("%d addresses", n)
		return i
	}
	i.parties = make([]party, n)
	for k := range i.parties {
		i.parties[k] = party{readPlace(r), r.U64(), r.U64()}
	}
	return i
}

func blockKey(height uint64, chunk uint32) []byte {
	return wire.AppendU32(heightKey(keyBlock, height), chunk)
}

// writeBlock writes the record of a block.
func writeBlock(b *kv.Batch, height, timeMS uint64, items []item) {
	for chunk := 0; len(items) > 0; chunk++ {
		part := items[:min(len(items), chunkItems)]
		items = items[len(part):]
		size := 8
		for i := range part {
			size += itemHead + len(part[i].parties)*partySize
		}
		v := wire.AppendU64(make([]byte, 0, size), timeMS)
		for i := range part {
			v = part[i].append(v)
		}
		b.Set(blockKey(height, uint32(chunk)), v)
	}
}

// chunk is a decoded chunk of a block's record.
type chunk struct {
	height uint64
	first  uint32 // position of the first item
	timeMS uint64 // of the block
	items  []item
}

func decodeChunk(key, v []byte) (*chunk, error) {
	k := wire.NewReader(key[1:])
	c := &chunk{height: k.U64(), first: k.U32() * chunkItems}
	r := wire.NewReader(v)
	c.timeMS = r.U64()
	for r.Err() == nil && r.Len() > 0 && len(c.items) < chunkItems {
		c.items = append(c.items, readItem(r))
	}
	if err := errors.Join(k.Done(), r.Done()); err != nil {
		return nil, fmt.Errorf("the record of block %d is damaged: %w", c.height, err)
	}
	return c, nil
}

// at returns the item at a position of the block, nil if the chunk does not have it.
func (c *chunk) at(position uint32) *item {
	if position < c.first || position-c.first >= uint32(len(c.items)) {
		return nil
	}
	return &c.items[position-c.first]
}

// receipt makes the receipt at a position, which the chunk has.
func (c *chunk) receipt(shard uint16, position uint32) Receipt {
	i := c.at(position)
	return Receipt{Tx: i.tx, Shard: shard, Height: c.height, Position: position, Verdict: i.verdict, Reason: i.reason, TimeMS: c.timeMS}
}

// blocks reads records of blocks, and keeps the chunk that it read last: entries of one account are often close.
type blocks struct {
	r    kv.Reader
	last *chunk
}

// chunk returns the chunk that has a position of a block; nil if there is none.
func (b *blocks) chunk(height uint64, position uint32) (*chunk, error) {
	if c := b.last; c != nil && c.height == height && c.first == position/chunkItems*chunkItems {
		return c, nil
	}
	key := blockKey(height, position/chunkItems)
	v, ok, err := b.r.Get(key)
	if err != nil || !ok {
		return nil, err
	}
	c, err := decodeChunk(key, v)
	if err == nil {
		b.last = c
	}
	return c, err
}

// eachReceipt calls yield for the positions of a block from one on, until it returns false.
func eachReceipt(r kv.Reader, height uint64, from uint32, yield func(c *chunk, position uint32) bool) error {
	return kv.Each(r, blockKey(height, from/chunkItems), heightKey(keyBlock, height+1), false, func(key, v []byte) (bool, error) {
		c, err := decodeChunk(key, v)
		if err != nil {
			return false, err
		}
		for ; c.at(from) != nil; from++ {
			if !yield(c, from) {
				return false, nil
			}
		}
		return true, nil
	})
}

// HistoryEntry is the effect of one receipt on one address.
type HistoryEntry struct {
	Tx       TxID // for genesis outputs, the id in their outpoints
	Height   uint64
	TimeMS   uint64 // block time
	Received uint64
	Spent    uint64
}

// historyStride is the number of history entries of an account from one key of keyHistory to the next. A reader of an
// entry reads at most as many entries.
const historyStride = 64

func (a *arena) historyKey(owner Address, group uint64) []byte {
	return appendHistoryKey(a.take(historyKeySize), owner, group)
}

const historyKeySize = 1 + digest.Size + 8

func appendHistoryKey(b []byte, owner Address, group uint64) []byte {
	return wire.AppendU64(append(append(b, keyHistory), owner[:]...), group)
}

// history is the history of one account. The entries are linked from the newest to the oldest.
type history struct {
	blocks
	owner   Address
	acc     account
	present func(height uint64) error
}

func (s *State) readHistory(r kv.Reader, a Address) (history, error) {
	acc, err := readAccount(r, a)
	return history{blocks: blocks{r: r}, owner: a, acc: acc, present: s.present}, err
}

// entry returns the entry at a place, and the place of the entry before.
func (h *history) entry(at place) (HistoryEntry, place, error) {
	c, err := h.chunk(at.height, at.position)
	if err == nil {
		err = h.present(at.height)
	}
	if err != nil {
		return HistoryEntry{}, place{}, err
	}
	if c == nil || c.at(at.position) == nil || int(at.party) >= len(c.at(at.position).parties) {
		return HistoryEntry{}, place{}, fmt.Errorf("a history entry of address %s is missing: number %d at position %d of block %d", h.owner, at.party, at.position, at.height)
	}
	i := c.at(at.position)
	p := &i.parties[at.party]
	return HistoryEntry{Tx: i.tx, Height: c.height, TimeMS: c.timeMS, Received: p.received, Spent: p.spent}, p.before, nil
}

// place returns the place of the entry with a number, which must exist.
func (h *history) place(number uint64) (at place, err error) {
	from := number | (historyStride - 1) // the last number of its group
	if from >= h.acc.entries {
		at, from = h.acc.last, h.acc.entries-1
	} else if at, err = h.ofGroup(number / historyStride); err != nil {
		return place{}, err
	}
	for ; from > number && err == nil; from-- {
		_, at, err = h.entry(at)
	}
	return at, err
}

// ofGroup returns the place of the last entry of a full group.
func (h *history) ofGroup(group uint64) (place, error) {
	v, ok, err := h.r.Get(appendHistoryKey(nil, h.owner, group))
	if err == nil && !ok {
		err = fmt.Errorf("history entry %d of address %s is missing in the store", group*historyStride+historyStride-1, h.owner)
	}
	if err != nil {
		return place{}, err
	}
	r := wire.NewReader(v)
	return readPlace(r), r.Done()
}

// list returns count entries in descending order, the first of which is at a place. If one is deleted, it returns those
// before it and [Pruned].
func (h *history) list(at place, count int) ([]HistoryEntry, error) {
	out := make([]HistoryEntry, 0, count)
	for range count {
		e, before, err := h.entry(at)
		if err != nil {
			return out, err
		}
		out, at = append(out, e), before
	}
	return out, nil
}

// heightOf is the height of the newest entry of a group of entries.
func (h *history) heightOf(group uint64) (uint64, error) {
	if (group+1)*historyStride > h.acc.entries {
		return h.acc.last.height, nil
	}
	at, err := h.ofGroup(group)
	return at.height, err
}
