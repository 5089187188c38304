package admission

import (
	"math/bits"
	"time"

	"bdtnode/ledger"
	"bdtnode/protocols"
)

// state is where an entry is.
type state uint8

const (
	inRoom state = iota // not processable: an input is missing, or another entry spends it
	ready               // processable, and in its party's queue
	behind              // processable once entries that it spends outputs of are in a batch
	flying              // in a batch that no block has decided yet
	parked              // left out by a block, to be tried again
	gone
)

func (s state) String() string {
	return [...]string{"in the room", "ready", "behind", "flying", "parked", "gone"}[s]
}

// entry is one transaction that the door keeps.
type entry struct {
	tx     *ledger.Tx
	from   Party
	seq    uint64 // of arrival
	state  state
	inside bool  // as of [ledger.Inspection]
	own    []int // as there, of an entry of the book

	logged   bool   // in a batch of this replica's lane, on its disk
	batch    uint64 // number of the newest of these
	recorded bool   // on disk under its own key too
	listed   bool   // in kept.left

	links   []*link        // to what its fate depends on
	waitFor int            // of links, entries that have to be in a batch first
	due     bool           // in Door.due
	until   protocols.Time // in the room: when it is dropped; parked: when it is tried again
	backoff time.Duration

	queuePlace, feePlace, expiryPlace, timerPlace int
}

func (e *entry) id() ledger.TxID { return e.tx.ID() }
func (e *entry) size() int       { return len(e.tx.Encode()) }

// inBook reports whether the entry counts as one of the book.
func (e *entry) inBook() bool {
	return e.state == ready || e.state == behind || e.state == flying || e.state == parked
}

// free reports whether the entry may be evicted: no batch has it, and nothing was promised.
func (e *entry) free() bool { return (e.state == ready || e.state == behind) && !e.logged }

// ahead reports whether the entry is in the book and not left out, so that what spends its outputs may follow it.
func (e *entry) ahead() bool { return e.state == ready || e.state == behind || e.state == flying }

// link says that an entry depends on a transaction.
type link struct {
	entry *entry
	on    ledger.TxID
	first bool // that transaction has to be in a batch before the entry
	place int  // in Door.links
}

// pays compares what two transactions pay per byte.
func pays(a, b *ledger.Tx) int {
	hiA, loA := bits.Mul64(a.Fee, uint64(len(b.Encode())))
	hiB, loB := bits.Mul64(b.Fee, uint64(len(a.Encode())))
	switch {
	case hiA < hiB || hiA == hiB && loA < loB:
		return -1
	case hiA == hiB && loA == loB:
		return 0
	}
	return 1
}
