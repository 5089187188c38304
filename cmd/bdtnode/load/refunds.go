package load

import (
	"context"
	"errors"
	"sync"
	"time"

	"bdtnode/ledger"
	"bdtnode/node/api"
	"bdtnode/node/client"
)

// Bounds of the search for refunds of rejected transfers.
const (
	maxRefunds   = 4096                   // pending refunds; outputs of further transfers stay unspent
	firstQuery   = 500 * time.Millisecond // from the rejection to the first query; the pause doubles after each query
	longestPause = 8 * time.Second        // longest pause between two queries
	refundSlack  = 10 * time.Second
	refundEvery  = 250 * time.Millisecond
)

// refund is a rejected transfer across shards with coins whose state is unknown. In each other shard than the one that
// rejected it, a coin comes back as a new output if it was taken into escrow. Otherwise it is unchanged, but may still
// be taken into escrow until that shard rejects the transfer too or the transfer has expired.
type refund struct {
	t     *transfer
	coins []coin    // coins with unknown state
	next  time.Time // time of the next query
	pause time.Duration
	tries int // number of replicas that did not answer
}

// refunds is the set of refunds with coins in an unknown state.
type refunds struct {
	mu   sync.Mutex
	list []*refund
}

func (s *refunds) add(x *refund) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.list) < maxRefunds {
		s.list = append(s.list, x)
	}
}

// due removes and returns the refunds whose next query is due.
func (s *refunds) due(now time.Time) []*refund {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*refund
	rest := s.list[:0]
	for _, x := range s.list {
		if now.Before(x.next) {
			rest = append(rest, x)
		} else {
			out = append(out, x)
		}
	}
	clear(s.list[len(rest):])
	s.list = rest
	return out
}

// all removes and returns all refunds.
func (s *refunds) all() []*refund {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.list
	s.list = nil
	return out
}

// collectRefunds returns the coins of a rejected transfer to the pool, as far as the answer shows their states, and
// keeps the others for later queries.
func (r *run) collectRefunds(t *transfer, a *api.TxAnswer, now time.Time) {
	if len(t.lent) > 0 {
		r.generator.give(t.lent...)
	}
	if !t.cross || t.kind == Expired || t.orphan() {
		return // its other inputs, if it has any, were spent before or never exist
	}
	x := &refund{t: t, pause: firstQuery, next: now.Add(firstQuery)}
	for i, c := range t.spends {
		if !t.invalid() || i != t.bad {
			x.coins = append(x.coins, c)
		}
	}
	if len(x.coins) > 0 {
		r.applyRefund(x, a, now)
	}
}

// applyRefund returns those coins to the pool whose state is known from an answer, or from the expiry, and keeps the
// others for a later query.
func (r *run) applyRefund(x *refund, a *api.TxAnswer, now time.Time) {
	expired := now.UnixMilli() > int64(x.t.expiry)+refundSlack.Milliseconds()
	rest := x.coins[:0]
	for _, c := range x.coins {
		switch stage := stageOf(a, r.generator.accounts.home[c.owner]); {
		case stage == ledger.StageReturned.String():
			c.point = ledger.ReturnedOutpoint(x.t.id, c.point)
		case x.t.kind == Conflict && (stage == ledger.StageRejected.String() || expired):
			continue // the other transfer of the pair has it
		case stage == ledger.StageRejected.String():
		case expired && (stage == "" || stage == ledger.StagePending.String()): // the shard has not taken it, and cannot take it any more
		default:
			rest = append(rest, c)
			continue
		}
		r.generator.give(c)
		r.tally.recovered(1)
	}
	if x.coins = rest; len(rest) > 0 {
		r.refunds.add(x)
	}
}

// stageOf is the stage of a shard's part in the transaction of an answer, empty if it has no part in it.
func stageOf(a *api.TxAnswer, shard uint16) string {
	for i := range a.Parts {
		if a.Parts[i].Shard == shard {
			return a.Parts[i].Stage
		}
	}
	return ""
}

// queryRefunds queries the states of rejected transfers until the context ends. It asks a replica of the home shard of
// a coin, because that always knows its own part.
func (r *run) queryRefunds(ctx context.Context) {
	for pause(ctx, refundEvery); ctx.Err() == nil; pause(ctx, refundEvery) {
		for _, x := range r.refunds.due(time.Now()) {
			replica := r.to.of(r.generator.accounts.home[x.coins[0].owner], x.tries)
			a, err := r.to.clients[replica].Tx(ctx, x.t.id)
			if ctx.Err() != nil {
				return
			}
			now := time.Now()
			x.pause = min(2*x.pause, longestPause)
			x.next = now.Add(x.pause)
			if err != nil && !errors.Is(err, client.ErrNotFound) {
				x.tries++
				r.refunds.add(x)
				continue
			}
			r.tally.ended(x.t, endingOf(&a))
			r.applyRefund(x, &a, now)
		}
	}
}
