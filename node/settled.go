package node

import (
	"context"
	"sync"

	"bdtnode/ledger"
	"bdtnode/node/admission"
	"bdtnode/node/api"
)

// confirmOutputs makes settled mean that the outputs exist in all their home shards, so that a client may spend them. A
// transaction that has settled in the answering shard, by this replica's ledger or by f+1 replicas there, is reported
// as ordered until f+1 replicas of each other shard report its outputs. With wait settled, confirmOutputs waits for
// these reports.
func (b backend) confirmOutputs(ctx context.Context, from admission.Party, p *plan, answers []api.TxAnswer, wait api.Wait) {
	type open struct {
		at  []int
		ids []ledger.TxID
	}
	pending := make(map[uint16]*open)
	for k, i := range p.at {
		if answers[i].State != api.StateSettled {
			continue
		}
		for _, s := range p.txs[k].Shards(b.home.Genesis.Home).Outputs.Without(answers[i].Shard).Members() {
			if pending[s] == nil {
				pending[s] = &open{}
			}
			pending[s].at, pending[s].ids = append(pending[s].at, i), append(pending[s].ids, answers[i].ID)
		}
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for s, o := range pending {
		wg.Go(func() {
			settled := make([]bool, len(o.ids))
			if wait == api.WaitSettled {
				settled = b.settledIn(ctx, from, s, o.ids)
			}
			mu.Lock()
			defer mu.Unlock()
			for k, i := range o.at {
				if !settled[k] {
					answers[i].State, answers[i].TimedOut = api.Seen(answers[i].Certified), wait == api.WaitSettled
				}
			}
		})
	}
	wg.Wait()
}

// settledIn waits until transactions are settled in a shard, or ctx ends, and reports for each whether it is.
func (b backend) settledIn(ctx context.Context, from admission.Party, shard uint16, ids []ledger.TxID) []bool {
	if shard != b.home.Shard {
		if !b.awaits[shard].Take(ctx, from) {
			return make([]bool, len(ids))
		}
		defer b.awaits[shard].Give(from)
		return b.foreign.Settled(ctx, shard, ids)
	}
	settled := make([]bool, len(ids))
	for k, s := range b.finalHere(ctx, from, ids) {
		settled[k] = s == api.StateSettled
	}
	return settled
}
