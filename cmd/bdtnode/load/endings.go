package load

import (
	"context"
	"sync"
	"time"

	"bdtnode/ledger"
	"bdtnode/node/api"
)

// ending is the way in which a rejected transfer across shards ended (docs/design.md §6.7). The values are in the order
// in which later answers may replace earlier ones.
type ending uint8

const (
	unknownEnding     ending = iota // no answer has shown it, or no shard other than the one that rejected it has an input
	cancelled                       // a CL reached another input shard, and no shard is known to have ordered the transfer
	returnedByVerdict               // escrow was returned, by the verdict of another shard
	returnedByCL                    // escrow was returned, by a CL of another shard
	endings
)

// endingTime bounds the last queries for endings.
const endingTime = time.Second

// endingOf is the ending that an answer shows.
func endingOf(a *api.TxAnswer) ending {
	if a.State == api.StateSettled {
		return unknownEnding
	}
	byCL := a.Reason == ledger.ReasonCancelled.String()
	e := unknownEnding
	switch {
	case byCL && a.Height > 0: // the receipt of escrow that came back
		e = returnedByCL
	case byCL:
		e = cancelled
	}
	for i := range a.Parts {
		switch p := &a.Parts[i]; {
		case p.Stage != ledger.StageReturned.String():
		case p.Reason == ledger.ReasonCancelled.String():
			e = returnedByCL
		default:
			e = max(e, returnedByVerdict)
		}
	}
	return e
}

// queryEndings queries rejected transfers of which no answer has shown how they ended, at the end of the load, until all are
// known or a second is over. Escrow may come back after the answer that a transfer is rejected.
func (r *run) queryEndings(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, min(endingTime, r.left()))
	defer cancel()
	open := r.refunds.all()
	for ; len(open) > 0 && ctx.Err() == nil; pause(ctx, refundEvery) {
		var still []*refund
		var asked sync.WaitGroup
		for _, x := range open {
			if !r.tally.unknown(x.t) {
				continue
			}
			still = append(still, x)
			asked.Go(func() { r.queryEnding(ctx, x) })
		}
		asked.Wait()
		open = still
	}
}

// queryEnding asks a replica of the home shard of a coin, because that always knows its own part.
func (r *run) queryEnding(ctx context.Context, x *refund) {
	select {
	case r.asking <- struct{}{}:
	case <-ctx.Done():
		return
	}
	defer func() { <-r.asking }()
	replica := r.to.of(r.generator.accounts.home[x.coins[0].owner], x.tries)
	if a, err := r.to.clients[replica].Tx(ctx, x.t.id); err == nil {
		r.tally.ended(x.t, endingOf(&a))
	} else {
		x.tries++
	}
}
