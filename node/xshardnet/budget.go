package xshardnet

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Budget of the client calls of one peer, in bytes. A call counts with its own bytes and those of its answer, and with a
// multiple of the bytes of its transactions that this replica did not take: nobody pays a fee for them.
const (
	callRate   = 4 << 20   // a second
	callBurst  = 512 << 10 // at once: two of the largest calls
	untakenFor = 8         // count of each byte that was not taken
)

// budgets are the budgets of all peers. Peers are members of the genesis, so their number is bounded.
type budgets struct {
	mu sync.Mutex
	of map[Peer]*rate.Limiter
}

func newBudgets() *budgets { return &budgets{of: make(map[Peer]*rate.Limiter)} }

func (b *budgets) peer(peer Peer) *rate.Limiter {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.of[peer]
	if l == nil {
		l = rate.NewLimiter(callRate, callBurst)
		b.of[peer] = l
	}
	return l
}

// enter waits until a peer may make a call of so many bytes.
func (b *budgets) enter(ctx context.Context, peer Peer, size int) error {
	if err := b.peer(peer).WaitN(ctx, size); err != nil {
		return fmt.Errorf("wait for the budget of calls: %w", err)
	}
	return nil
}

// charge counts the bytes of an answer, and the bytes of transactions that were not taken. The peer's next call waits for
// them.
func (b *budgets) charge(now time.Time, peer Peer, answer, untaken int) {
	l := b.peer(peer)
	for n := answer + untakenFor*untaken; n > 0; n -= callBurst {
		l.ReserveN(now, min(n, callBurst))
	}
}
