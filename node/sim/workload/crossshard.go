package workload

import (
	"slices"
	"time"

	"bdtnode/internal/sig"
	"bdtnode/ledger"
	"bdtnode/protocols"
)

// maxParts bounds the inputs and the outputs of a payment.
const maxParts = 3

// acrossShards are the clients of a network of several shards. They make valid and invalid payments across shards. They
// submit each to one or several of its input shards, sometimes different payments to different shards, and ask for the
// result later.
type acrossShards struct {
	w        *Workload
	fresh    []coin // created by genesis or by submitted payments, and not spent by one
	used     []coin
	sent     []*ledger.Tx
	reserved []coin // one of each shard, for the end of the run
}

// load takes the coins of genesis, and makes payments at a rate, a number a second, until some time.
func (p *acrossShards) load(rate float64, until protocols.Time) {
	for _, s := range p.w.Shards {
		c := p.w.clients[s.Number]
		c.start()
		for _, x := range c.fresh {
			x.owner += Accounts * int(s.Number)
			p.fresh = append(p.fresh, x)
		}
		p.reserved = append(p.reserved, p.fresh[len(p.fresh)-1])
		p.fresh = p.fresh[:len(p.fresh)-1]
	}
	p.w.submissions.poll()
	if rate > 0 {
		p.w.Repeat(time.Duration(float64(time.Second)/rate), func() {
			if p.w.Now() < until {
				p.one()
			}
		})
	}
}

// signer is the key of one of the accounts of all shards.
func (p *acrossShards) signer(owner int) sig.Signer {
	s := p.w.Shards[owner/Accounts]
	return s.Signers[s.Config.Replicas+owner%Accounts]
}

// one makes a payment and submits it to some of the shards that it involves.
func (p *acrossShards) one() {
	rng := p.w.Rand
	expiry := p.w.Now().Add(p.w.CrossShard.Delay + p.w.Between(5*time.Second, 80*time.Second)).Millis()
	var tx *ledger.Tx
	switch r := rng.Float64(); {
	case r < 0.60:
		tx = p.pay(p.take(1+rng.IntN(maxParts)), expiry, 1+rng.IntN(maxParts), true)
	case r < 0.76 && len(p.used) > 0: // a double spend of a recent coin, with valid inputs in other shards
		from := append(p.take(rng.IntN(maxParts)), p.recent())
		if rng.IntN(3) == 0 {
			from = append(from, p.recent())
		}
		rng.Shuffle(len(from), func(i, k int) { from[i], from[k] = from[k], from[i] })
		tx = p.pay(from, expiry, 1+rng.IntN(maxParts), rng.IntN(2) == 0)
	case r < 0.86: // soon to expire
		tx = p.pay(p.take(1+rng.IntN(maxParts)), p.w.Now().Add(p.w.Between(0, 3*time.Second)).Millis(), 1+rng.IntN(maxParts), false)
	case r < 0.93: // an input of another owner, one that does not exist, or one with another amount
		from := p.take(1 + rng.IntN(maxParts))
		if len(from) == 0 {
			return
		}
		x := &from[rng.IntN(len(from))]
		switch rng.IntN(3) {
		case 0:
			x.outpoint.Tx[0] ^= 1
		case 1:
			x.amount++
		default:
			home := x.owner / Accounts
			x.owner = home*Accounts + (x.owner+1)%Accounts
		}
		tx = p.pay(from, expiry, 1+rng.IntN(maxParts), false)
	case len(p.sent) > 0: // submitted once more, perhaps much later
		tx = p.sent[rng.IntN(len(p.sent))]
	}
	if tx == nil {
		return
	}
	p.sent = append(p.sent, tx)
	p.submit(tx)
}

// submit submits a payment to one or more replicas of one or more shards, most often of its input shards.
func (p *acrossShards) submit(tx *ledger.Tx) {
	rng := p.w.Rand
	paying := tx.Shards(p.w.Peers.Home).Inputs.Members()
	rng.Shuffle(len(paying), func(i, k int) { paying[i], paying[k] = paying[k], paying[i] })
	if rng.IntN(2) == 0 {
		paying = paying[:1]
	}
	if rng.IntN(10) == 0 {
		paying = append(paying, uint16(rng.IntN(len(p.w.Shards))))
	}
	for _, shard := range paying {
		nodes := p.w.Shards[shard].Machines
		first, copies := rng.IntN(len(nodes)), 1+rng.IntN(2)*rng.IntN(len(nodes))
		for k := range copies {
			n := nodes[(first+k)%len(nodes)]
			p.w.After(p.w.Around(p.w.CrossShard.Delay), func() { p.w.submissions.bring(n, tx) })
		}
	}
}

