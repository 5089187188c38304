package load

import (
	"context"
	"errors"
	"sync"
	"time"

	"bdtnode/ledger"
	"bdtnode/node/api"
	"bdtnode/node/api/client"
)

// Bounds of looking for what rejected transfers left behind.
const (
	maxStrays   = 4096                   // such transfers; outputs of further ones stay unspent
	firstLook   = 500 * time.Millisecond // after the rejection; the next is after twice as long, and so on
	longestLook = 8 * time.Second        // between two looks
	straySlack  = 10 * time.Second
	strayEvery  = 250 * time.Millisecond
)

// stray is a transfer across shards that was rejected. The coins that it spent in other shards than the one at fault
// come back as new outputs if they were taken into escrow. Where they were not they are as they were, but may still be
// taken until the shard has rejected the transfer for itself, or the transfer has expired.
type stray struct {
	t     *transfer
	coins []coin    // of which nothing is known yet
	next  time.Time // when to look again
	pause time.Duration
	tries int // replicas that did not answer
}

// strays are those not all of whose coins are accounted for.
type strays struct {
	mu   sync.Mutex
	list []*stray
}

func (s *strays) add(x *stray) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.list) < maxStrays {
		s.list = append(s.list, x)
	}
}

// due takes out those that are to be looked at.
func (s *strays) due(now time.Time) []*stray {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*stray
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

// salvage gives back the coins of a rejected transfer, as far as the answer tells what became of them, and remembers
// the others.
func (r *run) salvage(t *transfer, a *api.TxAnswer, now time.Time) {
	if !t.cross {
		return // it had but one coin, and that was spent before
	}
	x := &stray{t: t, pause: firstLook, next: now.Add(firstLook)}
	for i, c := range t.spends {
		if !t.invalid || i != t.stale {
			x.coins = append(x.coins, c)
		}
	}
	r.settleStray(x, a, now)
}

// settleStray gives back the coins whose fate is known from an answer, or from time that has passed without one, and
// looks again later for the rest.
func (r *run) settleStray(x *stray, a *api.TxAnswer, now time.Time) {
	expired := now.UnixMilli() > int64(x.t.expiry)+straySlack.Milliseconds()
	rest := x.coins[:0]
	for _, c := range x.coins {
		switch stage := stageOf(a, r.mint.bank.home[c.owner]); {
		case stage == ledger.StageReturned.String():
			c.point = ledger.Returned(x.t.id, c.point)
		case stage == ledger.StageRejected.String():
		case expired && (stage == "" || stage == ledger.StagePending.String()): // nobody there has taken it, and nobody will
		default:
			rest = append(rest, c)
			continue
		}
		r.mint.give(c)
		r.tally.recovered(1)
	}
	if x.coins = rest; len(rest) > 0 {
		r.strays.add(x)
	}
}

// stageOf is how far a shard has come with the transaction of an answer, empty if it has no part in it.
func stageOf(a *api.TxAnswer, shard uint16) string {
	for i := range a.Parts {
		if a.Parts[i].Shard == shard {
			return a.Parts[i].Stage
		}
	}
	return ""
}

// reclaim looks for the coins of rejected transfers until the context ends. It asks in the home shard of a coin, which
// always knows its own part.
func (r *run) reclaim(ctx context.Context) {
	for pause(ctx, strayEvery); ctx.Err() == nil; pause(ctx, strayEvery) {
		for _, x := range r.strays.due(time.Now()) {
			replica := r.to.of(r.mint.bank.home[x.coins[0].owner], x.tries)
			a, err := r.to.clients[replica].Tx(ctx, x.t.id)
			if ctx.Err() != nil {
				return
			}
			now := time.Now()
			x.pause = min(2*x.pause, longestLook)
			x.next = now.Add(x.pause)
			if err != nil && !errors.Is(err, client.ErrNotFound) {
				x.tries++
				r.strays.add(x)
				continue
			}
			r.settleStray(x, &a, now)
		}
	}
}
