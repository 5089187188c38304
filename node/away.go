package node

import (
	"context"
	"sync"

	"bdtnode/ledger"
	"bdtnode/node/admission"
	"bdtnode/node/api"
)

// hand gives transactions to a replica of another shard and does not wait for what becomes of them.
func (b backend) hand(ctx context.Context, shard uint16, raws [][]byte) {
	b.foreign.Hand(ctx, shard, raws)
}

// submitAway sees transactions without an input here through: they are given to f+1 replicas of their first input shard,
// as a hint to one of each other, and their answers are what f+1 say. Where that is not known in time, and outputs are at
// home here, this shard's ledger may know.
func (b backend) submitAway(ctx context.Context, from admission.Party, p *plan, wait api.Wait, answers []api.TxAnswer) {
	first := make(map[uint16]*plan)
	others := make(map[uint16][][]byte)
	for k, i := range p.at {
		inputs := p.txs[k].Parties(b.home.Genesis.Home).Inputs.Members()
		if first[inputs[0]] == nil {
			first[inputs[0]] = &plan{}
		}
		first[inputs[0]].add(i, p.raws[k], p.txs[k])
		for _, s := range inputs[1:] {
			others[s] = append(others[s], p.raws[k])
		}
	}
	var wg sync.WaitGroup
	for s, raws := range others {
		wg.Go(func() { b.hand(ctx, s, raws) })
	}
	for s, q := range first {
		wg.Go(func() {
			for k, a := range b.foreign.Submit(ctx, s, q.raws, q.ids(), wait) {
				answers[q.at[k]] = a
			}
		})
	}
	wg.Wait()
	b.byOwnLedger(p, answers)
}

// byOwnLedger answers what is open elsewhere and final here.
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
