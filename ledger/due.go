package ledger

import (
	"encoding/binary"
	"fmt"

	"bdtnode/internal/kv"
	"bdtnode/internal/wire"
)

// Due lists say which consumed outputs to forget and which records to close after a transaction has expired. They are
// kept by the minute of the expiry, at most duePerList items in each. A block processes at most duePerBlock lists
// plus twice as many as it adds. So the work of a block is bounded by a constant and its own size, and lists do not
// accumulate.
const (
	minuteMS    = 60_000
	duePerList  = 512
	duePerBlock = 4
)

// dueLists are the due lists of one kind of items.
type dueLists[T any] struct {
	prefix   byte   // of the keys
	size     int    // bytes of an encoded item
	items    string // of an error: kind of the items
	encode   func([]byte, T) []byte
	earliest uint64         // the store has no list of an earlier minute
	by       map[uint64][]T // items that the current block adds, by minute
	minutes  []uint64       // keys of by in the order of their insertion
}

func newDueLists[T any](prefix byte, size int, items string, encode func([]byte, T) []byte) dueLists[T] {
	return dueLists[T]{prefix: prefix, size: size, items: items, encode: encode, by: make(map[uint64][]T)}
}

// open finds the earliest list in the store.
func (l *dueLists[T]) open(store kv.Store) error {
	return store.Scan([]byte{l.prefix}, []byte{l.prefix + 1}, false, func(key, _ []byte) bool {
		l.earliest = minuteOf(key)
		return false
	})
}

func (l *dueLists[T]) reset() {
	clear(l.by)
	l.minutes = l.minutes[:0]
}

// add adds an item that is due after a transaction's expiry.
func (l *dueLists[T]) add(expiryMS uint64, item T) {
	minute := expiryMS / minuteMS
	list, ok := l.by[minute]
	if !ok {
		l.minutes = append(l.minutes, minute)
	}
	l.by[minute] = append(list, item)
}

// take writes the lists of the current block, and removes lists whose minute has passed. It calls each with the
// encoding of every removed item.
func (l *dueLists[T]) take(b *kv.Batch, x *execution, each func(item []byte) error) error {
	lists, err := l.remove(b, x, duePerBlock+2*l.write(b, x.in.Height))
	if err != nil {
		return err
	}
	for _, list := range lists {
		for ; len(list) >= l.size; list = list[l.size:] {
			if err := each(list[:l.size]); err != nil {
				return err
			}
		}
		if len(list) > 0 {
			return fmt.Errorf("the list of %s of one expiry minute is damaged", l.items)
		}
	}
	return nil
}

// write puts the lists of the current block into the batch and returns their number.
func (l *dueLists[T]) write(b *kv.Batch, height uint64) (lists int) {
	for _, minute := range l.minutes {
		due := l.by[minute]
		for n := uint32(0); len(due) > 0; n++ {
			part := due[:min(len(due), duePerList)]
			due = due[len(part):]
			v := make([]byte, 0, len(part)*l.size)
			for _, item := range part {
				v = l.encode(v, item)
			}
			b.Set(dueKey(l.prefix, minute, height, n), v)
			lists++
		}
	}
	return lists
}

// remove deletes the lists whose minute has passed, at most limit of them, and returns their contents.
func (l *dueLists[T]) remove(b *kv.Batch, x *execution, limit int) (lists [][]byte, err error) {
	now := x.in.TimeMS / minuteMS
	if l.earliest < now {
		earliest := now
		err = x.store.Scan(wire.AppendU64([]byte{l.prefix}, l.earliest), wire.AppendU64([]byte{l.prefix}, now), false,
			func(key, list []byte) bool {
				if len(lists) == limit {
					earliest = minuteOf(key)
					return false
				}
				x.writes = append(x.writes, key...)
				b.Delete(append([]byte(nil), key...))
				lists = append(lists, append([]byte(nil), list...))
				return true
			})
		if err != nil {
			return nil, err
		}
		l.earliest = earliest
	}
	for _, minute := range l.minutes { // these transactions have not expired, so their minutes are not before now
		l.earliest = min(l.earliest, minute)
	}
	return lists, nil
}

func minuteOf(key []byte) uint64 { return binary.BigEndian.Uint64(key[1:]) }

func dueKey(prefix byte, minute, height uint64, number uint32) []byte {
	return wire.AppendU32(wire.AppendU64(wire.AppendU64([]byte{prefix}, minute), height), number)
}
