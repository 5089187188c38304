package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"

	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
	"bdtnode/internal/wire"
)

// Bounds of the entries that one block sends to other shards: bytes in all, bytes to one shard, and number of
// entries. One transaction of the greatest size, sent to all shards, fits.
//
// Verdicts wait in one queue, in the order in which they were given, and each block sends those at its front that
// fit. No verdict waits for ever. The first verdict of the queue fits into an empty outbox, so each block with a
// non-empty queue sends at least that one to all its shards. Only answers to other shards lengthen the queue: a
// transaction of a batch is left out, and may be ordered again, unless all verdicts given so far and its own fit into
// this block's outbox. While the queue is not empty, replicas ask for further blocks. The queue of answers to another
// shard is bounded by that shard too: acknowledgements wait with the answers, and an honest shard stops at its limit
// of deliveries that are not acknowledged.
const (
	MaxOutboxBytes         = 8 << 20
	MaxOutboxBytesPerShard = 2 << 20 // bytes to one shard
	MaxOutboxEntries       = 16384
)

// outboxUse counts the used part of a block's outbox.
type outboxUse struct {
	bytes, entries int
	to             [MaxShards]int // bytes by destination
}

// hasSpace reports whether an entry of size bytes still fits for each shard of to.
func (u *outboxUse) hasSpace(to ShardSet, size int) bool {
	n := to.Len()
	if u.bytes+n*size > MaxOutboxBytes || u.entries+n > MaxOutboxEntries {
		return false
	}
	for _, shard := range to.Members() {
		if u.to[shard]+size > MaxOutboxBytesPerShard {
			return false
		}
	}
	return true
}

func (u *outboxUse) add(to ShardSet, size int) {
	n := to.Len()
	u.bytes, u.entries = u.bytes+n*size, u.entries+n
	for _, shard := range to.Members() {
		u.to[shard] += size
	}
}

func entrySize(tx *Tx) int { return deliveryItem + len(tx.raw) }

// open counts the verdicts in the store that are not sent yet.
func (s *Outbox) open() error {
	s.before = 0
	return s.x.store.Scan([]byte{keyUnsent}, []byte{keyUnsent + 1}, false, func(_, _ []byte) bool { s.before++; return true })
}

// deliverVerdicts puts verdicts from the front of the queue into the deliveries of this block as far as its bounds
// allow, and stores the rest of the queue. It calls sent for the record of each verdict.
func (s *Outbox) deliverVerdicts(b *kv.Batch, sent func(*Record) error) error {
	var used outboxUse
	left := s.before
	front, err := s.front()
	if err != nil {
		return err
	}
	full := false
	for _, q := range front {
		if full, err = s.deliver(&used, q.id, sent); full || err != nil {
			break
		}
		b.Delete(q.key)
		left--
	}
	if err != nil {
		return err
	}
	full = full || left > 0
	for i, id := range s.queue {
		if !full {
			if full, err = s.deliver(&used, id, sent); err != nil {
				return err
			}
		}
		if full {
			b.Set(unsentKey(s.x.in.Height, i), append([]byte(nil), id[:]...))
			left++
		}
	}
	s.left = left
	return nil
}

// queued is a verdict that an earlier block gave and could not send.
type queued struct {
	key []byte
	id  TxID
}

// front returns the front of the queue that earlier blocks left, at most as many verdicts as one block may send.
func (s *Outbox) front() (out []queued, err error) {
	if s.before == 0 {
		return nil, nil
	}
	damaged := false
	err = s.x.store.Scan([]byte{keyUnsent}, []byte{keyUnsent + 1}, false, func(key, v []byte) bool {
		if damaged = len(v) != digest.Size; damaged {
			return false
		}
		out = append(out, queued{append([]byte(nil), key...), TxID(v)})
		return len(out) < MaxOutboxEntries
	})
	if err == nil && damaged {
		err = errors.New("the queue of verdicts that are not sent yet is damaged")
	}
	return out, err
}

// deliver puts one verdict into the deliveries of this block. full reports that it does not fit any more.
func (s *Outbox) deliver(used *outboxUse, id TxID, sent func(*Record) error) (full bool, err error) {
	x, err := s.records.load(id)
	switch {
	case err != nil:
		return false, err
	case x == nil || x.Part.Unsent == 0:
		return false, fmt.Errorf("the record of transaction %s, whose verdict is not sent yet, is missing", id)
	}
	r, size := &x.Record, entrySize(x.Tx)
	if !used.hasSpace(r.Part.Unsent, size) {
		return true, nil
	}
	used.add(r.Part.Unsent, size)
	own := r.Part.Of(s.x.cfg.Shard)
	for _, peer := range r.Part.Unsent.Members() {
		s.channels.change(peer)
		s.entries[peer] = append(s.entries[peer], Entry{Verdict: own.Verdict, Reason: own.Reason, Tx: r.Tx})
	}
	s.records.setUnsent(r, 0)
	return false, sent(r)
}

// HasUnsentVerdicts reports whether verdicts are left that later blocks have to send, even if nothing else is to be ordered.
func (s *State) HasUnsentVerdicts() (bool, error) {
	some := false
	err := s.store.Scan([]byte{keyUnsent}, []byte{keyUnsent + 1}, false, func(_, _ []byte) bool { some = true; return false })
	return some, err
}

func unsentKey(height uint64, i int) []byte {
	return binary.BigEndian.AppendUint32(wire.AppendU64([]byte{keyUnsent}, height), uint32(i))
}
