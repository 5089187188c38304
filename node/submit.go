package node

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"bdtnode/internal/digest"
	"bdtnode/ledger"
	"bdtnode/node/admission"
	"bdtnode/node/api"
	"bdtnode/node/engine"
	"bdtnode/node/foreign"
)

// Submit implements [api.Backend]. A transaction enters the mempool here if this shard has inputs of it, and with hints it
// is sent to a replica of each other input shard. If this shard has a part in it, the local ledger gives the answer. If this shard
// has none, or only outputs, a rejection counts when f+1 replicas of an input shard report it. The
// transactions are distinct.
func (b backend) Submit(ctx context.Context, from string, txs [][]byte, wait api.Wait, hints bool) []api.TxAnswer {
	began := time.Now()
	party := admission.ClientParty(from)
	answers := make([]api.TxAnswer, len(txs))
	var here, away plan
	var wg sync.WaitGroup
	elsewhere := make(map[uint16][][]byte) // other input shards of transactions that this shard also orders
	stage := stages[wait]
	for i, raw := range txs {
		tx, refusal := decodeTx(b.committee.Network(), raw)
		if refusal != nil {
			b.engine.CountRefusal(refusal)
			answers[i] = b.answer(engine.Progress{Refusal: refusal}, stage)
			continue
		}
		inputs := tx.Shards(b.home.Genesis.Home).Inputs
		if !inputs.Has(b.home.Shard) {
			away.add(i, tx)
			continue
		}
		here.add(i, tx)
		if !hints {
			continue
		}
		for _, s := range inputs.Without(b.home.Shard).Members() {
			elsewhere[s] = append(elsewhere[s], raw)
		}
	}
	for s, raws := range elsewhere {
		// This is a hint that saves a round. If it is lost, the shard learns of the transactions from this shard's LDs.
		wg.Go(func() { b.sendHint(ctx, s, raws) })
	}
	if len(away.txs) > 0 {
		wg.Go(func() { b.submitAway(ctx, party, &away, wait, hints, answers) })
	}
	if len(here.txs) > 0 {
		for k, p := range b.engine.Submit(ctx, party, here.txs, stage) {
			answers[here.at[k]] = b.answer(p, stage)
		}
	}
	wg.Wait()
	b.confirmOutputs(ctx, party, &here, answers, wait)
	b.confirmOutputs(ctx, party, &away, answers, wait)
	if wait == api.WaitSettled {
		took := time.Since(began)
		b.settlement.Observe(took, b.settledAcross(&here, answers)+b.settledAcross(&away, answers))
	}
	return answers
}

// decodeTx decodes a transaction, and checks everything of it but its signatures.
func decodeTx(network digest.Digest, raw []byte) (*ledger.Tx, *ledger.Refusal) {
	tx, err := ledger.DecodeTx(raw)
	var refusal *ledger.Refusal
	switch {
	case errors.As(err, &refusal):
		return nil, refusal
	case err != nil:
		panic(fmt.Sprintf("node: a transaction does not decode, without a refusal: %v", err))
	}
	if refusal = tx.Check(network); refusal != nil {
		return nil, refusal
	}
	return tx, nil
}

// settledAcross is the number of settled transactions that involve several shards.
func (b backend) settledAcross(p *plan, answers []api.TxAnswer) (n int) {
	for k, i := range p.at {
		if answers[i].State == api.StateSettled && p.txs[k].Shards(b.home.Genesis.Home).All().Len() > 1 {
			n++
		}
	}
	return n
}

// plan is a subset of the transactions of a request, with their indexes in the request.
type plan struct {
	at  []int
	txs []*ledger.Tx
}

func (p *plan) add(i int, tx *ledger.Tx) { p.at, p.txs = append(p.at, i), append(p.txs, tx) }

// raws are the encodings of the transactions.
func (p *plan) raws() [][]byte {
	raws := make([][]byte, len(p.txs))
	for k, tx := range p.txs {
		raws[k] = tx.Encode()
	}
	return raws
}

// answer is the answer of this replica.
func (b backend) answer(p engine.Progress, stage engine.Stage) api.TxAnswer {
	return foreign.Answer(b.home.Shard, p, stage)
}
