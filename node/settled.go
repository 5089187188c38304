package node

import (
	"context"
	"sync"

	"bdtnode/ledger"
	"bdtnode/node/admission"
	"bdtnode/node/api"
	"bdtnode/node/engine"
)

// awaitOutputs waits until the outputs of what has settled exist in every shard that they are at home in, so that
// whoever is told settled may spend them. That they will exist is certain, so one replica's word for when is enough.
func (b backend) awaitOutputs(ctx context.Context, from admission.Party, p *plan, answers []api.TxAnswer) {
	pending := make(map[uint16][]int)
	for k, i := range p.at {
		if answers[i].State != api.StateSettled {
			continue
		}
		for _, s := range p.txs[k].Parties(b.home.Genesis.Home).Outputs.Members() {
			if s != answers[i].Shard {
				pending[s] = append(pending[s], i)
			}
		}
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for s, at := range pending {
		wg.Go(func() {
			ids := make([]ledger.TxID, len(at))
			for k, i := range at {
				ids[k] = answers[i].ID
			}
			final := b.awaitIn(ctx, from, s, ids)
			mu.Lock()
			defer mu.Unlock()
			for k, i := range at {
				if !final[k] {
					answers[i].State, answers[i].TimedOut = api.StateOrdered, true
				}
			}
		})
	}
	wg.Wait()
}

// awaitIn waits until transactions are final in a shard, and answers which are.
func (b backend) awaitIn(ctx context.Context, from admission.Party, shard uint16, ids []ledger.TxID) []bool {
	if shard == b.home.Shard {
		return b.finalHere(ctx, from, ids)
	}
	final, err := forwardCtx[[]bool](ctx, b.Node, shard, call{Await: &awaitCall{ids}})
	if err != nil || len(final) != len(ids) {
		return make([]bool, len(ids))
	}
	return final
}

func (n *Node) finalHere(ctx context.Context, from admission.Party, ids []ledger.TxID) []bool {
	final := make([]bool, len(ids))
	for k, p := range n.engine.Await(ctx, from, ids, engine.Final) {
		final[k] = p.Reached(engine.Final)
	}
	return final
}
