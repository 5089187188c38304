package sim

import (
	"math"
	"slices"
	"time"

	"bdtnode/ledger"
	"bdtnode/protocols"
)

// Number of accounts and coins. There are many coins, so that the load never stops for lack of one.
const (
	accounts        = 6
	coinsPerAccount = 200 // in a network of one shard
	coinsAmongMany  = 24  // in each shard of a larger network, and in runs whose only load comes from faults
	coinValue       = 1000
)

// lifetime is the time from a transaction's creation to its expiry, except for transactions made to expire soon or
// never.
const lifetime = 30 * time.Minute

// clients submit valid and invalid transactions, to one replica or to several.
type clients struct {
	s      *cluster
	fresh  []coin // created by genesis or by submitted transactions, and not spent by one
	used   []coin
	sent   []*ledger.Tx
	doomed map[ledger.TxID]ledger.Reason // refused for good by an honest replica: it must never settle
	quiet  bool
}

type coin struct {
	outpoint ledger.Outpoint
	owner    int
	amount   uint64
}

func newClients(s *cluster) *clients {
	return &clients{s: s, doomed: make(map[ledger.TxID]ledger.Reason)}
}

func (c *clients) address(account int) ledger.Address {
	return ledger.AddressOf(c.s.signers[c.s.cfg.Nodes+account].Public())
}

func (c *clients) allocations() []ledger.Allocation {
	coins := uint32(coinsPerAccount)
	if len(c.s.world.cfg.Shards) > 1 || c.s.world.cfg.Load == 0 {
		coins = coinsAmongMany
	}
	if c.s.cfg.Coins > 0 {
		coins = c.s.cfg.Coins
	}
	var out []ledger.Allocation
	for i := range accounts {
		out = append(out, ledger.Allocation{Address: c.address(i), Amount: coinValue, Outputs: coins})
	}
	return out
}

// start reads the coins of genesis.
func (c *clients) start() {
	for i := range accounts {
		a, err := c.s.nodes[0].state.Account(c.address(i), ledger.Page{Limit: coinsPerAccount})
		if err != nil {
			panic(err)
		}
		for _, o := range a.Outputs {
			c.fresh = append(c.fresh, coin{o.Outpoint, i, o.Amount})
		}
	}
}

// load submits transactions at a rate, a number a second, until some time.
func (c *clients) load(rate float64, until protocols.Time) {
	c.start()
	c.s.submissions.poll()
	if rate == 0 {
		return
	}
	mean := time.Duration(float64(time.Second) / rate)
	if c.s.world.cfg.Bursts {
		mean /= 2
		c.s.repeat(3*time.Second, func() { c.quiet = !c.quiet })
	}
	c.s.repeat(mean, func() {
		if !c.quiet && c.s.now < until {
			c.submitOne()
		}
	})
}

// submitOne makes one transaction and submits it to one or more replicas.
func (c *clients) submitOne() {
	if len(c.fresh) == 0 {
		return // all coins are spent; transactions that settle late return some
	}
	rng := c.s.rng
	expiry := c.s.now.Add(lifetime).Millis()
	var tx *ledger.Tx
	switch r := rng.Float64(); {
	case r < 0.70:
		tx = c.spend(c.take(), expiry, true)
	case r < 0.80 && len(c.used) > 0: // a double spend, usually of a recent coin
		back := min(1+int(rng.ExpFloat64()*5), len(c.used))
		tx = c.spend(c.used[len(c.used)-back], expiry, false)
	case r < 0.84: // an output that never existed
		var id ledger.TxID
		id[0], id[1] = byte(rng.Uint32()), byte(rng.Uint32())
		tx = c.spend(coin{ledger.Outpoint{Tx: id}, rng.IntN(accounts), coinValue}, expiry, false)
		c.s.check.promises.never[tx.ID()] = true
	case r < 0.88: // soon to expire
		tx = c.spend(c.take(), c.s.now.Add(c.s.between(0, 400*time.Millisecond)).Millis(), false)
	case r < 0.91: // the output of another owner, or another amount
		stolen := c.fresh[rng.IntN(len(c.fresh))]
		if rng.IntN(2) == 0 {
			stolen.owner = (stolen.owner + 1) % accounts
		} else {
			stolen.amount++
		}
		tx = c.spend(stolen, expiry, false)
	case r < 0.93: // beyond the horizon
		tx = c.spend(c.take(), c.s.now.Add(3*time.Hour).Millis(), false)
	case len(c.sent) > 0: // submitted once more
		tx = c.sent[rng.IntN(len(c.sent))]
	default:
		return
	}
	c.sent = append(c.sent, tx)
	first, copies := rng.IntN(len(c.s.nodes)), 1
	switch rng.IntN(5) {
	case 0:
		copies = len(c.s.nodes)
	case 1:
		copies = 2
	}
	for k := range copies {
		c.s.submissions.bring(c.s.nodes[(first+k)%len(c.s.nodes)], tx)
	}
}

// take is a coin that no transaction spends yet. The newest coins are often not settled.
func (c *clients) take() coin {
	k := c.s.rng.IntN(len(c.fresh))
	if c.s.rng.IntN(3) == 0 {
		k = len(c.fresh) - 1
	}
	x := c.fresh[k]
	c.fresh = slices.Delete(c.fresh, k, k+1)
	c.used = append(c.used, x)
	return x
}

// spend makes the transaction that pays a coin to other accounts in one or two parts. With keep, later ones may spend
// the parts.
func (c *clients) spend(x coin, expiry uint64, keep bool) *ledger.Tx {
	rng := c.s.rng
	fee := min(uint64(rng.IntN(3)), x.amount-1)
	b := ledger.Body{Network: c.s.ledger.Network, ExpiryMS: expiry, Fee: fee}
	b.Inputs = []ledger.Input{{Outpoint: x.outpoint, Key: c.s.signers[c.s.cfg.Nodes+x.owner].Public(), Amount: x.amount}}
	var to []int
	left := x.amount - fee
	for left > 0 {
		part := left
		if len(to) == 0 && left > 1 {
			part = 1 + rng.Uint64N(left)
		}
		k := rng.IntN(accounts)
		to = append(to, k)
		b.Outputs = append(b.Outputs, ledger.Output{Address: c.address(k), Amount: part})
		left -= part
	}
	tx, err := b.Sign(c.s.signers[c.s.cfg.Nodes+x.owner])
	if err != nil {
		panic(err)
	}
	if keep {
		for i, k := range to {
			c.fresh = append(c.fresh, coin{ledger.Outpoint{Tx: tx.ID(), Index: uint16(i)}, k, b.Outputs[i].Amount})
		}
	}
	return tx
}

// junk is a well-formed transaction that can never settle, for adversaries to fill batches with.
func (c *clients) junk() *ledger.Tx {
	var id ledger.TxID
	id[0], id[1], id[2] = 0xff, byte(c.s.rng.Uint32()), byte(c.s.rng.Uint32())
	return c.spend(coin{ledger.Outpoint{Tx: id, Index: math.MaxUint16}, 0, coinValue}, c.s.now.Add(time.Minute).Millis(), false)
}
