package node

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"bdtnode/ledger"
	"bdtnode/node/api"
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
	p, known := b.engine.Find(id)
	part, has, err := b.state.Part(id)
	if err != nil || !has {
		return foreign.Own(b.home.Shard, id, p, known, nil)
	}
	return foreign.Own(b.home.Shard, id, p, known, &part)
}
