package ledger

import (
	"errors"
	"fmt"

	"bdtnode/internal/digest"
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
		found, by, err := c.outputs.find(tx.Inputs[i].Outpoint)
		if err != nil {
			return nil, missing, err
		}
		r := tx.checkInput(i, found, by)
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

// underpaid returns the refusal of a transaction whose fee is below the least fee, or nil. Such a transaction gets no
// receipt: honest replicas propose none, so storing receipts would only serve faulty replicas.
func (c *Config) underpaid(tx *Tx) *Refusal {
	if least := c.LeastFee * uint64(len(tx.raw)); tx.Fee < least {
		return refuse(ReasonFeeTooLow, "the fee is %d, at least %d is required for %d bytes", tx.Fee, least, len(tx.raw))
	}
	return nil
}

// checkInput returns the refusal for input i, or nil: c is its output if unspent, by the transaction that consumed it if
// that is known.
func (t *Tx) checkInput(i int, c *coin, by *TxID) *Refusal {
	in := &t.Inputs[i]
	switch {
	case c == nil && by == nil:
		return refuse(ReasonUnknownInput, "input %d spends output %d of transaction %s, which does not exist", i, in.Outpoint.Index, in.Outpoint.Tx)
	case c == nil:
		return refuse(ReasonConsumed, "input %d was consumed by transaction %s", i, *by)
	case c.owner != t.owners[i]:
		return refuse(ReasonWrongOwner, "input %d belongs to another address than that of its key", i)
	case c.amount != in.Amount:
		return refuse(ReasonWrongAmount, "input %d has amount %d, the transaction declares %d", i, c.amount, in.Amount)
	}
	return nil
}

// lookUp returns an output of the store: its coin if it is unspent, or the transaction that consumed it, or neither
// if it is unknown.
func lookUp(r kv.Reader, o Outpoint) (*coin, *TxID, error) {
	var key [1 + outpointSize]byte
	v, ok, err := r.Get(o.append(append(key[:0], keyOutput)))
	if err != nil {
		return nil, nil, err
	}
	if ok {
		c, err := decodeCoin(v)
		return &c, nil, err
	}
	v, ok, err = r.Get(o.append(append(key[:0], keySpent)))
	if err != nil || !ok {
		return nil, nil, err
	}
	if len(v) != digest.Size {
		return nil, nil, errors.New("the record of a consumed output is damaged")
	}
	by := TxID(v)
	return nil, &by, nil
}
