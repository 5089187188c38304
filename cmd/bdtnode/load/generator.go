package load

import (
	"context"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"bdtnode/internal/sig"
	"bdtnode/ledger"
)

// shortExpiry is the time to expiry of a transfer across shards that is to be rejected. Its valid inputs may never be
// consumed; only after the expiry is it certain that they can be spent elsewhere.
const shortExpiry = 30 * time.Second

// transfer is one signed transaction of the load, from its generation until its answer is counted.
type transfer struct {
	id       ledger.TxID
	raw      []byte
	spends   []coin // as the transaction declares them
	bad      int    // index in spends of the coin for which it is invalid, -1 if there is none
	lent     []coin // of an invalid transfer: unspent coins that it can never consume, to be given back
	pays     []coin // outputs
	expiry   uint64 // Unix milliseconds
	kind     Kind   // why it is invalid; empty if it is valid
	cross    bool
	chained  bool          // its outputs were made available when it was signed
	accepted bool          // a replica has accepted it; the tally has the lock
	once     bool          // submitted to one shard only
	to       uint16        // home shard of the input whose shard it is submitted to
	due      time.Duration // time of the arrival, since the start of the load
	first    int           // index of the replica that it is sent to first
	partner  *transfer     // of kind Conflict: the transfer with the same inputs that is submitted with it, nil in that one
	pair     *pair         // of kind Conflict: shared by both
	ending   ending        // across shards and rejected; the tally has the lock
}

// invalid reports whether the ledger must reject the transfer, or one of the two of a pair.
func (t *transfer) invalid() bool { return t.kind != "" }

// both lists the transfers that are submitted together.
func (t *transfer) both() []*transfer {
	if t.partner == nil {
		return []*transfer{t}
	}
	return []*transfer{t, t.partner}
}

// pair counts the settled transfers of a pair with the same inputs. At most one may settle. The tally has the lock.
type pair struct{ settled int }

// spentCoin is a coin that a settled transfer spent.
type spentCoin struct {
	coin
	last  uint64 // latest expiry of a transfer that spends it alone; expiries must differ, so that ids differ
	known uint64 // Unix milliseconds until which the ledger knows the spending transaction
}

// generator signs transfers ahead of their arrivals, up to the capacity of ready.
type generator struct {
	cfg      *Config
	accounts *accounts
	ready    chan *transfer
	total    int           // total number of transfers
	lowWater int           // of coins in a shard; below it, transfers split their outputs there
	more     chan struct{} // holds a value when coins were added
	starved  atomic.Int64  // number of goroutines that wait for coins
	signed   atomic.Int64  // number of transfers that were put into ready
	ahead    int           // number of transfers to sign before the load
	keep     int           // number of ready transfers below which more are signed during the load
	chain    bool          // outputs of transfers inside a shard are available when they are signed
	loading  atomic.Bool   // the load has begun

	mu      sync.Mutex
	rng     *rand.Rand
	pool    *coinPool
	left    int // transfers not yet generated
	cross   int // transfers across shards among them
	invalid int // invalid transfers among them
	serial  uint64
	spent   []spentCoin
	oldest  int // index of the oldest in spent, once that is full
}

func newGenerator(c *Config, b *accounts, p *coinPool, arrivals int) *generator {
	rate := c.Rate
	if c.Closed > 0 {
		rate = min(float64(10*c.Closed), guessedRate) // answers within 100 ms
	}
	g := &generator{
		cfg: c, accounts: b, pool: p, total: arrivals, left: arrivals,
		cross:    int(math.Round(c.Cross * float64(arrivals))),
		invalid:  int(math.Round(c.Invalid * float64(arrivals))),
		lowWater: int(min(2*rate, maxCoins/2)) / len(b.homes),
		more:     make(chan struct{}, 1),
		rng:      rand.New(rand.NewPCG(c.Seed, 2)),
	}
	g.keep = int(min(max(rate*signAhead.Seconds(), minSignAhead), maxSignAhead))
	g.ahead = g.keep
	if c.Presign && c.Invalid == 0 {
		g.ahead = max(g.keep, min(MaxAhead, arrivals, int(rate*c.total().Seconds())+1))
		g.chain = float64(p.total) >= chainFor*rate
	}
	g.ready = make(chan *transfer, g.ahead)
	return g
}

// work generates transfers until all are done or the context ends. It may run in several goroutines.
func (g *generator) work(ctx context.Context) error {
	for {
		for g.loading.Load() && len(g.ready) > g.keep && ctx.Err() == nil {
			pause(ctx, tick) // the load measures the network, so no more is signed than needed soon
		}
		t, more := g.plan()
		if !more || !g.fund(ctx, t) {
			return nil
		}
		for _, x := range t.both() {
			if err := g.sign(x); err != nil {
				return err
			}
		}
		if g.chain && !t.cross {
			// Its outputs are spent after those of all transfers before, some seconds later, so they exist by then.
			t.chained = true
			g.give(t.pays...)
		}
		select {
		case g.ready <- t:
			g.signed.Add(int64(len(t.both())))
		case <-ctx.Done():
			return nil
		}
	}
}

// plan draws the kind of the next transfer, or of the next two. Transfers across shards are spread at random, and so are
// invalid ones.
func (g *generator) plan() (t *transfer, more bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.left == 0 {
		return nil, false
	}
	t = &transfer{bad: -1, cross: g.rng.IntN(g.left) < g.cross}
	invalid := g.rng.IntN(g.left) < g.invalid
	g.left--
	if t.cross {
		g.cross--
	}
	if invalid {
		g.invalid--
		g.spoil(t)
	}
	return t, true
}

