package foreign

import (
	"time"

	"bdtnode/ledger"
	"bdtnode/node/admission"
	"bdtnode/node/api"
)

// Times after which a client may submit again.
const (
	mempoolRetry = 500 * time.Millisecond // when the mempool was full
	shardRetry   = 2 * time.Second        // when another shard is too far behind
)

// Answer is the answer of a replica of a shard about a transaction, from its progress at the replica. It has timed out if the
// transaction has not come to the stage.
func Answer(shard uint16, p admission.Progress, stage admission.Stage) api.TxAnswer {
	a := api.TxAnswer{ID: p.ID, Shard: shard, State: api.StateWaiting, TimedOut: !p.Reached(stage)}
	switch {
	case p.Refusal != nil:
		a.State = api.StateRejected
		a.Reason, a.Detail = p.Refusal.Reason.String(), p.Refusal.Detail
		if r := p.Refusal.Reason; r == ledger.ReasonBookFull || r == ledger.ReasonBusy {
			a.RetryMS = mempoolRetry.Milliseconds()
		}
		if busy := p.Refusal.Busy; busy != nil {
			a.BusyShard, a.BusySince = &busy.Shard, busy.SinceMS
			if !busy.Frozen {
				a.RetryMS = shardRetry.Milliseconds()
			}
		}
		if !p.Refusal.Final() {
			a.State = api.StateUnknown // not accepted, and may be submitted again
		}
	case p.Receipt.Height > 0:
		a.Height, a.Certified = p.Receipt.Height, p.Certified
		switch p.Receipt.Verdict {
		case ledger.VerdictSettled:
			a.State = api.StateSettled
		case ledger.VerdictSpent:
			a.State = api.Seen(p.Certified)
		default:
			a.State = api.StateRejected
			a.Reason, a.Detail = p.Receipt.Reason.String(), p.Receipt.Reason.Description()
		}
	case p.Logged:
		a.State = api.StateAccepted
	}
	return a
}

// Own is the answer of a replica about a transaction from the data of its own shard: from its progress at the replica, if it is
// known, and from the shard's part in a transaction of several shards, nil without one. It returns false if the replica does
// not know the transaction.
func Own(shard uint16, id ledger.TxID, p admission.Progress, known bool, part *ledger.Part) (api.TxAnswer, bool) {
	a := api.TxAnswer{ID: id, Shard: shard, State: api.StateUnknown}
	if known {
		a = Answer(shard, p, admission.Logged)
		a.TimedOut = false
	}
	if part == nil {
		return a, known
	}
	x := api.Part{Shard: part.Shard, Stage: part.Stage.String(), Height: part.Height}
	if r := &p.Receipt; known && (r.Verdict == ledger.VerdictReturned || r.Verdict == ledger.VerdictRejected) {
		x.Reason = r.Reason.String()
	}
	for _, k := range part.Known {
		v := api.PartVerdict{Shard: k.Shard, Verdict: "unknown", Reason: k.Reason.String(), Height: k.Height}
		if k.Verdict != 0 {
			v.Verdict = k.Verdict.String()
		}
		x.Verdicts = append(x.Verdicts, v)
		a.Inputs = append(a.Inputs, k.Shard)
	}
	a.Parts = []api.Part{x}
	a.Outputs = part.Outputs.Members()
	if !known { // from another shard, without a receipt yet
		a.State = api.StateOrdered
	}
	return a, true
}
