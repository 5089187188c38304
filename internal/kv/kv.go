// Package kv is the only access to disk of the replica's state: an ordered map of byte strings, written in atomic
// batches.
//
// [Pebble] keeps the map in a directory. [Mem] keeps it in memory for simulations, with crashes that lose data that
// was not synced.
//
// A store is fail-stop. After the first error of a write or a sync it does nothing more: every later call returns
// that error, and nothing is retried, because a kernel that failed a sync may report the next sync as successful
// without having written the data. The caller must stop the replica.
//
// Keys that begin with byte 0 belong to the store itself; callers neither read nor write them.
package kv

import "errors"

// FormatVersion is the version of the layout of a store's directory and of the records in it. It is written into a
// new store and checked when a store is opened.
const FormatVersion = 3

// formatKey holds the format version, 4 bytes big-endian.
var formatKey = []byte("\x00format")

// ErrClosed is returned by all methods of a closed store.
var ErrClosed = errors.New("store is closed")

// Reader reads one state of a store.
type Reader interface {
	// Get returns the value of key. The caller may keep the value but must not change it.
	Get(key []byte) (value []byte, ok bool, err error)
	// Scan calls yield for the entries with lower <= key < upper in ascending order, or in descending order if
	// reverse, until yield returns false. key and value are valid during that call only.
	Scan(lower, upper []byte, reverse bool, yield func(key, value []byte) bool) error
}

// Snapshot is one state of a store, which later batches do not change. It must be closed before its store.
type Snapshot interface {
	Reader
	Close() error
}

// Store is an ordered map of byte strings. All methods may be called concurrently. If calls of Apply do not overlap,
// batches are applied in the order of the calls.
type Store interface {
	Reader
	// Snapshot returns the current state.
	Snapshot() (Snapshot, error)
	// Apply makes all changes of b at once, as if in their order. With sync it returns after this batch and all
	// earlier ones survive a crash of the machine. Without sync, a crash may lose the newest batches: always whole
	// ones, and never one that is older than a surviving one. An empty batch with sync makes the earlier ones survive.
	Apply(b *Batch, sync bool) error
	// Flush returns after all earlier batches survive a crash of the machine.
	Flush() error
	// Durable is Get on a state that survives a crash of the machine. This state may be older than the one that would
	// really survive: in a store with a log it is that of the last flush.
	Durable(key []byte) (value []byte, ok bool, err error)
	// Syncs is the number of syncs to disk since the store was opened.
	Syncs() uint64
	// Failed returns a channel that is closed at the first failure, so that the replica can stop before its next
	// call.
	Failed() <-chan struct{}
	// Close releases the store. Batches that were applied without sync are kept: in the log if there is one,
	// otherwise by a flush.
	Close() error
}

// Op is one change of a batch.
type Op struct {
	Key    []byte
	Value  []byte
	Delete bool
	New    bool // of a Set: the key does not exist
}

// Batch is a list of changes that are made at once; of two changes of one key the later counts. The zero Batch is
// empty. It keeps the slices that it is given: keys must not change until Apply has returned, and values must never
// change, since a [Window] reads them later.
type Batch struct {
	Ops  []Op
	size int
}

// Set sets the value of key, replacing any other.
func (b *Batch) Set(key, value []byte) {
	b.Ops = append(b.Ops, Op{Key: key, Value: value})
	b.size += len(key) + len(value)
}

// Create sets the value of a key that does not exist. If it is deleted soon, a [Window] writes neither change.
func (b *Batch) Create(key, value []byte) {
	b.Set(key, value)
	b.Ops[len(b.Ops)-1].New = true
}

// Delete removes key if it exists.
func (b *Batch) Delete(key []byte) {
	b.Ops = append(b.Ops, Op{Key: key, Delete: true})
	b.size += len(key)
}

// Len is the number of changes.
func (b *Batch) Len() int { return len(b.Ops) }

// Size is the length of all keys and values in bytes.
func (b *Batch) Size() int { return b.size }

// Reset empties the batch and keeps its memory.
func (b *Batch) Reset() {
	clear(b.Ops)
	b.Ops = b.Ops[:0]
	b.size = 0
}

// Each is [Reader.Scan] with a function that may fail. Its first error ends the scan, and Each returns it.
func Each(r Reader, lower, upper []byte, reverse bool, yield func(key, value []byte) (more bool, err error)) error {
	var bad error
	err := r.Scan(lower, upper, reverse, func(key, value []byte) (more bool) {
		more, bad = yield(key, value)
		return more && bad == nil
	})
	return errors.Join(err, bad)
}

// PrefixEnd returns the smallest key that is greater than every key with the given prefix, or nil if there is none:
// the upper bound of a Scan over the prefix.
func PrefixEnd(prefix []byte) []byte {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] != 0xff {
			end := append([]byte(nil), prefix[:i+1]...)
			end[i]++
			return end
		}
	}
	return nil
}
