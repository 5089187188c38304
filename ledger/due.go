package ledger

import (
	"encoding/binary"
	"errors"
	"math"

	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
	"bdtnode/internal/wire"
)

// Due lists say which open records to close after their transactions have expired. They are kept by the minute of the
// expiry, at most duePerList ids in each. A block processes at most duePerBlock lists plus twice as many as it adds. So
// the work of a block is bounded by a constant and its own size, and lists do not accumulate.
const (
	minuteMS    = 60_000
	duePerList  = 512
	duePerBlock = 4
)

// noMinute is later than every minute.
const noMinute = math.MaxUint64

// dueLists are the due lists of open records.
type dueLists struct {
	earliest uint64            // minute of the first list in the store, noMinute if there is none
	before   uint64            // earliest, before the current block
	by       map[uint64][]TxID // ids that the current block adds, by minute
	minutes  []uint64          // keys of by in the order of their insertion
}

func newDueLists() dueLists { return dueLists{by: make(map[uint64][]TxID)} }

// open finds the earliest list in the store.
func (l *dueLists) open(store kv.Store) error {
	l.earliest = noMinute
	return store.Scan([]byte{keyOpenDue}, []byte{keyOpenDue + 1}, false, func(key, _ []byte) bool {
		l.earliest = minuteOf(key)
		return false
	})
}

func (l *dueLists) reset() {
	clear(l.by)
	l.minutes, l.before = l.minutes[:0], l.earliest
}

// abandon is called if the current block is not stored.
func (l *dueLists) abandon() { l.earliest = l.before }

// add adds the id of a record that is due after its transaction's expiry.
func (l *dueLists) add(expiryMS uint64, id TxID) {
	minute := expiryMS / minuteMS
	list, ok := l.by[minute]
	if !ok {
		l.minutes = append(l.minutes, minute)
	}
	l.by[minute] = append(list, id)
}

// take writes the lists of the current block, and removes lists whose minute has passed. It calls each with
// every removed id.
func (l *dueLists) take(b *kv.Batch, x *execution, each func(id TxID) error) error {
	lists, err := l.remove(b, x, duePerBlock+2*l.write(b, x.in.Height))
	if err != nil {
		return err
	}
	for _, list := range lists {
		for ; len(list) >= digest.Size; list = list[digest.Size:] {
			if err := each(TxID(list[:digest.Size])); err != nil {
				return err
			}
		}
		if len(list) > 0 {
			return errors.New("the list of open records of one expiry minute is damaged")
		}
	}
	return nil
}

// write puts the lists of the current block into the batch and returns their number.
func (l *dueLists) write(b *kv.Batch, height uint64) (lists int) {
	for _, minute := range l.minutes {
		due := l.by[minute]
		for n := uint32(0); len(due) > 0; n++ {
			part := due[:min(len(due), duePerList)]
			due = due[len(part):]
			v := make([]byte, 0, len(part)*digest.Size)
			for _, id := range part {
				v = append(v, id[:]...)
			}
			b.Set(dueKey(minute, height, n), v)
			lists++
		}
	}
	return lists
}

// remove deletes the lists whose minute has passed, at most limit of them, and returns their contents.
func (l *dueLists) remove(b *kv.Batch, x *execution, limit int) (lists [][]byte, err error) {
	now := x.in.TimeMS / minuteMS
	if l.earliest < now {
		earliest := uint64(noMinute)
		err = x.store.Scan(wire.AppendU64([]byte{keyOpenDue}, l.earliest), []byte{keyOpenDue + 1}, false,
			func(key, list []byte) bool {
				if minute := minuteOf(key); minute >= now || len(lists) == limit {
					earliest = minute
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

func dueKey(minute, height uint64, number uint32) []byte {
	return wire.AppendU32(wire.AppendU64(wire.AppendU64([]byte{keyOpenDue}, minute), height), number)
}
