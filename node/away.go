package node

import (
	"context"
	"sync"
	"time"

	"bdtnode/ledger"
	"bdtnode/node/admission"
	"bdtnode/node/api"
	"bdtnode/node/engine"
)

// forwardEvery is when a transaction that other shards have to order is handed to another replica there, if nothing
// came of it.
const forwardEvery = 3 * time.Second

// hand gives transactions to a replica of another shard and does not wait for what becomes of them.
func (b backend) hand(ctx context.Context, shard uint16, raws [][]byte) {
	if _, err := forwardCtx[[]api.TxAnswer](ctx, b.Node, shard, call{Submit: &submitCall{raws, api.WaitAccepted}}); err != nil {
		outside.Debugw("transactions were not handed over", shard, "shard", shard, "error", err)
	}
}

// submitAway sees transactions without an input here through: each is handed to a replica of its first input shard,
// and to others there until it is settled or f+1 of them reject it.
func (b backend) submitAway(ctx context.Context, from admission.Party, p *plan, wait api.Wait, answers []api.TxAnswer) {
	var wg sync.WaitGroup
	for k := range p.raws {
		wg.Go(func() { answers[p.at[k]] = b.away(ctx, from, p.raws[k], p.txs[k], wait) })
	}
	wg.Wait()
}

func (b backend) away(ctx context.Context, from admission.Party, raw []byte, tx *ledger.Tx, wait api.Wait) api.TxAnswer {
	parties := tx.Parties(b.home.Genesis.Home)
	inputs := parties.Inputs.Members()
	for _, s := range inputs[1:] {
		go b.hand(ctx, s, [][]byte{raw})
	}
	ctx, done := context.WithCancel(ctx)
	defer done()
	settled := make(chan api.TxAnswer, 1)
	if parties.Outputs.Has(b.home.Shard) {
		go func() {
			p := b.engine.Await(ctx, from, []ledger.TxID{tx.ID()}, engine.Final)[0]
			if p.Reached(engine.Final) {
				settled <- b.answer(p, engine.Final)
			}
		}()
	}
	remote := make(chan api.TxAnswer, 1)
	go func() { remote <- b.confirmed(ctx, inputs[0], raw, tx.ID(), wait) }()
	select {
	case a := <-settled:
		return a
	case a := <-remote:
		if !a.TimedOut || ctx.Err() != nil {
			return a
		}
	}
	return api.TxAnswer{ID: tx.ID(), State: api.StateUnknown, Shard: inputs[0], TimedOut: true}
}

// confirmed submits a transaction to replicas of a shard until f+1 of them have given the same answer.
func (b backend) confirmed(ctx context.Context, shard uint16, raw []byte, id ledger.TxID, wait api.Wait) api.TxAnswer {
	need := b.network.Committee(shard).WeakQuorum()
	votes := make(map[api.State]int)
	last := api.TxAnswer{ID: id, State: api.StateUnknown, Shard: shard, TimedOut: true}
	n := b.network.Committee(shard).N()
	start := int(b.home.Replica)
	for k := 0; k < n && ctx.Err() == nil; k++ {
		try, cancel := context.WithTimeout(ctx, max(forwardEvery, remaining(ctx)/2))
		got, err := forwardTo[[]api.TxAnswer](try, b.Node, shard, (start+k)%n, call{Submit: &submitCall{[][]byte{raw}, wait}})
		cancel()
		if err != nil || len(got) != 1 || got[0].ID != id {
			continue
		}
		a := got[0]
		if a.TimedOut {
			continue
		}
		if votes[a.State]++; votes[a.State] >= need {
			a.TimedOut = false
			return a
		}
	}
	return last
}

func remaining(ctx context.Context) time.Duration {
	if d, ok := ctx.Deadline(); ok {
		return time.Until(d)
	}
	return api.MaxWait
}
