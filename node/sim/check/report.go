package check

import (
	"fmt"

	"bdtnode/internal/digest"
	"bdtnode/ledger"
	"bdtnode/node/sim/observe"
	"bdtnode/protocols"
)

// Counts are the numbers of a run.
type Counts struct {
	Commits   uint64 // blocks, of all shards
	Epochs    uint64 // that ended, in all shards
	Fallbacks uint64 // of these, epochs that the agreement ended before the last slot was used
	Settled   int    // transactions
	Rejected  int    // with a receipt, or returned from escrow
	LDs       int    // made, if there are several shards
	// Cancelled counts transactions of which a CL reached another shard and which no shard ordered, ReturnedByCL those
	// whose escrow a CL returned, and ReturnedByVerdict those whose escrow only verdicts returned.
	Cancelled, ReturnedByCL, ReturnedByVerdict int
	Crashes                                    int
	Refused                                    int // messages and LDs of Byzantine replicas
	Bad                                        int // batches with a bad signature, in blocks
	Told                                       int // receipts of transactions in another shard, as replicas of a shard were told
}

// Counts counts the events of all shards.
func (w *Network) Counts() Counts {
	r := Counts{Refused: w.settling.refusals, Told: w.answers.told}
	verdicts := make(map[ledger.TxID]bool) // whether each transaction settled
	for _, s := range w.Shards {
		a := &s.agreement
		r.Commits, r.Epochs, r.Fallbacks = r.Commits+a.top, r.Epochs+a.epochs, r.Fallbacks+a.fallbacks
		r.Crashes += s.durability.crashes
		r.Refused += s.blame.refused
		r.Bad += s.signatures.bad
		for id, x := range s.durability.answers {
			verdicts[id] = verdicts[id] || x.Verdict == ledger.VerdictSettled
		}
	}
	for _, settled := range verdicts {
		if settled {
			r.Settled++
		} else {
			r.Rejected++
		}
	}
	for id := range w.cancelling.taken {
		if w.settling.fates[id] == nil {
			r.Cancelled++
		}
	}
	for _, f := range w.settling.fates {
		switch {
		case f.cancelled:
			r.ReturnedByCL++
		case f.returned():
			r.ReturnedByVerdict++
		}
	}
	for _, row := range w.settling.channels {
		for d := range row {
			r.LDs += len(row[d].made)
		}
	}
	return r
}

// returned reports whether the escrow of a transaction was returned in some shard.
func (f *fate) returned() bool {
	for _, v := range f.ends {
		if v == ledger.VerdictReturned {
			return true
		}
	}
	return false
}

// Rounds is the number of rounds of each agreement of the shard, counted at the last replica to decide, in no order.
func (s *Shard) Rounds() []uint32 {
	var out []uint32
	for _, rounds := range s.signing.rounds {
		out = append(out, rounds)
	}
	return out
}

// Unsettled describes pending work in or between the shards, empty if there is none.
func (w *Network) Unsettled() string {
	for _, s := range w.Shards {
		if lack := s.unsettled(); lack != "" {
			if len(w.Shards) > 1 {
				lack = fmt.Sprintf("shard %d: %s", s.Number, lack)
			}
			return lack
		}
	}
	if lack := w.answers.lacking(); lack != "" {
		return lack
	}
	if lack := w.payloads.lacking(); lack != "" {
		return lack
	}
	return w.settling.open()
}

// Open describes records that should be deleted and are not, empty if there are none. It is called when all
// transactions have expired.
func (w *Network) Open() string { return w.settling.closed() }

// End is called at the end of a run with the reason for a shard's pending work, if there is any.
func (s *Shard) End(settle fmt.Stringer) {
	if lack := s.unsettled(); lack != "" {
		s.Fail("liveness", "%v after the disturbances stopped: %s", settle, lack)
		return
	}
	for _, n := range s.honest() {
		s.durability.ended(n)
		s.promises.ended(n)
		s.value(n)
	}
}

// Silent is called when the network must be silent: accepted transactions that have expired have their final answers.
func (s *Shard) Silent() {
	for _, n := range s.honest() {
		s.promises.ended(n)
	}
}

// Pending reports whether a node that is up has transactions in its mempool.
func (s *Shard) Pending() bool {
	for _, n := range s.Nodes {
		if n.Alive() && n.Pending() > 0 {
			return true
		}
	}
	return false
}

// MadeLD is the digest of the LD that a shard made for another one under a number; ok is false if it made none.
func (w *Network) MadeLD(source, destination uint16, number uint64) (d digest.Digest, ok bool) {
	made := w.settling.channels[source][destination].made
	if number == 0 || number > uint64(len(made)) {
		return d, false
	}
	return made[number-1], true
}

// HostileDelivery is the delivery that a hostile shard gives to a replica of another one under a number.
func (w *Network) HostileDelivery(source, destination uint16, number uint64, to protocols.Index) *ledger.Delivery {
	return w.settling.channels[source][destination].hostile.Delivery(number, to)
}

var _ observe.Network = (*Network)(nil)
