package node

import (
	"fmt"
	"sync"

	"bdtnode/ledger"
	"bdtnode/node/api"
	"bdtnode/node/engine"
)

// Tx implements [api.Backend]. Of a transaction between shards, every shard is asked for its part.
func (b backend) Tx(id ledger.TxID) (api.TxAnswer, error) {
	a, found := b.txHere(id)
	if len(b.home.Genesis.Shards) == 1 || found && len(a.Parts) == 0 && a.Height > 0 { // all of it is in this shard
		if !found {
			return a, fmt.Errorf("transaction %s: %w", id, api.ErrNotFound)
		}
		return a, nil
	}
	others := make([]*api.TxAnswer, len(b.home.Genesis.Shards))
	var wg sync.WaitGroup
	for s := range others {
		if uint16(s) != b.home.Shard {
			wg.Go(func() {
				if x, err := forward[api.TxAnswer](b.Node, uint16(s), call{Tx: &txCall{id}}); err == nil {
					others[s] = &x
				}
			})
		}
	}
	wg.Wait()
	for _, x := range others {
		switch {
		case x == nil || x.State == api.StateUnknown:
			continue
		case !found:
			a, found = *x, true
		default:
			a.Parts = append(a.Parts, x.Parts...)
		}
	}
	if !found {
		return a, fmt.Errorf("transaction %s: %w", id, api.ErrNotFound)
	}
	return a, nil
}

// txHere is what this shard alone knows of a transaction.
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
	for _, k := range part.Known {
		v := api.PartVerdict{Shard: k.Shard, Verdict: "unknown", Reason: k.Reason.String(), Height: k.Height}
		if k.Verdict != 0 {
			v.Verdict = k.Verdict.String()
		}
		x.Verdicts = append(x.Verdicts, v)
	}
	a.Parts = []api.Part{x}
	if !ok { // heard of, and no receipt yet
		a.State = api.StateOrdered
	}
	return a, true
}
