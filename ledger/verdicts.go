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

// SendVerdict queues this shard's verdict on a transaction for all other shards involved. This block sends it, or a later
// one if this block's outbox is full.
func (d *BlockState) SendVerdict(r *Record) {
	w := &d.s.work
	if k := d.changes(r).Part.Of(d.Shard()); k == nil || k.Verdict == 0 || r.Part.Unsent != 0 {
		panic(fmt.Sprintf("ledger: transaction %s has no verdict of this shard that is not sent yet", r.Part.Tx))
	}
	r.Part.Unsent = r.Shards.All().Without(d.Shard())
	w.unsent = append(w.unsent, r.Part.Tx)
	w.given.add(r.Part.Unsent, entrySize(r.Tx))
}

// HasOutboxSpace reports whether this block would send a verdict on a transaction that is given now.
func (d *BlockState) HasOutboxSpace(tx *Tx) bool {
	return d.s.unsent == 0 && d.s.work.given.hasSpace(d.Shards(tx).All().Without(d.Shard()), entrySize(tx))
}

// deliverVerdicts sends verdicts from the front of the queue as far as the bounds of this block allow, and stores the rest of
// the queue.
func (d *BlockState) deliverVerdicts(b *kv.Batch) error {
	w := &d.s.work
	var used outboxUse
	left := d.s.unsent
	queue, err := d.queueFront()
	if err != nil {
		return err
	}
	full := false
	for _, q := range queue {
		if full, err = d.deliverVerdict(&used, q.id); full || err != nil {
			break
		}
		b.Delete(q.key)
		left--
	}
	if err != nil {
		return err
	}
	full = full || left > 0
	for i, id := range w.unsent {
		if !full {
			if full, err = d.deliverVerdict(&used, id); err != nil {
				return err
			}
		}
		if full {
			b.Set(unsentKey(d.in.Height, i), append([]byte(nil), id[:]...))
			left++
		}
	}
	w.left = left
	d.out.More = left > 0
	return nil
}

// queued is a verdict that an earlier block gave and could not send.
type queued struct {
	key []byte
	id  TxID
}

// queueFront returns the front of the queue that earlier blocks left, at most as many verdicts as one block may send.
func (d *BlockState) queueFront() (out []queued, err error) {
	if d.s.unsent == 0 {
		return nil, nil
	}
	damaged := false
	err = d.s.store.Scan([]byte{keyUnsent}, []byte{keyUnsent + 1}, false, func(key, v []byte) bool {
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

// deliverVerdict puts one verdict into the deliveries of this block. full reports that it does not fit any more.
func (d *BlockState) deliverVerdict(used *outboxUse, id TxID) (full bool, err error) {
	x, err := d.open(id)
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
	own := r.Part.Of(d.Shard())
	for _, peer := range r.Part.Unsent.Members() {
		d.channel(peer)
		d.s.work.entries[peer] = append(d.s.work.entries[peer], Entry{Verdict: own.Verdict, Reason: own.Reason, Tx: r.Tx})
	}
	d.changes(r).Part.Unsent = 0
	return false, d.s.cfg.Rules.VerdictSent(d, r)
}

// countUnsent returns the number of verdicts that are not sent yet.
func (s *State) countUnsent() (n int, err error) {
	err = s.store.Scan([]byte{keyUnsent}, []byte{keyUnsent + 1}, false, func(_, _ []byte) bool { n++; return true })
	return n, err
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
