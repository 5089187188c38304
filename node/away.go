package node

import (
	"context"
	"sync"

	"bdtnode/ledger"
	"bdtnode/node/admission"
	"bdtnode/node/api"
)

// sendHint sends transactions to a replica of another shard and does not wait for their outcomes.
func (b backend) sendHint(ctx context.Context, shard uint16, raws [][]byte) {
	b.foreign.Hand(ctx, shard, raws)
}

// submitAway submits transactions without an input in this shard. They are submitted to f+1 replicas of their first
// input shard, and, with hints, to one replica of each other input shard. An answer counts if f+1 replicas give it. If
// there is none in time and the transaction creates outputs in this shard, this shard's ledger may have a final answer.
func (b backend) submitAway(ctx context.Context, from admission.Party, p *plan, wait api.Wait, hints bool, answers []api.TxAnswer) {
	first := make(map[uint16]*plan)
	others := make(map[uint16][][]byte)
	for k, i := range p.at {
		inputs := p.txs[k].Shards(b.home.Genesis.Home).Inputs.Members()
		if first[inputs[0]] == nil {
			first[inputs[0]] = &plan{}
		}
		first[inputs[0]].add(i, p.txs[k])
		for _, s := range inputs[1:] {
			if !hints {
				break
			}
			others[s] = append(others[s], p.txs[k].Encode())
		}
	}
	var wg sync.WaitGroup
	for s, raws := range others {
		wg.Go(func() { b.sendHint(ctx, s, raws) })
	}
	for s, q := range first {
		wg.Go(func() {
			if !b.calls[s].Take(ctx, from) {
				for k, id := range q.ids() {
					answers[q.at[k]] = api.TxAnswer{ID: id, Shard: s, State: api.StateUnknown, TimedOut: true}
				}
				return
			}
			defer b.calls[s].Give(from)
			for k, a := range b.foreign.Submit(ctx, s, q.raws(), q.ids(), wait) {
				answers[q.at[k]] = a
			}
		})
	}
	wg.Wait()
	b.byOwnLedger(p, answers)
}

// byOwnLedger replaces answers that timed out by the final answers of this shard's ledger.
func (b backend) byOwnLedger(p *plan, answers []api.TxAnswer) {
	for k, i := range p.at {
		if !answers[i].TimedOut {
			continue
		}
		if a, ok := b.txHere(p.txs[k].ID()); ok && a.Height > 0 {
			a.Parts, a.Inputs, a.Outputs = nil, nil, nil
			answers[i] = a
		}
	}
}

func (p *plan) ids() []ledger.TxID {
	ids := make([]ledger.TxID, len(p.txs))
	for k, tx := range p.txs {
		ids[k] = tx.ID()
	}
	return ids
}
