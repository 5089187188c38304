package ledger

import (
	"fmt"

	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
	"bdtnode/internal/wire"
)

// outputs has the outputs that the current block creates and spends, above those in the store.
type outputs struct {
	x     *execution
	cache *generations[Outpoint, coin] // unspent outputs of the store
	uses  map[Outpoint]*use
	order []Outpoint // keys of uses in the order of their insertion
	slab  []use      // memory for uses
	due   dueLists[Outpoint]
}

// use is the effect of the current block on one output.
type use struct {
	coin    coin
	created bool // in this block
	spent   bool
	by      TxID // the transaction that spent it
}

func newOutputs(x *execution) outputs {
	return outputs{
		x: x, cache: newGenerations[Outpoint, coin](cachedCoins), uses: make(map[Outpoint]*use),
		due: newDueLists(keySpentDue, outpointSize, "consumed outputs", func(v []byte, o Outpoint) []byte { return o.append(v) }),
	}
}

func (s *outputs) reset() {
	clear(s.uses)
	s.order, s.slab = s.order[:0], nil
	s.due.reset()
}

// find returns an output with the changes of the current block: its coin if it is unspent, or the transaction that
// consumed it, or neither if it is unknown.
func (s *outputs) find(o Outpoint) (*coin, *TxID, error) {
	if u, ok := s.uses[o]; ok {
		if u.spent {
			return nil, &u.by, nil
		}
		return &u.coin, nil, nil
	}
	if c, ok := s.cache.get(o); ok {
		return &c, nil, nil
	}
	return lookUp(s.x.store, o)
}

// spend marks the unspent output o, which is the given coin, as spent. It panics if the current block has spent it.
func (s *outputs) spend(o Outpoint, c coin, by TxID) {
	u, ok := s.uses[o]
	if !ok {
		u = s.add(o, use{coin: c})
	}
	if u.spent {
		panic(fmt.Sprintf("ledger: transaction %s spends one output twice", by))
	}
	u.spent, u.by = true, by
	s.x.writes = o.append(s.x.writes)
}

func (s *outputs) create(o Outpoint, c coin) {
	s.add(o, use{coin: c, created: true})
	s.x.writes = wire.AppendU64(append(s.x.writes, c.owner[:]...), c.amount)
}

func (s *outputs) add(o Outpoint, u use) *use {
	if len(s.slab) == 0 {
		s.slab = make([]use, min(256, 4+len(s.order)))
	}
	p := &s.slab[0]
	s.slab = s.slab[1:]
	*p = u
	s.uses[o] = p
	s.order = append(s.order, o)
	return p
}

// forgetExpired deletes the records of consumers that are due, and writes the due lists of this block.
func (s *outputs) forgetExpired(b *kv.Batch) error {
	var mem arena
	return s.due.take(b, s.x, func(item []byte) error {
		b.Delete(append(append(mem.take(1+outpointSize), keySpent), item...))
		return nil
	})
}

// write writes the changed outputs.
func (s *outputs) write(b *kv.Batch, mem *arena) {
	for _, o := range s.order {
		u := s.uses[o]
		switch {
		case u.created && !u.spent:
			b.Set(mem.outpointKey(keyOutput, o), mem.coinValue(u.coin))
			b.Set(mem.ownedKey(u.coin.owner, o), wire.AppendU64(mem.take(8), u.coin.amount))
		case u.spent && !u.created:
			b.Delete(mem.outpointKey(keyOutput, o))
			b.Delete(mem.ownedKey(u.coin.owner, o))
		}
		if u.spent {
			b.Set(mem.outpointKey(keySpent, o), append(mem.take(digest.Size), u.by[:]...))
		}
	}
}

// updateCache is called when the block is in the store.
func (s *outputs) updateCache() {
	for _, o := range s.order {
		if u := s.uses[o]; u.spent {
			s.cache.drop(o)
		} else {
			s.cache.put(o, u.coin)
		}
	}
}
