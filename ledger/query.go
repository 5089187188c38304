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
	"bdtnode/internal/wire"
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

// BlockTxs lists the transactions that got a receipt in a block, by position, if the block was executed.
func (s *State) BlockTxs(height uint64) ([]TxID, bool, error) {
	v, ok, err := s.store.Get(heightKey(keyBlockTxs, height))
	if err != nil || !ok {
		return nil, false, err
	}
	ids := make([]TxID, len(v)/digest.Size)
	for i := range ids {
		copy(ids[i][:], v[i*digest.Size:])
	}
	return ids, true, nil
}

// Receipt returns the newest receipt of a transaction, if it has one. For a transaction between shards it may be
// followed by another one.
func (s *State) Receipt(id TxID) (Receipt, bool, error) {
	v, ok, err := s.store.Get(append([]byte{keyReceipt}, id[:]...))
	if err != nil || !ok {
		return Receipt{}, false, err
	}
	r, err := DecodeReceipt(v)
	return r, err == nil, err
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

// Output returns an output, if it is unspent.
func (s *State) Output(o Outpoint) (Output, bool, error) {
	c, _, err := lookUp(s.store, o)
	if err != nil || c == nil {
		return Output{}, false, err
	}
	return Output{c.owner, c.amount}, true, nil
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
	for i := range tx.Inputs {
		if !s.cfg.isHome(tx.owners[i]) {
			continue
		}
		c, by, err := lookUp(s.store, tx.Inputs[i].Outpoint)
		if err != nil {
			return x, err
		}
		x.Own = append(x.Own, i)
		r := tx.checkInput(i, c, by)
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
	return out, errors.Join(err, snap.Close())
}

func (s *State) readPage(snap kv.Snapshot, a Address, after []byte, before uint64, page Page) (Account, error) {
	acc, err := readAccount(snap, a)
	out := Account{Balance: acc.balance, Count: acc.coins}
	if err != nil {
		return out, err
	}
	if out.Changed, err = lastChange(snap, a, acc.entries); err != nil {
		return out, err
	}
	owned := append([]byte{keyOwned}, a[:]...)
	if limit := min(page.Limit, MaxPage); limit > 0 {
		err := kv.Each(snap, append(owned[:len(owned):len(owned)], after...), kv.PrefixEnd(owned), false, func(key, v []byte) (bool, error) {
			if len(out.Outputs) == limit {
				out.Next = hex.EncodeToString(key[len(owned):])
				return false, nil
			}
			o, err := decodeOutpoint(key[len(owned):])
			r := wire.NewReader(v)
			out.Outputs = append(out.Outputs, Unspent{o, r.U64()})
			return true, errors.Join(err, r.Done())
		})
		if err != nil {
			return out, err
		}
	}
	if limit := min(page.HistoryLimit, MaxPage); limit > 0 && acc.entries > 0 {
		before = min(before, acc.entries)
		var mem arena
		end := kv.PrefixEnd(mem.idKey(keyHistory, digest.Digest(a)))
		err = kv.Each(snap, mem.historyKey(a, before-1), end, false, func(_, v []byte) (bool, error) {
			if len(out.History) == limit {
				out.Older = strconv.FormatUint(before-uint64(limit), 10)
				return false, nil
			}
			h, err := decodeHistory(v)
			out.History = append(out.History, h)
			return true, err
		})
	}
	return out, err
}

// lastChange returns the change that wrote the newest history entry of an account.
func lastChange(r kv.Reader, a Address, entries uint64) (Change, error) {
	if entries == 0 {
		return Change{}, nil
	}
	var mem arena
	v, ok, err := r.Get(mem.historyKey(a, entries-1))
	if err == nil && !ok {
		err = fmt.Errorf("history entry %d of address %s is missing in the store", entries-1, a)
	}
	if err != nil {
		return Change{}, err
	}
	h, err := decodeHistory(v)
	return Change{h.Height, entries}, err
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
	v, ok, err := snap.Get([]byte{keyTip})
	if err == nil && !ok {
		err = errors.New("the record of the last block is missing in the store")
	}
	var t tip
	if err == nil {
		t, err = decodeTip(v)
	}
	if err != nil {
		return nil, tip{}, errors.Join(err, snap.Close())
	}
	return snap, t, nil
}
