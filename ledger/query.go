package ledger

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"

	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
	"bdtnode/internal/wire"
)

// MaxPage bounds a page of outputs or history.
const MaxPage = 1000

// ErrBadCursor is wrapped by the error for a cursor that no page answered.
var ErrBadCursor = errors.New("not a cursor of this list")

// Height is the height of the last executed block.
func (s *State) Height() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.tip.header.Height
}

// Tip is the header of the last executed block, its digest, and the cut it was executed with.
func (s *State) Tip() (h Header, d digest.Digest, cut []byte) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.tip.header, s.tip.digest, s.tip.cut
}

// FlushedHeight is the height that the state has at least after a crash of the machine now.
func (s *State) FlushedHeight() (uint64, error) {
	v, ok, err := s.store.Durable([]byte{keyTip})
	if err != nil || !ok {
		return 0, err
	}
	t, err := decodeTip(v)
	return t.header.Height, err
}

// Flush returns when all executed blocks survive a crash.
func (s *State) Flush() error { return s.store.Flush() }

// Header is the header of a block, if it was executed.
func (s *State) Header(height uint64) (Header, bool, error) {
	v, ok, err := s.store.Get(heightKey(keyHeader, height))
	if err != nil || !ok {
		return Header{}, false, err
	}
	h, err := DecodeHeader(v)
	return h, err == nil, err
}

// BlockTxs lists the transactions that got their receipt in a block, by position.
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

// Receipt is the last word on a transaction, if there was one. Between shards it may not be the final one yet.
func (s *State) Receipt(id TxID) (Receipt, bool, error) {
	v, ok, err := s.store.Get(append([]byte{keyReceipt}, id[:]...))
	if err != nil || !ok {
		return Receipt{}, false, err
	}
	r, err := DecodeReceipt(v)
	return r, err == nil, err
}

// Part is the shard's part of a transaction between shards, if it has heard of it.
func (s *State) Part(id TxID) (Part, bool, error) { return readPart(s.store, id, s.cfg.Shard) }

func readPart(r kv.Reader, id TxID, shard uint16) (Part, bool, error) {
	v, ok, err := r.Get(append([]byte{keyPart}, id[:]...))
	if err != nil || !ok {
		return Part{}, false, err
	}
	p, err := decodePart(v, id, shard)
	return p, err == nil, err
}

// Channel is the shard's channel with another one, at its origin if neither has told the other anything.
func (s *State) Channel(peer uint16) (Channel, error) {
	v, ok, err := s.store.Get(channelKey(keyChannel, peer))
	if err != nil || !ok {
		return Channel{Peer: peer}, err
	}
	return decodeChannel(v, peer)
}

// Channels are the shard's channels with the shards it has told something or heard from, by peer.
func (s *State) Channels() ([]Channel, error) {
	var out []Channel
	var bad error
	err := s.store.Scan([]byte{keyChannel}, []byte{keyChannel + 1}, false, func(key, v []byte) bool {
		var c Channel
		c, bad = decodeChannel(v, binary.BigEndian.Uint16(key[1:]))
		out = append(out, c)
		return bad == nil
	})
	if err := errors.Join(err, bad); err != nil {
		return nil, err
	}
	return out, nil
}

// Outgoing is a delivery made for another shard, until that shard has shown that it applied it.
func (s *State) Outgoing(destination uint16, number uint64) (Outgoing, bool, error) {
	v, ok, err := s.store.Get(outboxKey(destination, number))
	if err != nil || !ok {
		return Outgoing{}, false, err
	}
	o, err := decodeOutgoing(v)
	return o, err == nil, err
}

// Frozen are the channels that are frozen, by source, and why.
func (s *State) Frozen() ([]Freeze, error) {
	var out []Freeze
	var bad error
	err := s.store.Scan([]byte{keyFreeze}, []byte{keyFreeze + 1}, false, func(key, v []byte) bool {
		var f Freeze
		f, bad = decodeFreeze(v, binary.BigEndian.Uint16(key[1:]))
		out = append(out, f)
		return bad == nil
	})
	if err := errors.Join(err, bad); err != nil {
		return nil, err
	}
	return out, nil
}

// Output is an output, if it is unspent.
func (s *State) Output(o Outpoint) (Output, bool, error) {
	c, _, err := lookUp(s.store, o)
	if err != nil || c == nil {
		return Output{}, false, err
	}
	return Output{c.owner, c.amount}, true, nil
}

// Precheck is what stands against a transaction if it were ordered at this time (Unix milliseconds), or nil. A
// transaction that has a receipt is judged as if it had none: callers ask [State.Receipt] first. Of one that involves
// other shards too, only the inputs in this shard are looked at. The error is the store's.
func (s *State) Precheck(tx *Tx, timeMS uint64) (*Refusal, error) {
	x, err := s.Inspect(tx, timeMS)
	return x.Refusal, err
}

