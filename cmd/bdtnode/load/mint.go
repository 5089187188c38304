package load

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"bdtnode/internal/sig"
	"bdtnode/ledger"
)

// shortExpiry is how soon a transfer across shards expires that is to be rejected. What it spends besides may never be
// consumed, and can be spent elsewhere for certain only once it has expired.
const shortExpiry = 30 * time.Second

// transfer is one signed transaction of the load, from when it is made until its answer is counted.
type transfer struct {
	id      ledger.TxID
	raw     []byte
	spends  []coin
	stale   int    // which of them is spent already, with invalid
	pays    []coin // what it creates
	expiry  uint64 // Unix milliseconds
	invalid bool
	cross   bool
	to      uint16        // home shard of its first input
	due     time.Duration // when it arrived, since the start of the load
}

// spentCoin is a coin that a settled transfer spent.
type spentCoin struct {
	coin
	last  uint64 // latest expiry of a transfer that spends it alone: no two may be equal, nor then their ids
	known uint64 // until then the ledger knows who spent it, Unix milliseconds
}

// mint makes signed transfers ahead of when they are needed: as many as ready holds, then it waits.
type mint struct {
	cfg      *Config
	bank     *bank
	ready    chan *transfer
	total    int           // transfers to make in all
	lowWater int           // of a shard: with fewer coins than this, transfers split what they pay there
	more     chan struct{} // holds one when there may be coins again
	starved  atomic.Int64  // goroutines that wait for coins

	mu      sync.Mutex
	rng     *rand.Rand
	purse   *purse
	left    int // transfers still to make
	cross   int // of them, to go across shards
	invalid int // of them, to be invalid
	spent   []spentCoin
	oldest  int // in spent, once that is full
}

func newMint(c *Config, b *bank, p *purse, arrivals, ready int) *mint {
	return &mint{
		cfg: c, bank: b, purse: p, ready: make(chan *transfer, ready), total: arrivals, left: arrivals,
		cross:    int(math.Round(c.Cross * float64(arrivals))),
		invalid:  int(math.Round(c.Invalid * float64(arrivals))),
		lowWater: int(min(2*c.Rate, maxPurse/2)) / len(b.homes),
		more:     make(chan struct{}, 1),
		rng:      rand.New(rand.NewPCG(c.Seed, 2)),
	}
}

// work makes transfers until all are made or the context ends. Several goroutines may do it at once.
func (m *mint) work(ctx context.Context) error {
	for {
		t, more := m.plan()
		if !more || !m.fund(ctx, t) {
			return nil
		}
		if err := m.sign(t); err != nil {
			return err
		}
		select {
		case m.ready <- t:
		case <-ctx.Done():
			return nil
		}
	}
}

// plan draws what the next transfer is to be. Those across shards come at random among the rest, and so do invalid
// ones, later if nothing has been spent yet: their number is kept wherever it can be.
func (m *mint) plan() (t *transfer, more bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.left == 0 {
		return nil, false
	}
	t = &transfer{cross: m.rng.IntN(m.left) < m.cross}
	if t.cross {
		m.cross--
	}
	if m.rng.IntN(m.left) < m.invalid {
		if s := m.pickSpent(); s != nil {
			m.invalid--
			s.last = max(m.expiry(m.cfg.Horizon/2), s.last+1)
			t.invalid, t.spends, t.expiry = true, []coin{s.coin}, s.last
		}
	}
	m.left--
	m.invalid = min(m.invalid, m.left)
	return t, true
}

// pickSpent draws a spent coin that the ledger will still know as spent when the transfer gets there. Those it will
// soon forget are dropped.
func (m *mint) pickSpent() *spentCoin {
	soon := m.expiry(m.cfg.Horizon / 4)
	for len(m.spent) > 0 {
		i := m.rng.IntN(len(m.spent))
		if m.spent[i].known > soon {
			return &m.spent[i]
		}
		m.spent[i] = m.spent[len(m.spent)-1]
		m.spent = m.spent[:len(m.spent)-1]
		m.oldest = 0
	}
	return nil
}

