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

// endingTime is how long the last queries for endings go on after the newest known ending.
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

// queryEndings queries rejected transfers of which no answer has shown how they ended, at the end of the load. Escrow may come
// back after the answer that a transfer is rejected. It ends when all endings are known, when a round of queries that
// began a second after the newest known ending finds no further one, or with the time of the drain. So on a busy machine,
// where a round alone takes longer than a second, no transfer is left out. An interrupted load takes a second at most.
func (r *run) queryEndings(ctx context.Context, partial bool) {
	limit := r.left()
	if partial {
		limit = min(endingTime, limit)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	unknown := func(open []*refund) (out []*refund) {
		for _, x := range open {
			if r.tally.unknown(x.t) {
				out = append(out, x)
			}
		}
		return out
	}
	newest := time.Now() // when an ending became known
	for open := unknown(r.refunds.all()); len(open) > 0 && ctx.Err() == nil; pause(ctx, refundEvery) {
		begun := time.Now()
		var asked sync.WaitGroup
		for _, x := range open {
			asked.Go(func() { r.queryEnding(ctx, x) })
		}
		asked.Wait()
		still := unknown(open)
		if len(still) < len(open) {
			newest = time.Now()
		} else if begun.Sub(newest) > endingTime {
			return
		}
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
