package admission

import "bdtnode/ledger"

// Stage is a stage of a transaction in this shard.
type Stage uint8

// The stages. Logged: the transaction is in a batch of this replica's lane on its disk, so a crash does not lose it.
// Ordered: a committed block gave it a receipt. Certified: that block's header also has f+1 VOTEs. Final: its receipt
// is the last one; inside one shard, the first receipt is the last.
const (
	Logged Stage = iota + 1
	Ordered
	Certified
	Final
)

// Progress is the state of a transaction in this shard.
type Progress struct {
	ID        ledger.TxID
	Waiting   bool            // not accepted yet: in the orphan pool, or in no batch on disk
	Logged    bool            // accepted: it will get a final answer
	Receipt   ledger.Receipt  // the newest receipt; its Height is 0 if there is none
	Certified bool            // the header of the receipt's block is certified
	Refusal   *ledger.Refusal // reason why it was refused or removed from the mempool; final if Refusal.Final
}

// Reached reports whether the transaction has reached a stage, or has an answer after which it has no further
// progress until it is submitted again. A transaction in the orphan pool has reached Logged in this sense: the
// request ends, but the transaction is not accepted.
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

// Ended reports whether the answer is final.
func (p *Progress) Ended() bool {
	return p.Refusal != nil && p.Refusal.Final() || p.Receipt.Height > 0 && p.Receipt.Verdict.Final()
}
