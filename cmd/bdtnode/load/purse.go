package load

import (
	"context"
	"errors"
	"fmt"
	"time"

	"bdtnode/ledger"
	"bdtnode/node/api"
	"bdtnode/node/api/client"
)

const (
	maxPurse     = 500_000 // outputs kept; what comes beyond stays unspent
	maxFetched   = 250_000
	maxSpent     = 4096 // spent outputs kept for invalid transfers
	fetchRetries = 3    // rounds through the replicas before giving up
)

// coin is an output to spend.
type coin struct {
	point  ledger.Outpoint
	amount uint64
	owner  int // index of its account
}

// purse has the coins that can be spent now, by shard. The oldest go first: any replica has seen them by then. It is
// not safe for concurrent use.
type purse struct {
	coins [][]coin
	total int
}

// put adds a coin; a full purse leaves it where it is.
func (p *purse) put(shard uint16, c coin) {
	if p.total < maxPurse {
		p.coins[shard] = append(p.coins[shard], c)
		p.total++
	}
}

// take removes the oldest coin of a shard, which has one.
func (p *purse) take(shard int) coin {
	c := p.coins[shard][0]
	p.coins[shard] = p.coins[shard][1:]
	p.total--
	return c
}

// funded are the shards with coins.
func (p *purse) funded() []int {
	var out []int
	for s := range p.coins {
		if len(p.coins[s]) > 0 {
			out = append(out, s)
		}
	}
	return out
}

// fetchPurse asks for as many outputs of the accounts as the load can use, the same number of each where possible.
func fetchPurse(ctx context.Context, b *bank, to *replicas, use int) (*purse, error) {
	want := min(use, maxFetched)
	p := &purse{coins: make([][]coin, b.shards)}
	cursors := make([]string, len(b.addresses))
	left := make([]int, len(b.addresses)) // accounts that may have more
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
		return nil, errors.New("the accounts of the load have nothing to spend: was the network made with funds for a load?")
	}
	return p, nil
}

// fetchPage asks the replicas in turn until one answers, those of the account's home shard first.
func fetchPage(ctx context.Context, b *bank, to *replicas, account int, q client.AccountQuery) (api.Account, error) {
	at := to.first[b.home[account]]
	for try := 1; ; try++ {
		a, err := to.clients[at].Account(ctx, b.addresses[account], q)
		if err == nil {
			return a, nil
		}
		if ctx.Err() != nil || try == fetchRetries*len(to.clients) {
			return a, fmt.Errorf("outputs of load account %d: %w", account, err)
		}
		if try%len(to.clients) == 0 {
			pause(ctx, retryUnstated)
		}
		at = to.after(at)
	}
}

// pause sleeps, or returns early when the context ends.
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
