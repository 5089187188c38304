package ledger

import (
	"fmt"

	"bdtnode/internal/kv"
)

// inputs checks the inputs of transactions, and keeps the coins of the transaction that was checked last.
type inputs struct {
	x       *execution
	outputs *outputs
	checked TxID   // id of that transaction, zero once its coins are taken
	coins   []coin // of its inputs in this shard
}

// check checks the transaction's inputs in this shard, or all of them if inside is true, at block time. It returns
// the refusal, nil if all are good, and with ReasonUnknownInput the first unknown input. A final refusal takes
// precedence. After a nil refusal, take returns the coins of these inputs.
func (c *inputs) check(tx *Tx, inside bool) (*Refusal, Outpoint, error) {
	if r := expired(tx, c.x.in.TimeMS); r != nil {
		return r, Outpoint{}, nil
	}
	var later *Refusal
	var missing Outpoint
	c.coins, c.checked = c.coins[:0], tx.id
	for i := range tx.Inputs {
		if !inside && !c.x.cfg.isHome(tx.owners[i]) {
			continue
		}
		found, consumed, err := c.outputs.find(tx.Inputs[i].Outpoint, tx.owners[i])
		if err != nil {
			return nil, missing, err
		}
		r := tx.checkInput(i, found, consumed)
		switch {
		case r == nil:
			c.coins = append(c.coins, *found)
		case r.Final():
			return r, Outpoint{}, nil
		case later == nil:
			later, missing = r, tx.Inputs[i].Outpoint
		}
	}
	return later, missing, nil
}

// take returns the coins of the transaction's inputs in this shard, in their order. It panics unless the call of check
// just before was for this transaction.
func (c *inputs) take(tx *Tx) []coin {
	if c.checked != tx.id {
		panic(fmt.Sprintf("ledger: transaction %s is spent, but its inputs were not checked before", tx.id))
	}
	c.checked = TxID{}
	return c.coins
}

// isHome reports whether this shard is the home shard of a.
func (c *Config) isHome(a Address) bool { return c.Home(a) == c.Shard }

// refuseForeign returns the refusal of a transaction that has no input in this shard, or that involves other shards
// although this ledger has no rules for settling between shards; nil for all others.
func (c *Config) refuseForeign(p TxShards) *Refusal {
	switch {
	case !p.Inputs.Has(c.Shard):
		return refuse(ReasonWrongShard, "it spends outputs of shards %v, this shard is %d", p.Inputs.Members(), c.Shard)
	case c.Rules == nil && !p.Inside(c.Shard):
		return refuse(ReasonWrongShard, "it involves shards %v, but the network of this ledger has shard %d only", p.All().Members(), c.Shard)
	}
	return nil
}

func expired(tx *Tx, timeMS uint64) *Refusal {
	if timeMS > tx.ExpiryMS {
		return refuse(ReasonExpired, "expired at %d ms, block time is %d ms (Unix time)", tx.ExpiryMS, timeMS)
	}
	return nil
}

func (c *Config) beyondHorizon(tx *Tx, timeMS uint64) *Refusal {
	if tx.ExpiryMS-timeMS > c.HorizonMS { // not expired, so the difference is not negative
		return refuse(ReasonExpiryTooFar, "expires %d ms ahead, at most %d ms are allowed", tx.ExpiryMS-timeMS, c.HorizonMS)
	}
	return nil
}

// outsideIndex reports whether a refused transaction gets no receipt, because the id index may forget a receipt of it
// before it has expired, or may have forgotten one already.
func (c *Config) outsideIndex(tx *Tx, timeMS uint64) bool {
	if timeMS > tx.ExpiryMS {
		return c.window(tx.ExpiryMS)+1 < c.window(timeMS)
	}
	return tx.ExpiryMS-timeMS > c.HorizonMS
}

// underpaid returns the refusal of a transaction whose fee is below the least fee, or nil. Such a transaction gets no
// receipt: honest replicas propose none, so storing receipts would only serve faulty replicas.
func (c *Config) underpaid(tx *Tx) *Refusal {
	if least := c.LeastFee * uint64(len(tx.raw)); tx.Fee < least {
		return refuse(ReasonFeeTooLow, "the fee is %d, at least %d is required for %d bytes", tx.Fee, least, len(tx.raw))
	}
	return nil
}

// checkInput returns the refusal for input i, or nil: c is the unspent output of the declared owner, nil if there is none.
// consumed says that there will never be one.
func (t *Tx) checkInput(i int, c *coin, consumed bool) *Refusal {
	in := &t.Inputs[i]
	switch {
	case c == nil && !consumed:
		return refuse(ReasonUnknownInput, "input %d spends output %d of transaction %s, which does not exist", i, in.Outpoint.Index, in.Outpoint.Tx)
	case c == nil:
		return refuse(ReasonConsumed, "input %d is output %d of transaction %s, which was consumed, or never belonged to the address of its key", i, in.Outpoint.Index, in.Outpoint.Tx)
	case c.amount != in.Amount:
		return refuse(ReasonWrongAmount, "input %d has amount %d, the transaction declares %d", i, c.amount, in.Amount)
	}
	return nil
}

// lookUp reads an output of the store while blocks are executed: its coin if it is unspent and has the given owner, else
// whether it is known to be consumed or to have another owner. The index is read as execution reads it in a window.
func lookUp(r kv.Reader, window uint32, o Outpoint, owner Address) (c *coin, consumed bool, err error) {
	if c, err = readCoin(r, o, owner); c != nil || err != nil {
		return c, false, err
	}
	if _, consumed, err = readRecent(r, window, o.Tx); err != nil || !consumed {
		return nil, false, err
	}
	// A block between the two reads may have created the output.
	if c, err = readCoin(r, o, owner); c != nil || err != nil {
		return c, false, err
	}
	return nil, true, nil
}

// readCoin returns an unspent output, nil if there is none of that owner.
func readCoin(r kv.Reader, o Outpoint, owner Address) (*coin, error) {
	var key [coinKeySize]byte
	v, ok, err := r.Get(o.append(append(append(key[:0], keyCoin), owner[:]...)))
	if err != nil || !ok {
		return nil, err
	}
	c, err := decodeCoin(owner, v)
	return &c, err
}
