package ledger

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strconv"

	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
)

// MaxPage is the greatest number of outputs or history entries in a page.
const MaxPage = 1000

// ErrBadCursor is wrapped by the error for a cursor that no earlier page has returned.
var ErrBadCursor = errors.New("not a cursor of this list")

// Height is the height of the last executed block.
func (s *State) Height() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.tip.header.Height
}

// Tip returns the header of the last executed block, its digest, and the encoded cut of that block.
func (s *State) Tip() (h Header, d digest.Digest, cut []byte) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.tip.header, s.tip.digest, s.tip.cut
}

// FlushedHeight returns the height of the last block that survives a crash of the machine. It may be below the height
// that would really survive, never above.
func (s *State) FlushedHeight() (uint64, error) {
	v, ok, err := s.store.Durable([]byte{keyTip})
	if err != nil || !ok {
		return 0, err
	}
	t, err := decodeTip(v)
	return t.header.Height, err
}

// Flush returns after all executed blocks survive a crash of the machine.
func (s *State) Flush() error { return s.store.Flush() }

// Header returns the header of a block, if the block was executed.
func (s *State) Header(height uint64) (Header, bool, error) {
	v, ok, err := s.store.Get(heightKey(keyHeader, height))
	if err != nil || !ok {
		return Header{}, false, err
	}
	h, err := DecodeHeader(v)
	return h, err == nil, err
}

// BlockTxs lists the transactions that got a receipt in a block, by position, if the block was executed. The error is the
// store's, or [Pruned].
func (s *State) BlockTxs(height uint64) ([]TxID, bool, error) {
	if _, ok, err := s.Header(height); err != nil || !ok || height == 0 {
		return nil, ok, err
	}
	var ids []TxID
	err := eachReceipt(s.store, height, 0, func(c *chunk, at uint32) bool {
		ids = append(ids, c.at(at).tx)
		return true
	})
	if err == nil {
		err = s.present(height)
	}
	if err != nil {
		return nil, false, err
	}
	return ids, true, nil
}

// Receipt returns the newest receipt of a transaction, if it has one. For a transaction between shards it may be
// followed by another one. A receipt of a block whose records are deleted is not found. The time grows with the age of the
// receipt, and is the longest if there is none: about a microsecond for each window of the id index.
func (s *State) Receipt(id TxID) (Receipt, bool, error) { return s.receiptSince(id, 0) }

// ReceiptOf is [State.Receipt] of a known transaction. It takes less time, since it looks only where a receipt of the
// transaction can be.
func (s *State) ReceiptOf(tx *Tx) (Receipt, bool, error) {
	if !tx.Shards(s.cfg.Home).Inside(s.cfg.Shard) {
		// Each transaction between shards that has a receipt has a record.
		if _, ok, err := s.Part(tx.id); err != nil || !ok {
			return Receipt{}, false, err
		}
		return s.Receipt(tx.id)
	}
	// A block gives a receipt only to a transaction that expires within the horizon, or has expired.
	return s.receiptSince(tx.id, s.cfg.window(tx.ExpiryMS-min(tx.ExpiryMS, s.cfg.HorizonMS)))
}

// receiptSince returns the newest receipt of a transaction in a window or a later one.
func (s *State) receiptSince(id TxID, oldest uint32) (Receipt, bool, error) {
	s.mu.RLock()
	list := s.windows // grows at its end, and is cut at its begin, so its elements do not change
	s.mu.RUnlock()
	for i := len(list) - 1; i >= 0 && list[i] >= oldest; i-- {
		e, ok, err := readIndex(s.store, list[i], id)
		if err != nil {
			return Receipt{}, false, err
		}
		if !ok || e.mark {
			continue
		}
		blocks := blocks{r: s.store}
		c, err := blocks.chunk(e.at.height, e.at.position)
		if err == nil && s.present(e.at.height) != nil {
			break // deleted meanwhile, and so are older ones
		}
		if err == nil && (c == nil || c.at(e.at.position) == nil) {
			err = fmt.Errorf("the receipt of transaction %s in block %d is missing in the store", id, e.at.height)
		}
		if err != nil {
			return Receipt{}, false, err
		}
		if c.at(e.at.position).tx == id { // else the two ids only have the same first 16 bytes
			return c.receipt(s.cfg.Shard, e.at.position), true, nil
		}
	}
	return Receipt{}, false, nil
}

// Part returns this shard's part of a transaction between shards, if this shard knows the transaction.
func (s *State) Part(id TxID) (Part, bool, error) { return readPart(s.store, id, s.cfg.Shard) }

