package load

import (
	"context"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"bdtnode/ledger"
)

// transfer is one signed transaction of the load, from when it is made until its answer is counted.
type transfer struct {
	id      ledger.TxID
	raw     []byte
	spends  coin
	pays    []coin // what it creates
	expiry  uint64 // Unix milliseconds
	invalid bool
	due     time.Duration // when it arrived, since the start of the load
}

// spentCoin is a coin that a settled transfer spent.
type spentCoin struct {
	coin
	last  uint64 // latest expiry of a transfer that spends it: no two may be equal, nor then their ids
	known uint64 // until then the ledger knows who spent it, Unix milliseconds
}

// mint makes signed transfers ahead of when they are needed: as many as ready holds, then it waits.
type mint struct {
	cfg       *Config
	purse     *purse
	ready     chan *transfer
	total     int // transfers to make in all
	addresses []ledger.Address
	lowWater  int // with fewer coins than this, transfers split theirs

	mu      sync.Mutex
	rng     *rand.Rand
	left    int // transfers still to make
	invalid int // of them, to be invalid
	spent   []spentCoin
	oldest  int // in spent, once that is full
}

func newMint(c *Config, p *purse, arrivals, ready int) *mint {
	m := &mint{
		cfg: c, purse: p, ready: make(chan *transfer, ready), total: arrivals, left: arrivals,
		invalid:  int(math.Round(c.Invalid * float64(arrivals))),
		lowWater: int(min(2*c.Rate, maxPurse/2)),
		rng:      rand.New(rand.NewPCG(c.Seed, 2)),
	}
	for _, f := range c.Funds {
		m.addresses = append(m.addresses, ledger.AddressOf(f.Public()))
	}
	return m
}

// work makes transfers until all are made or the context ends. Several goroutines may do it at once.
func (m *mint) work(ctx context.Context) error {
	for {
		t, payee, more := m.plan()
		if !more {
			return nil
		}
		if !t.invalid {
			select {
			case t.spends = <-m.purse.coins:
			case <-ctx.Done():
				return nil
			}
			t.expiry = m.expiry()
		}
		if err := m.sign(t, payee); err != nil {
			return err
		}
		select {
		case m.ready <- t:
		case <-ctx.Done():
			return nil
		}
	}
}

// plan draws what the next transfer is to be. Invalid ones come at random among the rest, and later if nothing has
// been spent yet: their number is kept wherever it can be.
func (m *mint) plan() (t *transfer, payee int, more bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.left == 0 {
		return nil, 0, false
	}
	t = &transfer{}
	if m.rng.IntN(m.left) < m.invalid {
		if s := m.pickSpent(); s != nil {
			m.invalid--
			s.last = max(m.expiry(), s.last+1)
			t.invalid, t.spends, t.expiry = true, s.coin, s.last
		}
	}
	m.left--
	m.invalid = min(m.invalid, m.left)
	return t, m.rng.IntN(len(m.addresses)), true
}

// pickSpent draws a spent coin that the ledger will still know as spent when the transfer gets there. Those it will
// soon forget are dropped.
func (m *mint) pickSpent() *spentCoin {
	soon := uint64(time.Now().Add(m.cfg.Horizon / 4).UnixMilli())
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

// expiry is half the horizon from now: far from either end for a block time that is some way off this clock.
func (m *mint) expiry() uint64 { return uint64(time.Now().Add(m.cfg.Horizon / 2).UnixMilli()) }

// sign completes a transfer. While coins are short it splits its own, so that the load feeds itself.
func (m *mint) sign(t *transfer, payee int) error {
	owner := m.cfg.Funds[t.spends.owner]
	pays := []coin{{amount: t.spends.amount, owner: payee}}
	if t.spends.amount > 1 && len(m.purse.coins) < m.lowWater {
		half := t.spends.amount / 2
		pays = []coin{{amount: half, owner: payee}, {amount: t.spends.amount - half, owner: t.spends.owner}}
	}
	b := ledger.Body{
		Network: m.cfg.Network, ExpiryMS: t.expiry,
		Inputs: []ledger.Input{{Outpoint: t.spends.point, Key: owner.Public(), Amount: t.spends.amount}},
	}
	for _, p := range pays {
		b.Outputs = append(b.Outputs, ledger.Output{Address: m.addresses[p.owner], Amount: p.amount})
	}
	tx, err := b.Sign(owner)
	if err != nil {
		return err
	}
	t.id, t.raw = tx.ID(), tx.Encode()
	for i := range pays {
		pays[i].point = ledger.Outpoint{Tx: t.id, Index: uint16(i)}
	}
	t.pays = pays
	return nil
}

// settled gives back what a transfer created, to be spent again, and keeps what it spent for invalid ones.
func (m *mint) settled(t *transfer) {
	for _, c := range t.pays {
		m.purse.put(c)
	}
	if m.cfg.Invalid == 0 || t.invalid {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s := spentCoin{coin: t.spends, last: t.expiry, known: t.expiry}
	if len(m.spent) < maxSpent {
		m.spent = append(m.spent, s)
		return
	}
	m.spent[m.oldest] = s
	m.oldest = (m.oldest + 1) % maxSpent
}
