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
	uses  map[Outpoint]*use
	order []*use // values of uses in the order of their insertion
	slab  []use  // memory for uses
}

// use is the effect of the current block on one output.
type use struct {
	o       Outpoint
	coin    coin
	created bool // in this block
	spent   bool
}

func newOutputs(x *execution, known *receipts) outputs {
	return outputs{x: x, known: known, cache: newCache[Outpoint, coin](x.cfg.cachedOutputs()), uses: make(map[Outpoint]*use)}
}

func (s *outputs) reset() {
	clear(s.uses)
	s.order, s.slab = s.order[:0], nil
}

// find returns an output with the changes of the current block: its coin if it is unspent and has the given owner, else
// whether it is known to be consumed or to have another owner. The result does not depend on the content of the cache.
func (s *outputs) find(o Outpoint, owner Address) (c *coin, consumed bool, err error) {
	cached, ok := s.cache.get(o)
	if u, used := s.uses[o]; used {
		if u.spent {
			return nil, true, nil
		}
		cached, ok = u.coin, true
	}
	switch {
	case ok && cached.owner == owner:
		return &cached, false, nil
	case !ok:
		if c, err = readCoin(s.x.store, o, owner); c != nil || err != nil {
			return c, false, err
		}
	}
	consumed, err = s.known.madeOutputs(o.Tx)
	return nil, consumed, err
}

// spend marks the unspent output o, which is the given coin, as spent. It panics if the current block has spent it.
func (s *outputs) spend(o Outpoint, c coin, by TxID) {
	u, ok := s.uses[o]
	if !ok {
		u = s.add(use{o: o, coin: c})
	}
	if u.spent {
		panic(fmt.Sprintf("ledger: transaction %s spends one output twice", by))
	}
	u.spent = true
	s.x.writes = o.append(s.x.writes)
}

func (s *outputs) create(o Outpoint, c coin) {
	s.add(use{o: o, coin: c, created: true})
	s.x.writes = wire.AppendU64(append(s.x.writes, c.owner[:]...), c.amount)
}

func (s *outputs) add(u use) *use {
	if len(s.slab) == 0 {
		s.slab = make([]use, min(256, 4+len(s.order)))
	}
	p := &s.slab[0]
	s.slab = s.slab[1:]
	*p = u
	s.uses[u.o] = p
	s.order = append(s.order, p)
	return p
}

// write writes the changed outputs.
func (s *outputs) write(b *kv.Batch, mem *arena) {
	for _, u := range s.order {
		switch {
		case u.created && !u.spent:
			b.Create(mem.coinKey(u.coin.owner, u.o), mem.coinValue(u.coin))
		case u.spent && !u.created:
			b.Delete(mem.coinKey(u.coin.owner, u.o))
		}
	}
}

// updateCache is called when the block is in the store.
func (s *outputs) updateCache() {
	for _, u := range s.order {
		if !u.spent {
			s.cache.put(u.o, u.coin)
		} else if !u.created {
			s.cache.drop(u.o)
		}
	}
}
