package ledger

import (
	"encoding/binary"
	"errors"

	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
	"bdtnode/internal/wire"
	"bdtnode/merkle"
)

const tagWriteSet = "bdt/write-set/1"

// Due lists say which consumed outputs to forget and which records to close after a transaction has expired. They are
// kept by the minute of the expiry, at most duePerList items in each. A block processes at most duePerBlock lists
// plus twice as many as it adds. So the work of a block is bounded by a constant and its own size, and lists do not
// accumulate.
const (
	minuteMS    = 60_000
	duePerList  = 512
	duePerBlock = 4
)

// dueLists are the items that one block adds to the due lists of each minute.
type dueLists[T any] struct {
	by      map[uint64][]T
	minutes []uint64 // keys of by in the order of their insertion
}

func (l *dueLists[T]) init() { l.by = make(map[uint64][]T) }

func (l *dueLists[T]) reset() {
	clear(l.by)
	l.minutes = l.minutes[:0]
}

func (l *dueLists[T]) add(minute uint64, item T) {
	list, ok := l.by[minute]
	if !ok {
		l.minutes = append(l.minutes, minute)
	}
	l.by[minute] = append(list, item)
}

// write puts the lists into the batch and returns their number.
func (l *dueLists[T]) write(b *kv.Batch, prefix byte, height uint64, size int, encode func([]byte, T) []byte) (lists int) {
	for _, minute := range l.minutes {
		due := l.by[minute]
		for n := uint32(0); len(due) > 0; n++ {
			part := due[:min(len(due), duePerList)]
			due = due[len(part):]
			v := make([]byte, 0, len(part)*size)
			for _, item := range part {
				v = encode(v, item)
			}
			b.Set(dueKey(prefix, minute, height, n), v)
			lists++
		}
	}
	return lists
}

// takeDue removes the lists whose minute has passed, at most limit of them, and returns their contents. *due is a
// minute before which there are no lists in the store; takeDue advances it. added are the minutes of the lists that
// this block adds.
func (d *BlockState) takeDue(b *kv.Batch, prefix byte, due *uint64, added []uint64, limit int) (lists [][]byte, err error) {
	w := &d.s.work
	now := d.in.TimeMS / minuteMS
	if *due < now {
		earliest := now
		err = d.s.store.Scan(wire.AppendU64([]byte{prefix}, *due), wire.AppendU64([]byte{prefix}, now), false,
			func(key, list []byte) bool {
				if len(lists) == limit {
					earliest = minuteOf(key)
					return false
				}
				w.writes = append(w.writes, key...)
				b.Delete(append([]byte(nil), key...))
				lists = append(lists, append([]byte(nil), list...))
				return true
			})
		if err != nil {
			return nil, err
		}
		*due = earliest
	}
	for _, minute := range added { // these transactions have not expired, so their minutes are not before now
		*due = min(*due, minute)
	}
	return lists, nil
}

func minuteOf(key []byte) uint64 { return binary.BigEndian.Uint64(key[1:]) }

// finish closes the records that are due, makes the deliveries and the header, and fills the batch with all changes
// of the block.
func (d *BlockState) finish(b *kv.Batch) error {
	w := &d.s.work
	var mem arena
	if err := d.closeExpired(b); err != nil {
		return err
	}
	added := w.spentDue.write(b, keySpentDue, d.in.Height, outpointSize, func(v []byte, o Outpoint) []byte { return o.append(v) })
	lists, err := d.takeDue(b, keySpentDue, &d.s.due, w.spentDue.minutes, duePerBlock+2*added)
	if err != nil {
		return err
	}
	for _, list := range lists {
		for ; len(list) >= outpointSize; list = list[outpointSize:] {
			b.Delete(append(append(mem.take(1+outpointSize), keySpent), list[:outpointSize]...))
		}
		if len(list) > 0 {
			return errors.New("the list of consumed outputs of one expiry minute is damaged")
		}
	}
	d.writeOutputs(b)
	outbox, err := d.settlement(b)
	if err != nil {
		return err
	}
	d.writeHeader(b, outbox)
	return nil
}

// writeOutputs writes the changed outputs, accounts and history entries.
func (d *BlockState) writeOutputs(b *kv.Batch) {
	w := &d.s.work
	var mem arena
	for _, o := range w.order {
		u := w.uses[o]
		switch {
		case u.created && !u.spent:
			b.Set(mem.outpointKey(keyOutput, o), mem.coinValue(u.coin))
			b.Set(mem.ownedKey(u.coin.owner, o), wire.AppendU64(mem.take(8), u.coin.amount))
		case u.spent && !u.created:
			b.Delete(mem.outpointKey(keyOutput, o))
			b.Delete(mem.ownedKey(u.coin.owner, o))
		}
		if u.spent {
			b.Set(mem.outpointKey(keySpent, o), append(mem.take(digest.Size), u.by[:]...))
		}
	}
	for _, owner := range w.touched {
		b.Set(mem.idKey(keyAccount, digest.Digest(owner)), mem.accountValue(*w.accounts[owner]))
	}
	for i := range w.history {
		h := &w.history[i]
		b.Set(mem.historyKey(h.owner, h.number), h.entry.append(mem.take(historySize)))
	}
}

// writeHeader makes the header and the new tip, and writes them together with the receipts.
func (d *BlockState) writeHeader(b *kv.Batch, outbox digest.Digest) {
	w, last := &d.s.work, &d.s.tip
	ids := make([]digest.Digest, len(d.out.Receipts))
	leaves := make([]digest.Digest, len(d.out.Receipts))
	list := make([]byte, 0, len(ids)*digest.Size)
	var mem arena
	for i := range d.out.Receipts {
		r := &d.out.Receipts[i]
		enc := r.Append(mem.take(ReceiptSize))
		ids[i], leaves[i] = digest.Digest(r.Tx), digest.Of(tagReceipt, enc)
		list = append(list, r.Tx[:]...)
		b.Set(mem.idKey(keyReceipt, digest.Digest(r.Tx)), enc)
	}
	h := Header{
		Network:  d.s.cfg.Network,
		Shard:    d.s.cfg.Shard,
		Height:   d.in.Height,
		Epoch:    d.in.Epoch,
		Slot:     d.in.Slot,
		Last:     d.in.Last,
		Parent:   last.digest,
		Block:    d.in.Digest,
		TxRoot:   merkle.Root(ids),
		Receipts: merkle.Root(leaves),
		Outbox:   outbox,
		WriteSet: digest.Of(tagWriteSet, last.header.WriteSet[:], wire.AppendU32(nil, uint32(len(d.in.Cut))), d.in.Cut, w.writes),
		TimeMS:   d.in.TimeMS,
		Txs:      last.header.Txs + uint64(len(ids)),
	}
	d.t.header, d.t.digest, d.t.cut = h, h.Digest(), append([]byte(nil), d.in.Cut...)
	d.out.Header, d.out.HeaderDigest = h, d.t.digest
	b.Set(heightKey(keyBlockTxs, h.Height), list)
	b.Set(heightKey(keyHeader, h.Height), h.Encode())
	b.Set([]byte{keyTip}, d.t.encode())
}

// updateCaches updates the caches in memory with the block that was just written.
func (s *State) updateCaches() {
	w := &s.work
	for _, o := range w.order {
		if u := w.uses[o]; u.spent {
			s.coins.drop(o)
		} else {
			s.coins.put(o, u.coin)
		}
	}
	for _, owner := range w.touched {
		s.accounts.put(owner, *w.accounts[owner])
	}
	for peer, c := range w.channels {
		s.channels[peer] = *c
	}
	s.unsent = w.left
}