// fund waits until there are coins for the transfer and takes them. It reports whether it did before the context ended.
func (m *mint) fund(ctx context.Context, t *transfer) bool {
	for !m.draw(t) {
		m.starved.Add(1)
		select {
		case <-m.more:
		case <-ctx.Done():
		}
		m.starved.Add(-1)
		if ctx.Err() != nil {
			return false
		}
	}
	return true
}

// draw decides which coins the transfer spends, and whom it pays how much, or reports that there are none to spend.
func (m *mint) draw(t *transfer) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.purse.total == 0 && !t.invalid {
		return false
	}
	from, to := m.route(t)
	var good []coin
	for _, s := range from {
		if !t.invalid || s != int(m.bank.home[t.spends[0].owner]) {
			good = append(good, m.purse.take(s))
		}
	}
	switch {
	case !t.invalid:
		t.spends, t.expiry = good, m.expiry(m.cfg.Horizon/2) // far from either end for a block time off this clock
	case len(good) > 0:
		t.stale = m.rng.IntN(len(good) + 1)
		t.spends, t.expiry = slices.Insert(good, t.stale, t.spends[0]), m.expiry(min(shortExpiry, m.cfg.Horizon/2))
	}
	t.to = m.bank.home[t.spends[0].owner]
	m.pay(t, to)
	if m.purse.total > 0 {
		m.wake() // others may wait too
	}
	return true
}

// expiry is so long from now, Unix milliseconds.
func (m *mint) expiry(from time.Duration) uint64 { return uint64(time.Now().Add(from).UnixMilli()) }

// pay splits what a transfer spends evenly between an account of each of the shards. While coins of one are short, it
// splits once more there, so that the load feeds itself.
func (m *mint) pay(t *transfer, to []int) {
	var sum uint64
	for i := range t.spends {
		sum += t.spends[i].amount // the supply fits in 64 bits
	}
	if sum < uint64(len(to)) {
		to = to[:sum] // never of nothing: no coin has amount 0
	}
	share := sum / uint64(len(to))
	for i, s := range to {
		amount := share
		if i == 0 {
			amount += sum % uint64(len(to))
		}
		parts := []uint64{amount}
		if amount > 1 && len(m.purse.coins[s]) < m.lowWater {
			parts = []uint64{amount / 2, amount - amount/2}
		}
		for _, part := range parts {
			at := m.bank.at[s]
			t.pays = append(t.pays, coin{amount: part, owner: at[m.rng.IntN(len(at))]})
		}
	}
}

// sign completes a transfer.
func (m *mint) sign(t *transfer) error {
	b := ledger.Body{Network: m.cfg.Network, ExpiryMS: t.expiry}
	signers := make([]sig.Signer, 0, len(t.spends))
	for _, c := range t.spends {
		owner := m.bank.keys[c.owner]
		signers = append(signers, owner)
		b.Inputs = append(b.Inputs, ledger.Input{Outpoint: c.point, Key: owner.Public(), Amount: c.amount})
	}
	for _, p := range t.pays {
		b.Outputs = append(b.Outputs, ledger.Output{Address: m.bank.addresses[p.owner], Amount: p.amount})
	}
	tx, err := b.Sign(signers...)
	if err != nil {
		return err
	}
	t.id, t.raw = tx.ID(), tx.Encode()
	for i := range t.pays {
		t.pays[i].point = ledger.Outpoint{Tx: t.id, Index: uint16(i)}
	}
	return nil
}

// settled gives back what a transfer created, to be spent again, and keeps what it spent for invalid ones.
func (m *mint) settled(t *transfer) {
	m.give(t.pays...)
	if m.cfg.Invalid == 0 || t.invalid {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range t.spends {
		s := spentCoin{coin: c, last: t.expiry, known: t.expiry}
		if len(m.spent) < maxSpent {
			m.spent = append(m.spent, s)
			continue
		}
		m.spent[m.oldest] = s
		m.oldest = (m.oldest + 1) % maxSpent
	}
}

// give puts coins into the purse.
func (m *mint) give(coins ...coin) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range coins {
		m.purse.put(m.bank.home[c.owner], c)
	}
	m.wake()
}

// wake tells one goroutine that waits for coins to look again.
func (m *mint) wake() {
	select {
	case m.more <- struct{}{}:
	default:
	}
}
