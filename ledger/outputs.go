package ledger

import (
	"fmt"

	"bdtnode/internal/kv"
	"bdtnode/internal/wire"
)

// outputs has the outputs that the current block creates and spends, above those in the store.
type outputs struct {
	x     *execution
	known *receipts
	cache cache[Outpoint, coin] // unspent outputs of the store
	cold  int                   // outputs that the cache lacked since the last prefetch
	uses  table[Outpoint, use]
}

// use is the effect of the current block on one output.
type use struct {
	coin    coin
	created bool // in this block
	spent   bool
}

func newOutputs(x *execution, known *receipts) outputs {
	return outputs{x: x, known: known, cache: newCache[Outpoint, coin](x.cfg.cachedOutputs())}
}

func (s *outputs) reset() { s.uses.reset() }

// find returns an output with the changes of the current block: its coin if it is unspent and has the given owner, else
// whether it is known to be consumed or to have another owner. The coin is valid until the next change of an output. The
// result does not depend on the content of the cache.
func (s *outputs) find(o Outpoint, owner Address) (c *coin, consumed bool, err error) {
	if u := s.uses.get(o); u == nil {
		c = s.cache.get(o)
	} else if u.value.spent {
		return nil, true, nil
	} else {
		c = &u.value.coin
	}
	switch {
	case c != nil && c.owner == owner:
		return c, false, nil
	case c == nil:
		s.cold++
		if c, err = readCoin(s.x.store, o, owner); c != nil || err != nil {
			return c, false, err
		}
	}
	consumed, err = s.known.madeOutputs(o.Tx)
	return nil, consumed, err
}

// spend marks the unspent output o, which is the given coin, as spent. It panics if the current block has spent it.
func (s *outputs) spend(o Outpoint, c coin, by TxID) {
	u := s.uses.get(o)
	if u == nil {
		u = s.uses.add(o, use{coin: c})
	}
	if u.value.spent {
		panic(fmt.Sprintf("ledger: transaction %s spends one output twice", by))
	}
	u.value.spent = true
	s.x.writes = o.append(s.x.writes)
}

func (s *outputs) create(o Outpoint, c coin) {
	s.uses.add(o, use{coin: c, created: true})
	s.x.writes = wire.AppendU64(append(s.x.writes, c.owner[:]...), c.amount)
}

// write writes the changed outputs.
func (s *outputs) write(b *kv.Batch) {
	keys, values := &s.x.keys, &s.x.values
	for n := range s.uses.len() {
		r := s.uses.row(n)
		switch u := &r.value; {
		case u.created && !u.spent:
			b.Create(keys.coinKey(u.coin.owner, r.key), values.coinValue(u.coin))
		case u.spent && !u.created:
			b.Delete(keys.coinKey(u.coin.owner, r.key))
		}
	}
}

// updateCache is called when the block is in the store.
func (s *outputs) updateCache() {
	for n := range s.uses.len() {
		r := s.uses.row(n)
		if u := &r.value; !u.spent {
			s.cache.put(r.key, u.coin)
		} else if !u.created {
			s.cache.remove(r.key)
		}
	}
}