// Inspection is what the state says of a transaction that is not ordered yet.
type Inspection struct {
	Refusal *Refusal // as of [State.Precheck]
	Horizon *Refusal // it expires too far ahead, whatever else is
	Inside  bool     // it involves no other shard, so that its outputs exist once it has settled here
	Own     []int    // its inputs in this shard
	Missing []int    // those of Own that do not exist, not or not any more; without a final refusal it has all of them
}

// Inspect is Precheck with what it found on the way.
func (s *State) Inspect(tx *Tx, timeMS uint64) (Inspection, error) {
	p := tx.Parties(s.cfg.Home)
	x := Inspection{Inside: p.Inside(s.cfg.Shard)}
	if x.Refusal = s.foreign(p); x.Refusal != nil {
		return x, nil
	}
	if x.Refusal = s.underpaid(tx); x.Refusal != nil {
		return x, nil
	}
	if x.Refusal = expired(tx, timeMS); x.Refusal != nil {
		return x, nil
	}
	x.Horizon = s.beyondHorizon(tx, timeMS)
	x.Refusal = x.Horizon
	for i := range tx.Inputs {
		if !s.home(tx.owners[i]) {
			continue
		}
		c, by, err := lookUp(s.store, tx.Inputs[i].Outpoint)
		if err != nil {
			return x, err
		}
		x.Own = append(x.Own, i)
		r := tx.against(i, c, by)
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

// Page asks for parts of an account. A limit of 0 leaves that list out, one above [MaxPage] is cut to it. Cursors
// are those of the page before, or empty for the first.
type Page struct {
	Cursor       string
	Limit        int
	Older        string
	HistoryLimit int
}

// Account is what an address owns at one height.
type Account struct {
	Height  uint64
	Changed Change // the last at or below Height
	Balance uint64
	Count   uint64 // unspent outputs
	Outputs []Unspent
	Next    string         // cursor of the next page of outputs, empty on the last
	History []HistoryEntry // newest first
	Older   string         // cursor of the next page of history, empty on the last
}

// Change is where an account was changed last: the height of the block, and the position of the change among all of the
// account, the first being 1. Replicas at whatever heights that agree on it agree on the account. An address never heard
// of has the zero Change.
type Change struct {
	Height   uint64
	Position uint64
}

// Unspent is one unspent output of a known owner.
type Unspent struct {
	Outpoint Outpoint
	Amount   uint64
}

// Account reads an account, all of it at one height. An address never heard of owns nothing.
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
	var bad error
	owned := append([]byte{keyOwned}, a[:]...)
	if limit := min(page.Limit, MaxPage); limit > 0 {
		err := snap.Scan(append(owned[:len(owned):len(owned)], after...), kv.PrefixEnd(owned), false, func(key, v []byte) bool {
			if len(out.Outputs) == limit {
				out.Next = hex.EncodeToString(key[len(owned):])
				return false
			}
			o, err := decodeOutpoint(key[len(owned):])
			r := wire.NewReader(v)
			out.Outputs = append(out.Outputs, Unspent{o, r.U64()})
			bad = errors.Join(err, r.Done())
			return bad == nil
		})
		if err = errors.Join(err, bad); err != nil {
			return out, err
		}
	}
	if limit := min(page.HistoryLimit, MaxPage); limit > 0 && acc.entries > 0 {
		before = min(before, acc.entries)
		var mem arena
		err = snap.Scan(mem.historyKey(a, before-1), kv.PrefixEnd(mem.idKey(keyHistory, digest.Digest(a))), false, func(_, v []byte) bool {
			if len(out.History) == limit {
				out.Older = strconv.FormatUint(before-uint64(limit), 10)
				return false
			}
			var h HistoryEntry
			h, bad = decodeHistory(v)
			out.History = append(out.History, h)
			return bad == nil
		})
		err = errors.Join(err, bad)
	}
	return out, err
}

// lastChange is the change that wrote the last of an account's history entries.
func lastChange(r kv.Reader, a Address, entries uint64) (Change, error) {
	if entries == 0 {
		return Change{}, nil
	}
	var mem arena
	v, ok, err := r.Get(mem.historyKey(a, entries-1))
	if err == nil && !ok {
		err = fmt.Errorf("the ledger has lost entry %d of the history of %s", entries-1, a)
	}
	if err != nil {
		return Change{}, err
	}
	h, err := decodeHistory(v)
	return Change{h.Height, entries}, err
}

// parseOutputsCursor reads the outpoint that the next page begins with.
func parseOutputsCursor(s string) ([]byte, error) {
	b, err := hex.DecodeString(s)
	if err != nil || (s != "" && len(b) != outpointSize) {
		return nil, fmt.Errorf("%q: %w", s, ErrBadCursor)
	}
	return b, nil
}

// parseHistoryCursor reads the number of the entry before which the next page begins.
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

// snapshot is the state as it is now with its tip.
func (s *State) snapshot() (kv.Snapshot, tip, error) {
	snap, err := s.store.Snapshot()
	if err != nil {
		return nil, tip{}, err
	}
	v, ok, err := snap.Get([]byte{keyTip})
	if err == nil && !ok {
		err = errors.New("the ledger has lost its last block")
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
