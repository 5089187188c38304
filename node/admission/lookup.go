package admission

import (
	"time"

	"bdtnode/ledger"
	"bdtnode/protocols"
)

// Instant is a time by both clocks of a replica.
type Instant struct {
	Now    protocols.Time // by the monotonic clock, with which delays are measured
	WallMS uint64         // by the wall clock, Unix milliseconds, with which expiries are compared
}

// Reading is one reading of the two clocks, as a recording has it.
type Reading struct {
	Now   protocols.Time // by the monotonic clock
	Ahead time.Duration  // of the wall clock
}

// Instant is the reading as the Admission takes it.
func (r Reading) Instant() Instant {
	return Instant{Now: r.Now, WallMS: max(r.Now.Add(r.Ahead), 0).Millis()}
}

// Lookup is the state of one transaction in the executed ledger. It is read without the lock of the Admission, and valid
// until the Admission is passed a block above Height.
type Lookup struct {
	Height  uint64            // of the last block that was executed when reading began
	Known   bool              // the transaction has a receipt
	Receipt ledger.Receipt    // if Known
	Found   ledger.Inspection // if not Known
}

// Read reads a transaction's state from the ledger. The error is an error of the store.
//
// Expiry is compared with block time, since a block of that time or earlier might still settle the transaction,
// whatever the replica's clock. The horizon is compared with the replica's clock too, since block time does not
// advance while a shard has nothing to order.
func Read(state *ledger.State, tx *ledger.Tx, now Instant) (Lookup, error) {
	h, _, _ := state.Tip()
	l := Lookup{Height: h.Height}
	var err error
	if l.Receipt, l.Known, err = state.ReceiptOf(tx); err != nil || l.Known {
		return l, err
	}
	l.Found, err = state.Inspect(tx, max(h.TimeMS, min(now.WallMS, tx.ExpiryMS)))
	if err == nil && l.Found.Refusal != nil && l.Found.Refusal.Reason == ledger.ReasonConsumed {
		// A block after the first reading of the receipt may have settled this transaction itself.
		l.Receipt, l.Known, err = state.ReceiptOf(tx)
	}
	return l, err
}
