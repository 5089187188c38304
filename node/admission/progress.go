package admission

import "bdtnode/ledger"

// Stage is how far a transaction has come in this shard.
type Stage uint8

// The stages. Logged: in a batch of this replica's lane, on its disk, so that no crash loses it. Ordered: a committed
// block gave it a receipt. Certified: besides, that block's header has f+1 VOTEs. Final: its receipt is the last; inside
// one shard that is the first.
const (
	Logged Stage = iota + 1
	Ordered
	Certified
	Final
)

// Progress is where a transaction stands in this shard.
type Progress struct {
	ID        ledger.TxID
	Waiting   bool            // an input is not there yet; the replica has promised nothing
	Logged    bool            // accepted: a final answer will come
	Receipt   ledger.Receipt  // the newest; its Height is 0 if there is none
	Certified bool            // the header of the receipt's block is
	Refusal   *ledger.Refusal // why it was not taken, or left the book; final if Refusal.Final
}

// Reached reports whether the transaction has come to a stage, or to an answer after which nothing more is known of it
// until it is submitted again. Of one that waits for an input, that is so for Logged: the request ends without a promise.
func (p *Progress) Reached(s Stage) bool {
	ordered := p.Receipt.Height > 0
	switch {
	case p.Refusal != nil:
		return true
	case s == Logged:
		return p.Logged || p.Waiting || ordered
	case s == Ordered:
		return ordered
	case s == Certified:
		return ordered && p.Certified
	}
	return ordered && p.Receipt.Verdict.Final()
}

// Ended reports whether no later answer differs.
func (p *Progress) Ended() bool {
	return p.Refusal != nil && p.Refusal.Final() || p.Receipt.Height > 0 && p.Receipt.Verdict.Final()
}
