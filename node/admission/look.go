package admission

import (
	"bdtnode/ledger"
	"bdtnode/protocols"
)

// Instant is a moment by both clocks of a replica.
type Instant struct {
	Now    protocols.Time // by the clock that deadlines are measured by, which is never set
	WallMS uint64         // by the wall clock, Unix milliseconds, which expiries are compared with
}

// Look is what the executed ledger says of one transaction. It is read without the door's lock, and good as long as the
// door has heard of no block above Height.
type Look struct {
	Height  uint64 // of the last block executed when reading began
	Known   bool
	Receipt ledger.Receipt    // if Known
	Found   ledger.Inspection // if not Known
}

// Read looks a transaction up. The error is the store's.
//
// Expiry is judged by block time, since a block of that time or earlier might still settle it whatever this replica's
// clock says. The horizon is judged by the clock too: block time stands still while a shard has nothing to do.
func Read(state *ledger.State, tx *ledger.Tx, now Instant) (Look, error) {
	h, _, _ := state.Tip()
	l := Look{Height: h.Height}
	var err error
	if l.Receipt, l.Known, err = state.Receipt(tx.ID()); err != nil || l.Known {
		return l, err
	}
	l.Found, err = state.Inspect(tx, max(h.TimeMS, min(now.WallMS, tx.ExpiryMS)))
	if err == nil && l.Found.Refusal != nil && l.Found.Refusal.Reason == ledger.ReasonConsumed {
		// It may have consumed the input itself in a block after the first reading.
		l.Receipt, l.Known, err = state.Receipt(tx.ID())
	}
	return l, err
}