func readPart(r kv.Reader, id TxID, shard uint16) (Part, bool, error) {
	v, ok, err := r.Get(append([]byte{keyPart}, id[:]...))
	if err != nil || !ok {
		return Part{}, false, err
	}
	p, err := decodePart(v, id, shard)
	return p, err == nil, err
}

// Channel returns the channel with a peer shard. All its numbers are 0 if neither shard has sent a delivery to the
// other.
func (s *State) Channel(peer uint16) (Channel, error) {
	v, ok, err := s.store.Get(channelKey(keyChannel, peer))
	if err != nil || !ok {
		return Channel{Peer: peer}, err
	}
	return decodeChannel(v, peer)
}

// Channels returns the channels with all shards to which this shard has sent a delivery or from which it has applied
// one, by peer.
func (s *State) Channels() ([]Channel, error) { return readChannels(s.store) }

func readChannels(r kv.Reader) ([]Channel, error) {
	var out []Channel
	err := kv.Each(r, []byte{keyChannel}, []byte{keyChannel + 1}, false, func(key, v []byte) (bool, error) {
		c, err := decodeChannel(v, binary.BigEndian.Uint16(key[1:]))
		out = append(out, c)
		return true, err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Outgoing returns a delivery made for another shard. It is kept until the destination has acknowledged that it
// applied it.
func (s *State) Outgoing(destination uint16, number uint64) (Outgoing, bool, error) {
	v, ok, err := s.store.Get(outboxKey(destination, number))
	if err != nil || !ok {
		return Outgoing{}, false, err
	}
	o, err := decodeOutgoing(v)
	return o, err == nil, err
}

// Frozen returns the freeze record of each frozen channel, by source.
func (s *State) Frozen() ([]Freeze, error) { return s.Freezes(0, math.MaxUint64) }

// Output returns the amount of an output of an owner, if it is unspent.
func (s *State) Output(owner Address, o Outpoint) (amount uint64, ok bool, err error) {
	c, err := readCoin(s.store, o, owner)
	if err != nil || c == nil {
		return 0, false, err
	}
	return c.amount, true, nil
}

// Precheck returns the refusal that a transaction would get if it were ordered at the given time (Unix milliseconds),
// or nil. It ignores receipts: callers ask [State.Receipt] first. If the transaction involves other shards, Precheck
// checks only the inputs in this shard. The error is an error of the store.
func (s *State) Precheck(tx *Tx, timeMS uint64) (*Refusal, error) {
	x, err := s.Inspect(tx, timeMS)
	return x.Refusal, err
}

// Inspection is the result of checking a transaction that is not ordered yet against the state.
type Inspection struct {
	Refusal *Refusal // as [State.Precheck] returns it
	Horizon *Refusal // set if the expiry is beyond the horizon, also if Refusal has another reason
	Inside  bool     // it involves no other shard, so its outputs exist as soon as it has settled here
	Own     []int    // indexes of its inputs in this shard
	Missing []int    // those of Own that do not exist; complete unless Refusal is final
}

// Inspect checks a transaction like [State.Precheck] and returns more details.
func (s *State) Inspect(tx *Tx, timeMS uint64) (Inspection, error) {
	p := tx.Shards(s.cfg.Home)
	x := Inspection{Inside: p.Inside(s.cfg.Shard)}
	if x.Refusal = s.cfg.refuseForeign(p); x.Refusal != nil {
		return x, nil
	}
	if x.Refusal = s.cfg.underpaid(tx); x.Refusal != nil {
		return x, nil
	}
	if x.Refusal = expired(tx, timeMS); x.Refusal != nil {
		return x, nil
	}
	x.Horizon = s.cfg.beyondHorizon(tx, timeMS)
	x.Refusal = x.Horizon
	window := s.window()
	for i := range tx.Inputs {
		if !s.cfg.isHome(tx.owners[i]) {
			continue
		}
		c, consumed, err := lookUp(s.store, window, tx.Inputs[i].Outpoint, tx.owners[i])
		if err != nil {
			return x, err
		}
		x.Own = append(x.Own, i)
		r := tx.checkInput(i, c, consumed)
		switch {
		case r == nil:
		case r.Final():
			x.Refusal = r
			return x, nil
		default:
			x.Missing, x.Refusal = append(x.Missing, i), r
		}
	}
	return x, nil
}

// Page selects parts of an account. A limit of 0 leaves that list out, a limit above [MaxPage] counts as MaxPage. A
// cursor is the one that the page before returned, or empty for the first page.
type Page struct {
	Cursor       string
	Limit        int
	Older        string
	HistoryLimit int
}

// Account is the state of an address at one height.
type Account struct {
	Height  uint64
	Changed Change // the last change at or below Height
	Balance uint64
	Count   uint64 // number of unspent outputs
	Outputs []Unspent
	Next    string         // cursor of the next page of outputs, empty on the last
	History []HistoryEntry // newest first
	Older   string         // cursor of the next page of history, empty on the last
	// PrunedBelow is set if the page would have further entries of the history, which are deleted: those below this height.
	PrunedBelow uint64
}

// Change identifies the last change of an account: the height of the block that made it, and its position among all
// changes of the account, from 1. Replicas that return the same Change have the same state of the account, even at
// different heights. An address without any change has the zero Change.
type Change struct {
	Height   uint64
	Position uint64
}

// Unspent is one unspent output of a known owner.
type Unspent struct {
	Outpoint Outpoint
	Amount   uint64
}

// Account returns an account, all of it at one height. The account of an unknown address is empty. The error wraps
// [ErrBadCursor] or is an error of the store.
func (s *State) Account(a Address, page Page) (Account, error) {
	after, err := parseOutputsCursor(page.Cursor)
	if err != nil {
		return Account{}, err
	}
	before, err := parseHistoryCursor(page.Older)
	if err != nil {
		return Account{}, err
	}
	snap, t, err := s.snapshot()
	if err != nil {
		return Account{}, err
	}
	out, err := s.readPage(snap, a, after, before, page)
	out.Height = t.header.Height
	if gone := (*Pruned)(nil); errors.As(err, &gone) {
		out.PrunedBelow, err = gone.Below, nil
	}
	return out, errors.Join(err, snap.Close())
}

func (s *State) readPage(snap kv.Snapshot, a Address, after []byte, before uint64, page Page) (Account, error) {
	h, err := s.readHistory(snap, a)
	acc := &h.acc
	out := Account{Balance: acc.balance, Count: acc.coins}
	if err != nil {
		return out, err
	}
	if acc.entries > 0 {
		out.Changed = Change{acc.last.height, acc.entries}
	}
	owned := append([]byte{keyCoin}, a[:]...)
	if limit := min(page.Limit, MaxPage); limit > 0 {
		err := kv.Each(snap, append(owned[:len(owned):len(owned)], after...), kv.PrefixEnd(owned), false, func(key, v []byte) (bool, error) {
			if len(out.Outputs) == limit {
				out.Next = hex.EncodeToString(key[len(owned):])
				return false, nil
			}
			o, err := decodeOutpoint(key[len(owned):])
			c, bad := decodeCoin(a, v)
			out.Outputs = append(out.Outputs, Unspent{o, c.amount})
			return true, errors.Join(err, bad)
		})
		if err != nil {
			return out, err
		}
	}
	if limit := min(page.HistoryLimit, MaxPage); limit > 0 && acc.entries > 0 {
		before = min(before, acc.entries)
		count := min(before, uint64(limit))
		at, err := h.place(before - 1)
		if err != nil {
			return out, err
		}
		if out.History, err = h.list(at, int(count)); err != nil {
			return out, err
		}
		if count < before {
			out.Older = strconv.FormatUint(before-count, 10)
		}
	}
	return out, nil
}

// parseOutputsCursor decodes the key of the outpoint with which the next page begins.
func parseOutputsCursor(s string) ([]byte, error) {
	b, err := hex.DecodeString(s)
	if err != nil || (s != "" && len(b) != outpointSize) {
		return nil, fmt.Errorf("%q: %w", s, ErrBadCursor)
	}
	return b, nil
}

// parseHistoryCursor decodes the number of the history entry before which the next page begins.
func parseHistoryCursor(s string) (uint64, error) {
	if s == "" {
		return ^uint64(0), nil
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%q: %w", s, ErrBadCursor)
	}
	return n, nil
}

// snapshot returns a snapshot of the current state, and its tip.
func (s *State) snapshot() (kv.Snapshot, tip, error) {
	snap, err := s.store.Snapshot()
	if err != nil {
		return nil, tip{}, err
	}
	t, err := readTip(snap)
	if err != nil {
		return nil, tip{}, errors.Join(err, snap.Close())
	}
	return snap, t, nil
}

func readTip(r kv.Reader) (tip, error) {
	v, ok, err := r.Get([]byte{keyTip})
	switch {
	case err != nil:
		return tip{}, err
	case !ok:
		return tip{}, errors.New("the record of the last block is missing in the store")
	}
	return decodeTip(v)
}
