package node

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"bdtnode/ledger"
	"bdtnode/node/api"
	"bdtnode/node/engine"
	"bdtnode/node/foreign"
)

// Tx implements [api.Backend]. For a transaction between shards it asks every other shard for its part.
func (b backend) Tx(ctx context.Context, id ledger.TxID) (api.TxAnswer, error) {
	var own *api.TxAnswer
	if a, found := b.txHere(id); found {
		own = &a
	}
	shards := foreign.Involved(b.home.Shard, len(b.home.Genesis.Shards), own)
	rows := make([]foreign.Row, len(shards))
	var wg sync.WaitGroup
	for i, s := range shards {
		wg.Go(func() { rows[i] = b.foreign.Tx(ctx, s, id) })
	}
	wg.Wait()
	a, err := foreign.Combine(id, own, rows)
	if below := b.state.PrunedBelow(); errors.Is(err, api.ErrNotFound) && below > 0 {
		err = fmt.Errorf("%w: receipts of shard %d: %w", err, b.home.Shard, &ledger.Pruned{Below: below})
	}
	return a, err
}

// txHere is the answer from this shard's data alone. It returns false if this shard does not know the transaction.
func (b backend) txHere(id ledger.TxID) (api.TxAnswer, bool) {
	p, ok := b.engine.Find(id)
	a := api.TxAnswer{ID: id, Shard: b.home.Shard, State: api.StateUnknown}
	if ok {
		a = b.answer(p, engine.Logged)
		a.TimedOut = false
	}
	part, has, err := b.state.Part(id)
	if err != nil || !has {
		return a, ok
	}
	x := api.Part{Shard: part.Shard, Stage: part.Stage.String(), Height: part.Height}
	if r := &p.Receipt; ok && (r.Verdict == ledger.VerdictReturned || r.Verdict == ledger.VerdictRejected) {
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
	if !ok { // known from another shard, without a receipt yet
		a.State = api.StateOrdered
	}
	return a, true
}
