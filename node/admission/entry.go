package admission

import (
	"math/bits"
	"time"

	"bdtnode/ledger"
	"bdtnode/protocols"
)

// state is the place of an entry.
type state uint8

const (
	orphaned state = iota // in the orphan pool: not processable, since an input is missing or another entry spends it
	ready                 // in the mempool: processable, in its party's queue
	behind                // in the mempool: processable once the entries whose outputs it spends are in a batch
	inBatch               // in the mempool: in a batch that no block has decided yet
	parked                // in the mempool: left out by a block, to be tried again
	removed               // in neither place
)

func (s state) String() string {
	return [...]string{"in the orphan pool", "ready", "behind", "in a batch", "parked", "removed"}[s]
}

// entry is one transaction in the mempool or the orphan pool.
type entry struct {
	tx     *ledger.Tx
	from   Party
	seq    uint64 // number in the order of arrival
	state  state
	inside bool  // like [ledger.Inspection.Inside]
	own    []int // like [ledger.Inspection.Own], set in the mempool

	arrived protocols.Time  // 0 if it was read from disk at the start
	leftOut *ledger.Refusal // reason of the last block that left it out, nil if none did

	logged   bool   // accepted: in a batch of this replica's lane on its disk
	batch    uint64 // number of the newest of these batches
	recorded bool   // a record of its own is on disk too, see persist.go
	listed   bool   // it is in persisted.left

	links   []*link        // to the transactions that it depends on
	waitFor int            // number of links to entries that must be in a batch first
	due     bool           // it is in Admission.due
	until   protocols.Time // in the orphan pool: time at which it is dropped; parked: time at which it is tried again
	backoff time.Duration

	queuePlace, feePlace, expiryPlace, timerPlace int
}

func (e *entry) id() ledger.TxID { return e.tx.ID() }
func (e *entry) size() int       { return len(e.tx.Encode()) }

// inMempool reports whether the entry counts as one of the mempool.
func (e *entry) inMempool() bool {
	return e.state == ready || e.state == behind || e.state == inBatch || e.state == parked
}

// evictable reports whether the entry may be evicted: it is in no batch and not accepted.
func (e *entry) evictable() bool { return (e.state == ready || e.state == behind) && !e.logged }

// ahead reports whether the entry is in the mempool and not left out by a block, so that a transaction that spends
// its outputs may follow it.
func (e *entry) ahead() bool { return e.state == ready || e.state == behind || e.state == inBatch }

// link is the dependency of an entry on a transaction.
type link struct {
	entry *entry
	on    ledger.TxID
	first bool // the transaction must be in a batch before the entry
	place int  // index in Admission.links[on]
}

// pays compares the fees per byte of two transactions: -1 if a pays less than b, 0 if the same, 1 if more.
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
