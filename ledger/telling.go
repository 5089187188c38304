package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"

	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
	"bdtnode/internal/wire"
)

// Bounds of what one block tells other shards: bytes of all entries, of those for one shard, and their number. One
// transaction of the greatest size for all shards fits.
//
// Verdicts wait in one queue, in the order in which they were given, and each block tells from its front what fits.
// Nothing starves. Whatever is first in the queue fits into an empty outbox, so each block with a queue tells at least its
// first verdict to all. Only answers to other shards enlarge the queue: a transaction of a batch is left out unless all
// that is given already and its own verdict fit into this block's outbox, and comes again. While there is a queue,
// replicas ask for further blocks, and a shard that is owed many answers is owed acknowledgements too: an honest one stops
// at its limit of deliveries that are not shown applied.
const (
	MaxOutboxBytes   = 8 << 20
	MaxToldBytes     = 2 << 20 // to one shard
	MaxOutboxEntries = 16384
)

// outboxUse is how much of a block's outbox is used.
type outboxUse struct {
	bytes, entries int
	to             [MaxShards]int // bytes
}

// room reports whether an entry of a size fits for each of some shards.
func (u *outboxUse) room(to ShardSet, size int) bool {
	n := to.Len()
	if u.bytes+n*size > MaxOutboxBytes || u.entries+n > MaxOutboxEntries {
		return false
	}
	for _, shard := range to.Members() {
		if u.to[shard]+size > MaxToldBytes {
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

// Tell has the own verdict on a transaction told to all other shards involved: by this block, or by a later one if this
// one tells as much as it may.
func (d *Desk) Tell(r *Record) {
	w := &d.s.work
	if k := d.changes(r).Part.Of(d.Shard()); k == nil || k.Verdict == 0 || r.Part.Untold != 0 {
		panic(fmt.Sprintf("ledger: nothing to tell of transaction %s", r.Part.Tx))
	}
	r.Part.Untold = r.Parties.All().Without(d.Shard())
	w.untold = append(w.untold, r.Part.Tx)
	w.said.add(r.Part.Untold, entrySize(r.Tx))
}

// Room reports whether a verdict on a transaction, given now, is told by this block.
func (d *Desk) Room(tx *Tx) bool {
	return d.s.untold == 0 && d.s.work.said.room(d.Parties(tx).All().Without(d.Shard()), entrySize(tx))
}

// tellAll tells verdicts from the front of the queue, as far as this block may, and puts what is left into the store.
func (d *Desk) tellAll(b *kv.Batch) error {
	w := &d.s.work
	var used outboxUse
	left := d.s.untold
	late, err := d.late()
	if err != nil {
		return err
	}
	full := false
	for _, q := range late {
		if full, err = d.tell(&used, q.id); full || err != nil {
			break
		}
		b.Delete(q.key)
		left--
	}
	if err != nil {
		return err
	}
	full = full || left > 0
	for i, id := range w.untold {
		if !full {
			if full, err = d.tell(&used, id); err != nil {
				return err
			}
		}
		if full {
			b.Set(untoldKey(d.in.Height, i), append([]byte(nil), id[:]...))
			left++
		}
	}
	w.left = left
	d.out.More = left > 0
	return nil
}

// queued is a verdict that an earlier block could not tell.
type queued struct {
	key []byte
	id  TxID
}

// late is the front of the queue as earlier blocks left it, as long as one block may use.
func (d *Desk) late() (out []queued, err error) {
	if d.s.untold == 0 {
		return nil, nil
	}
	damaged := false
	err = d.s.store.Scan([]byte{keyUntold}, []byte{keyUntold + 1}, false, func(key, v []byte) bool {
		if damaged = len(v) != digest.Size; damaged {
			return false
		}
		out = append(out, queued{append([]byte(nil), key...), TxID(v)})
		return len(out) < MaxOutboxEntries
	})
	if err == nil && damaged {
		err = errors.New("the queue of verdicts to be told is damaged")
	}
	return out, err
}

// tell tells one verdict, unless it does not fit into the block any more.
func (d *Desk) tell(used *outboxUse, id TxID) (full bool, err error) {
	x, err := d.open(id)
	switch {
	case err != nil:
		return false, err
	case x == nil || x.Part.Untold == 0:
		return false, fmt.Errorf("the record of transaction %s, whose verdict is not told yet, is missing", id)
	}
	r, size := &x.Record, entrySize(x.Tx)
	if !used.room(r.Part.Untold, size) {
		return true, nil
	}
	used.add(r.Part.Untold, size)
	own := r.Part.Of(d.Shard())
	for _, peer := range r.Part.Untold.Members() {
		d.channel(peer)
		d.s.work.tell[peer] = append(d.s.work.tell[peer], Entry{Verdict: own.Verdict, Reason: own.Reason, Tx: r.Tx})
	}
	d.changes(r).Part.Untold = 0
	return false, d.s.cfg.Rules.Told(d, r)
}

// countUntold is how many verdicts wait to be told.
func (s *State) countUntold() (n int, err error) {
	err = s.store.Scan([]byte{keyUntold}, []byte{keyUntold + 1}, false, func(_, _ []byte) bool { n++; return true })
	return n, err
}

// Untold reports whether verdicts wait to be told by later blocks, though nothing else happens.
func (s *State) Untold() (bool, error) {
	some := false
	err := s.store.Scan([]byte{keyUntold}, []byte{keyUntold + 1}, false, func(_, _ []byte) bool { some = true; return false })
	return some, err
}

func untoldKey(height uint64, i int) []byte {
	return binary.BigEndian.AppendUint32(wire.AppendU64([]byte{keyUntold}, height), uint32(i))
}
