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

// purse has the coins that can be spent now.
type purse struct{ coins chan coin }

// put adds a coin; a full purse leaves it where it is.
func (p *purse) put(c coin) {
	select {
	case p.coins <- c:
	default:
	}
}

// fetchPurse asks for as many outputs of the accounts as the load can use, the same number of each where possible.
func fetchPurse(ctx context.Context, c *Config, arrivals int) (*purse, error) {
	want := min(arrivals, maxFetched)
	var coins []coin
	cursors := make([]string, len(c.Funds))
	left := make([]int, len(c.Funds)) // accounts that may have more
	for i := range left {
		left[i] = i
	}
	for len(left) > 0 && len(coins) < want {
		page := min(api.MaxPage, (want-len(coins)+len(left)-1)/len(left))
		more := left[:0]
		for _, i := range left {
			a, err := fetchPage(ctx, c, i, client.AccountQuery{Outputs: page, Cursor: cursors[i]})
			if err != nil {
				return nil, err
			}
			for _, o := range a.Outputs {
				coins = append(coins, coin{ledger.Outpoint{Tx: o.Tx, Index: o.Index}, o.Amount, i})
			}
			if cursors[i] = a.Next; a.Next != "" {
				more = append(more, i)
			}
		}
		left = more
	}
	if len(coins) == 0 {
		return nil, errors.New("the accounts of the load have nothing to spend: was the network made with funds for a load?")
	}
	p := &purse{coins: make(chan coin, min(2*len(coins)+65_536, maxPurse))}
	for _, k := range coins {
		p.put(k)
	}
	return p, nil
}

// fetchPage asks the replicas in turn until one answers.
func fetchPage(ctx context.Context, c *Config, account int, q client.AccountQuery) (api.Account, error) {
	address := ledger.AddressOf(c.Funds[account].Public())
	for try := 0; ; try++ {
		a, err := c.Clients[try%len(c.Clients)].Account(ctx, address, q)
		if err == nil {
			return a, nil
		}
		if ctx.Err() != nil || try+1 == fetchRetries*len(c.Clients) {
			return a, fmt.Errorf("outputs of load account %d: %w", account, err)
		}
		if (try+1)%len(c.Clients) == 0 {
			pause(ctx, retryUnstated)
		}
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
