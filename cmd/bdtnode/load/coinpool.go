package load

import (
	"context"
	"errors"
	"fmt"
	"time"

	"bdtnode/ledger"
	"bdtnode/node/api"
	"bdtnode/node/client"
)

const (
	maxCoins     = 500_000 // coins kept; further outputs stay unspent
	maxFetched   = 250_000
	maxSpent     = 4096 // spent outputs kept for invalid transfers
	fetchRetries = 3    // rounds through the replicas before an error
)

// coin is an unspent output of the load.
type coin struct {
	point  ledger.Outpoint
	amount uint64
	owner  int // index of the account
}

// coinPool holds the coins that can be spent now, by shard. The oldest are spent first, because every replica knows
// them by then. It is not safe for concurrent use.
type coinPool struct {
	coins [][]coin
	total int
}

// put adds a coin. If the pool is full, the coin is dropped and its output stays unspent.
func (p *coinPool) put(shard uint16, c coin) {
	if p.total < maxCoins {
		p.coins[shard] = append(p.coins[shard], c)
		p.total++
	}
}

// take removes the oldest coin of a shard, which must have one.
func (p *coinPool) take(shard int) coin {
	c := p.coins[shard][0]
	p.coins[shard] = p.coins[shard][1:]
	p.total--
	return c
}

// funded lists the shards with coins.
func (p *coinPool) funded() []int {
	var out []int
	for s := range p.coins {
		if len(p.coins[s]) > 0 {
			out = append(out, s)
		}
	}
	return out
}

// fetchCoins fetches up to use outputs of the accounts, the same number from each where possible.
func fetchCoins(ctx context.Context, b *accounts, to *replicas, use int) (*coinPool, error) {
	want := min(use, maxFetched)
	p := &coinPool{coins: make([][]coin, b.shards)}
	cursors := make([]string, len(b.addresses))
	left := make([]int, len(b.addresses)) // accounts that may have more outputs
	for i := range left {
		left[i] = i
	}
	for len(left) > 0 && p.total < want {
		page := min(api.MaxPage, (want-p.total+len(left)-1)/len(left))
		more := left[:0]
		for _, i := range left {
			a, err := fetchPage(ctx, b, to, i, client.AccountQuery{Outputs: page, Cursor: cursors[i]})
			if err != nil {
				return nil, err
			}
			for _, o := range a.Outputs {
				p.put(b.home[i], coin{ledger.Outpoint{Tx: o.Tx, Index: o.Index}, o.Amount, i})
			}
			if cursors[i] = a.Next; a.Next != "" {
				more = append(more, i)
			}
		}
		left = more
	}
	if p.total == 0 {
		return nil, errors.New("the accounts of the load have no unspent outputs: use a network that was created with funds for a load")
	}
	return p, nil
}

// fetchPage asks the replicas in turn until one answers, those of the account's home shard first. The error is the last
// one after fetchRetries rounds.
func fetchPage(ctx context.Context, b *accounts, to *replicas, account int, q client.AccountQuery) (api.Account, error) {
	at := to.first[b.home[account]]
	for try := 1; ; try++ {
		a, err := to.clients[at].Account(ctx, b.addresses[account], q)
		if err == nil {
			return a, nil
		}
		if ctx.Err() != nil || try == fetchRetries*len(to.clients) {
			return a, fmt.Errorf("fetch outputs of load account %d: %w", account, err)
		}
		if try%len(to.clients) == 0 {
			pause(ctx, retryUnstated)
		}
		at = to.after(at)
	}
}

// pause waits for d. It returns early when the context ends.
func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