// take is up to count coins that no payment spends yet. The newest are often not settled.
func (p *acrossShards) take(count int) []coin {
	var out []coin
	for range min(count, len(p.fresh)) {
		k := p.w.Rand.IntN(len(p.fresh))
		if p.w.Rand.IntN(4) == 0 {
			k = len(p.fresh) - 1
		}
		out = append(out, p.fresh[k])
		p.used = append(p.used, p.fresh[k])
		p.fresh = slices.Delete(p.fresh, k, k+1)
	}
	return out
}

// recent is a coin that some payment spends.
func (p *acrossShards) recent() coin {
	back := min(1+int(p.w.Rand.ExpFloat64()*6), len(p.used))
	return p.used[len(p.used)-back]
}

// pay makes the transaction that pays coins to random Accounts in any shard, in a number of parts. With keep, later
// ones may spend the parts, or the returned outputs if it does not settle. It is nil without coins.
func (p *acrossShards) pay(from []coin, expiry uint64, parts int, keep bool) *ledger.Tx {
	rng := p.w.Rand
	b := ledger.Body{Network: p.w.ID, ExpiryMS: expiry}
	owners := make(map[int]bool)
	seen := make(map[ledger.Outpoint]bool)
	var signers []sig.Signer
	left := uint64(0)
	for _, x := range from {
		if seen[x.outpoint] {
			continue
		}
		seen[x.outpoint] = true
		b.Inputs = append(b.Inputs, ledger.Input{Outpoint: x.outpoint, Key: p.signer(x.owner).Public(), Amount: x.amount})
		left += x.amount
		if !owners[x.owner] {
			owners[x.owner] = true
			signers = append(signers, p.signer(x.owner))
		}
	}
	if left == 0 {
		return nil
	}
	b.Fee = min(uint64(rng.IntN(3)), left-1)
	left -= b.Fee
	var to []int
	for left > 0 {
		part := left
		if len(to)+1 < parts && left > 1 {
			part = 1 + rng.Uint64N(left)
		}
		k := rng.IntN(Accounts * len(p.w.Shards))
		to = append(to, k)
		b.Outputs = append(b.Outputs, ledger.Output{Address: ledger.AddressOf(p.signer(k).Public()), Amount: part})
		left -= part
	}
	tx, err := b.Sign(signers...)
	if err != nil {
		panic(err)
	}
	p.w.checks.Made(tx)
	if keep {
		for i, k := range to {
			p.fresh = append(p.fresh, coin{ledger.Outpoint{Tx: tx.ID(), Index: uint16(i)}, k, b.Outputs[i].Amount})
		}
	} else if rng.IntN(2) == 0 {
		x := from[rng.IntN(len(from))]
		p.fresh = append(p.fresh, coin{ledger.ReturnedOutpoint(tx.ID(), x.outpoint), x.owner, x.amount})
	}
	return tx
}

// last makes one payment inside each shard, so that block time advances in it.
func (p *acrossShards) last() {
	for k, s := range p.w.Shards {
		x := p.reserved[k]
		b := ledger.Body{Network: p.w.ID, ExpiryMS: p.w.Now().Add(10 * time.Minute).Millis()}
		b.Inputs = []ledger.Input{{Outpoint: x.outpoint, Key: p.signer(x.owner).Public(), Amount: x.amount}}
		b.Outputs = []ledger.Output{{Address: ledger.AddressOf(p.signer(x.owner).Public()), Amount: x.amount}}
		tx, err := b.Sign(p.signer(x.owner))
		if err != nil {
			panic(err)
		}
		p.w.checks.Made(tx)
		p.reserved[k] = coin{ledger.Outpoint{Tx: tx.ID()}, x.owner, x.amount}
		p.w.checks.Wanted(tx.ID())
		for _, n := range s.Honest() {
			p.w.submissions.bring(n, tx)
		}
	}
}
