package workload

import (
	"math"
	"slices"
	"time"

	"bdtnode/ledger"
	"bdtnode/node/sim/machine"
	"bdtnode/protocols"
)

// Number of accounts and coins. There are many coins, so that the load never stops for lack of one.
const (
	Accounts        = 6
	coinsPerAccount = 200 // in a network of one shard
	coinsAmongMany  = 24  // in each shard of a larger network, and in runs whose only load comes from faults
	coinValue       = 1000
)

// Lifetime is the time from a transaction's creation to its expiry, except for transactions made to expire soon or
// never.
const Lifetime = 30 * time.Minute

// clients submit valid and invalid transactions, to one replica or to several.
type clients struct {
	w     *Workload
	s     *machine.Shard
	fresh []coin // created by genesis or by submitted transactions, and not spent by one
	used  []coin
	sent  []*ledger.Tx
	quiet bool
}

type coin struct {
	outpoint ledger.Outpoint
	owner    int
	amount   uint64
}

func (c *clients) address(account int) ledger.Address {
	return ledger.AddressOf(c.s.Signers[c.s.Config.Replicas+account].Public())
}

func (c *clients) allocations() []ledger.Allocation {
	coins := uint32(coinsPerAccount)
	if len(c.w.Shards) > 1 || c.w.cfg.Load == 0 {
		coins = coinsAmongMany
	}
	if x := c.w.cfg.Coins[c.s.Number]; x > 0 {
		coins = x
	}
	var out []ledger.Allocation
	for i := range Accounts {
		out = append(out, ledger.Allocation{Address: c.address(i), Amount: coinValue, Outputs: coins})
	}
	return out
}

// start reads the coins of genesis.
func (c *clients) start() {
	for i := range Accounts {
		a, err := c.s.Machines[0].Account(c.address(i), ledger.Page{Limit: coinsPerAccount})
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
	c.w.submissions.poll()
	if rate == 0 {
		return
	}
	mean := time.Duration(float64(time.Second) / rate)
	if c.w.cfg.Bursts {
		mean /= 2
		c.s.Repeat(3*time.Second, func() { c.quiet = !c.quiet })
	}
	c.s.Repeat(mean, func() {
		if !c.quiet && c.s.Now() < until {
			c.submitOne()
		}
	})
}

// submitOne makes one transaction and submits it to one or more replicas.
func (c *clients) submitOne() {
	if len(c.fresh) == 0 {
		return // all coins are spent; transactions that settle late return some
	}
	rng := c.s.Rand
	expiry := c.s.Now().Add(Lifetime).Millis()
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
		tx = c.spend(coin{ledger.Outpoint{Tx: id}, rng.IntN(Accounts), coinValue}, expiry, false)
		c.w.checks.Never(c.s.Number, tx.ID())
	case r < 0.88: // soon to expire
		tx = c.spend(c.take(), c.s.Now().Add(c.s.Between(0, 400*time.Millisecond)).Millis(), false)
	case r < 0.91: // the output of another owner, or another amount
		stolen := c.fresh[rng.IntN(len(c.fresh))]
		if rng.IntN(2) == 0 {
			stolen.owner = (stolen.owner + 1) % Accounts
		} else {
			stolen.amount++
		}
		tx = c.spend(stolen, expiry, false)
	case r < 0.93: // beyond the horizon
		tx = c.spend(c.take(), c.s.Now().Add(3*time.Hour).Millis(), false)
	case len(c.sent) > 0: // submitted once more
		tx = c.sent[rng.IntN(len(c.sent))]
	default:
		return
	}
	c.sent = append(c.sent, tx)
	first, copies := rng.IntN(len(c.s.Machines)), 1
	switch rng.IntN(5) {
	case 0:
		copies = len(c.s.Machines)
	case 1:
		copies = 2
	}
	for k := range copies {
		c.w.submissions.bring(c.s.Machines[(first+k)%len(c.s.Machines)], tx)
	}
}

// take is a coin that no transaction spends yet. The newest coins are often not settled.
func (c *clients) take() coin {
	k := c.s.Rand.IntN(len(c.fresh))
	if c.s.Rand.IntN(3) == 0 {
		k = len(c.fresh) - 1
	}
	x := c.fresh[k]
	c.fresh = slices.Delete(c.fresh, k, k+1)
	c.used = append(c.used, x)
	return x
}

// spend makes the transaction that pays a coin to other Accounts in one or two parts. With keep, later ones may spend
// the parts.
func (c *clients) spend(x coin, expiry uint64, keep bool) *ledger.Tx {
	rng := c.s.Rand
	fee := min(uint64(rng.IntN(3)), x.amount-1)
	b := ledger.Body{Network: c.s.ID, ExpiryMS: expiry, Fee: fee}
	b.Inputs = []ledger.Input{{Outpoint: x.outpoint, Key: c.s.Signers[c.s.Config.Replicas+x.owner].Public(), Amount: x.amount}}
	var to []int
	left := x.amount - fee
	for left > 0 {
		part := left
		if len(to) == 0 && left > 1 {
			part = 1 + rng.Uint64N(left)
		}
		k := rng.IntN(Accounts)
		to = append(to, k)
		b.Outputs = append(b.Outputs, ledger.Output{Address: c.address(k), Amount: part})
		left -= part
	}
	tx, err := b.Sign(c.s.Signers[c.s.Config.Replicas+x.owner])
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
	id[0], id[1], id[2] = 0xff, byte(c.s.Rand.Uint32()), byte(c.s.Rand.Uint32())
	return c.spend(coin{ledger.Outpoint{Tx: id, Index: math.MaxUint16}, 0, coinValue}, c.s.Now().Add(time.Minute).Millis(), false)
}

// pay submits a payment in each group, to one node of it, while there are coins.
func (c *clients) pay(groups []int) {
	for g := range slices.Max(groups) + 1 {
		var in []*machine.Machine
		for i, of := range groups {
			if of == g {
				in = append(in, c.s.Machines[i])
			}
		}
		if len(in) > 0 && len(c.fresh) > 0 {
			tx := c.spend(c.take(), c.s.Now().Add(30*time.Minute).Millis(), false)
			c.w.submissions.bring(in[c.s.Rand.IntN(len(in))], tx)
		}
	}
}
