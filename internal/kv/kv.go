// Package kv is the one way to disk: an ordered map of byte strings, written in atomic batches.
//
// [Pebble] keeps it in a directory, [Mem] in memory for simulations, with crashes that lose what was not synced.
//
// A store is fail-stop. After the first error of a write or a sync it does nothing more: every later call answers
// that error, and nothing is tried again, since a kernel that failed a sync may report the next one as good
// without having written anything. The caller stops the node.
//
// Keys that begin with the byte 0 belong to the store itself; callers neither read nor write them.
package kv

import "errors"

// FormatVersion is the version of the layout of a store's directory and of the records that this program keeps in it.
// It is kept in the store and checked at open.
const FormatVersion = 2

// formatKey holds the format version, 4 bytes big-endian.
var formatKey = []byte("\x00format")

// ErrClosed is what a closed store answers.
var ErrClosed = errors.New("store is closed")

// Reader reads one state of a store.
type Reader interface {
	// Get returns the value of key. The value is the caller's to keep but not to change.
	Get(key []byte) (value []byte, ok bool, err error)
	// Scan yields the entries with lower <= key < upper in ascending order, or in descending order if reverse,
	// until yield returns false. Key and value are valid during that yield only.
	Scan(lower, upper []byte, reverse bool, yield func(key, value []byte) bool) error
}

// Snapshot is one state of a store, unmoved by later batches. It must be closed before its store.
type Snapshot interface {
	Reader
	Close() error
}

// Store is an ordered map of byte strings. All methods may be called concurrently; batches are applied in the
// order in which the calls to Apply began if these do not overlap.
type Store interface {
	Reader
	// Snapshot is the store as it is now.
	Snapshot() (Snapshot, error)
	// Apply makes all changes of b, in their order, at once. With sync it returns when they, and all batches
	// before, survive a crash of the machine; without, a crash may lose the newest batches, always whole ones,
	// and never one that is older than one that survives.
	Apply(b *Batch, sync bool) error
	// Flush returns when everything applied before it survives a crash.
	Flush() error
	// Durable is Get of a state that survives a crash of the machine. It may lag behind what actually would: in a
	// store with a log it is the last flushed state.
	Durable(key []byte) (value []byte, ok bool, err error)
	// Syncs is the number of times the store has waited for the disk since it was opened.
	Syncs() uint64
	// Failed is closed at the first failure, so that a node may stop without waiting for its next call.
	Failed() <-chan struct{}
	// Close releases the store. What was applied without sync is kept if there is a log, else flushed.
	Close() error
}

// Op is one change of a batch.
type Op struct {
	Key    []byte
	Value  []byte
	Delete bool
}

// Batch is a list of changes to make at once, the later of two on one key counting. The zero Batch is empty. It
// keeps the slices it is given; they must not change until Apply has returned, after which it no longer needs them.
type Batch struct {
	Ops  []Op
	size int
}

// Set puts value under key, in place of any other.
func (b *Batch) Set(key, value []byte) {
	b.Ops = append(b.Ops, Op{Key: key, Value: value})
	b.size += len(key) + len(value)
}

// Delete removes key if it is there.
func (b *Batch) Delete(key []byte) {
	b.Ops = append(b.Ops, Op{Key: key, Delete: true})
	b.size += len(key)
}

// Len is the number of changes.
func (b *Batch) Len() int { return len(b.Ops) }

// Size is the bytes of all keys and values.
func (b *Batch) Size() int { return b.size }

// Reset empties the batch and keeps its memory.
func (b *Batch) Reset() {
	clear(b.Ops)
	b.Ops = b.Ops[:0]
	b.size = 0
}

// PrefixEnd is the smallest key greater than every key that begins with prefix, or nil if there is none: the upper
// bound of a Scan over that prefix.
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
