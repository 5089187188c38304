package node

import (
	"context"
	"sync"

	"bdtnode/ledger"
	"bdtnode/node/admission"
	"bdtnode/node/api"
	"bdtnode/node/engine"
)

// Submit implements [api.Backend]. A transaction enters the mempool here if this shard has inputs of it, and is sent to
// a replica of each other input shard. If this shard has a part in it, the local ledger gives the answer. If this shard
// has none, or only outputs, a rejection counts when f+1 replicas of an input shard report it. Identical transactions
// are processed once.
func (b backend) Submit(ctx context.Context, from string, txs [][]byte, wait api.Wait) []api.TxAnswer {
	party := admission.ClientParty(from)
	answers := make([]api.TxAnswer, len(txs))
	var here, away plan
	var wg sync.WaitGroup
	elsewhere := make(map[uint16][][]byte) // other input shards of transactions that this shard also orders
	for i, raw := range txs {
		tx, err := ledger.DecodeTx(raw)
		if err != nil || tx.Check(b.committee.Network()) != nil {
			here.add(i, raw, tx) // refused below, with the reason
			continue
		}
		inputs := tx.Shards(b.home.Genesis.Home).Inputs
		if !inputs.Has(b.home.Shard) {
			away.add(i, raw, tx)
			continue
		}
		here.add(i, raw, tx)
		for _, s := range inputs.Without(b.home.Shard).Members() {
			elsewhere[s] = append(elsewhere[s], raw)
		}
	}
	for s, raws := range elsewhere {
		// This is a hint that saves a round. If it is lost, the shard learns of the transactions from this shard's LDs.
		wg.Go(func() { b.sendHint(ctx, s, raws) })
	}
	if len(away.raws) > 0 {
		wg.Go(func() { b.submitAway(ctx, party, &away, wait, answers) })
	}
	if len(here.raws) > 0 {
		stage := stages[wait]
		for k, p := range b.engine.Submit(ctx, party, here.raws, stage) {
			answers[here.at[k]] = b.answer(p, stage)
		}
	}
	wg.Wait()
	b.confirmOutputs(ctx, party, &here, answers, wait)
	b.confirmOutputs(ctx, party, &away, answers, wait)
	return answers
}

// plan is a subset of the transactions of a request, with their indexes in the request.
type plan struct {
	at   []int
	raws [][]byte
	txs  []*ledger.Tx
}

func (p *plan) add(i int, raw []byte, tx *ledger.Tx) {
	p.at, p.raws, p.txs = append(p.at, i), append(p.raws, raw), append(p.txs, tx)
}

func (b backend) answer(p engine.Progress, stage engine.Stage) api.TxAnswer {
	a := api.TxAnswer{ID: p.ID, Shard: b.home.Shard, State: api.StateWaiting, TimedOut: !p.Reached(stage)}
	switch {
	case p.Refusal != nil:
		a.State = api.StateRejected
		a.Reason, a.Detail = p.Refusal.Reason.String(), p.Refusal.Detail
		if r := p.Refusal.Reason; r == ledger.ReasonBookFull || r == ledger.ReasonBusy {
			a.RetryMS = mempoolRetry.Milliseconds()
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