// pickSpent draws a spent coin whose spending the ledger will still know when the transfer arrives. It drops coins that
// the ledger is about to forget.
func (g *generator) pickSpent() *spentCoin {
	soon := g.expiry(g.cfg.Horizon / 4)
	for len(g.spent) > 0 {
		i := g.rng.IntN(len(g.spent))
		if g.spent[i].known > soon {
			return &g.spent[i]
		}
		g.spent[i] = g.spent[len(g.spent)-1]
		g.spent = g.spent[:len(g.spent)-1]
		g.oldest = 0
	}
	return nil
}

// fund waits until there are coins for the transfer and takes them. It returns false if the context ended first.
func (g *generator) fund(ctx context.Context, t *transfer) bool {
	for !g.draw(t) {
		g.starved.Add(1)
		select {
		case <-g.more:
		case <-ctx.Done():
		}
		g.starved.Add(-1)
		if ctx.Err() != nil {
			return false
		}
	}
	return true
}

// draw chooses the coins that the transfer spends, and its payees and amounts. It returns false if there are no coins.
func (g *generator) draw(t *transfer) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.pool.total == 0 && len(t.spends) == 0 {
		return false
	}
	from, to := g.route(t)
	if t.kind == Conflict {
		if from = g.two(); from == nil {
			return false
		}
		to = from
	}
	if !t.cross && t.kind == "" && len(g.pool.coins[from[0]]) < max(1, g.cfg.Inputs) {
		return false
	}
	var good []coin
	for _, s := range from {
		if len(t.spends) == 0 || s != int(g.accounts.home[t.spends[0].owner]) {
			good = append(good, g.pool.take(s))
		}
	}
	for !t.cross && t.kind == "" && len(good) < g.cfg.Inputs {
		good = append(good, g.pool.take(from[0]))
	}
	g.spend(t, good)
	g.pay(t, to)
	if g.pool.total > 0 {
		g.wake() // other goroutines may wait too
	}
	return true
}

// spend sets the inputs of a transfer, its expiry and the shard that it is submitted to.
func (g *generator) spend(t *transfer, good []coin) {
	switch {
	case t.kind == "":
		// Half the horizon: the block time may differ from this clock in both directions.
		t.spends, t.expiry = good, g.expiry(g.cfg.Horizon/2)
		t.to = g.accounts.home[t.spends[0].owner]
	case len(t.spends) > 0 && len(good) == 0: // its only input is bad
		t.bad, t.to = 0, g.accounts.home[t.spends[0].owner]
		if t.kind == OneShard {
			t.kind = Spent
		}
	default:
		g.spoilInputs(t, good)
	}
}

// expiry is the time that far from now, in Unix milliseconds.
func (g *generator) expiry(from time.Duration) uint64 {
	return uint64(time.Now().Add(from).UnixMilli())
}

// pay splits the value of a transfer's inputs evenly between one account in each of the shards. While a shard has few
// coins, its part is split in two, so that the number of coins grows.
func (g *generator) pay(t *transfer, to []int) {
	var sum uint64
	for i := range t.spends {
		sum += t.spends[i].amount // no overflow: the supply fits in 64 bits
	}
	if sum < uint64(len(to)) {
		to = to[:sum] // never empty: no coin has amount 0
	}
	share := sum / uint64(len(to))
	for i, s := range to {
		amount := share
		if i == 0 {
			amount += sum % uint64(len(to))
		}
		for _, part := range g.parts(t, s, amount) {
			at := g.accounts.at[s]
			t.pays = append(t.pays, coin{amount: part, owner: at[g.rng.IntN(len(at))]})
		}
	}
}

// parts divides the value for a shard into outputs.
func (g *generator) parts(t *transfer, s int, amount uint64) []uint64 {
	n := uint64(1)
	if amount > 1 && len(g.pool.coins[s]) < g.lowWater {
		n = 2
	}
	if !t.cross && g.cfg.Outputs > 0 {
		n = min(uint64(g.cfg.Outputs), amount)
	}
	parts := make([]uint64, n)
	for i := range parts {
		parts[i] = amount / n
	}
	parts[n-1] += amount % n
	return parts
}

// sign signs a transfer and fills in its id and outputs.
func (g *generator) sign(t *transfer) error {
	b := ledger.Body{Network: g.cfg.Network, ExpiryMS: t.expiry}
	signers := make([]sig.Signer, 0, len(t.spends))
	for _, c := range t.spends {
		owner := g.accounts.keys[c.owner]
		signers = append(signers, owner)
		b.Inputs = append(b.Inputs, ledger.Input{Outpoint: c.point, Key: owner.Public(), Amount: c.amount})
	}
	for _, p := range t.pays {
		b.Outputs = append(b.Outputs, ledger.Output{Address: g.accounts.addresses[p.owner], Amount: p.amount})
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

// settled makes the outputs of a settled transfer available, and keeps its inputs for invalid transfers.
func (g *generator) settled(t *transfer) {
	if !t.chained {
		g.give(t.pays...)
	}
	if g.cfg.Invalid == 0 || t.invalid() {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range t.spends {
		s := spentCoin{coin: c, last: t.expiry, known: t.expiry}
		if len(g.spent) < maxSpent {
			g.spent = append(g.spent, s)
			continue
		}
		g.spent[g.oldest] = s
		g.oldest = (g.oldest + 1) % maxSpent
	}
}

// give adds coins to the pool.
func (g *generator) give(coins ...coin) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range coins {
		g.pool.put(g.accounts.home[c.owner], c)
	}
	g.wake()
}

// wake makes one goroutine that waits for coins check again.
func (g *generator) wake() {
	select {
	case g.more <- struct{}{}:
	default:
	}
}
