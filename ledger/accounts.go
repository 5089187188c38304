package ledger

import (
	"fmt"

	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
)

// accounts has the balances and histories of addresses with the changes of the current block.
type accounts struct {
	x       *execution
	cache   cache[Address, account] // accounts of the store
	cold    int                     // accounts that the cache lacked since the last prefetch
	changed table[Address, account]
	groups  []group // of history entries that the current block has filled

	// Of the current transaction: one entry for each address whose outputs it consumes or creates.
	parties []party
	owners  []*row[Address, account] // account of each entry
	slab    []party                  // memory for the parties of the block's receipts
}

// group is a full group of history entries.
type group struct {
	owner  Address
	number uint64
	last   place // of its last entry
}

func newAccounts(x *execution) accounts {
	return accounts{x: x, cache: newCache[Address, account](x.cfg.cachedAccounts())}
}

func (s *accounts) reset() {
	s.changed.reset()
	s.groups, s.slab = s.groups[:0], s.slab[:0]
}

// beginTx begins the history entries of a transaction.
func (s *accounts) beginTx() { s.parties, s.owners = s.parties[:0], s.owners[:0] }

// endTx appends the history entries of the transaction, which has the receipt at a position of the block. It returns the
// parties of the receipt, which are valid until the end of the block.
func (s *accounts) endTx(position uint32) []party {
	for i, r := range s.owners {
		acc := &r.value
		s.parties[i].before = acc.last
		acc.last = place{s.x.in.Height, position, uint8(i)}
		if acc.entries++; acc.entries%historyStride == 0 {
			s.groups = append(s.groups, group{r.key, acc.entries/historyStride - 1, acc.last})
		}
	}
	from := len(s.slab)
	s.slab = append(s.slab, s.parties...)
	return s.slab[from:len(s.slab):len(s.slab)]
}

// spend records that the transaction consumes an output. The error is an error of the store.
func (s *accounts) spend(c coin) error {
	r, err := s.get(c.owner)
	if err != nil {
		return err
	}
	acc := &r.value
	if acc.coins == 0 || acc.balance < c.amount {
		panic(fmt.Sprintf("ledger: address %s owns an output, but its balance or output count is too small", c.owner))
	}
	acc.balance -= c.amount
	acc.coins--
	s.entryOf(r).spent += c.amount
	return nil
}

// create records that the transaction creates an output. The error is an error of the store.
func (s *accounts) create(c coin) error {
	r, err := s.get(c.owner)
	if err != nil {
		return err
	}
	r.value.balance += c.amount
	r.value.coins++
	s.entryOf(r).received += c.amount
	return nil
}

// get returns the account of owner with the changes of the current block. The caller changes it in place.
func (s *accounts) get(owner Address) (*row[Address, account], error) {
	if r := s.changed.get(owner); r != nil {
		return r, nil
	}
	if a := s.cache.get(owner); a != nil {
		return s.changed.add(owner, *a), nil
	}
	s.cold++
	a, err := readAccount(s.x.store, owner)
	if err != nil {
		return nil, err
	}
	return s.changed.add(owner, a), nil
}

// entryOf returns the history entry of an account for the current transaction, and creates it if necessary.
func (s *accounts) entryOf(r *row[Address, account]) *party {
	for i := range s.owners {
		if s.owners[i] == r {
			return &s.parties[i]
		}
	}
	s.owners = append(s.owners, r)
	s.parties = append(s.parties, party{})
	return &s.parties[len(s.parties)-1]
}

// write writes the changed accounts and the places of full groups of history entries.
func (s *accounts) write(b *kv.Batch) {
	keys, values := &s.x.keys, &s.x.values
	for n := range s.changed.len() {
		r := s.changed.row(n)
		b.Set(keys.idKey(keyAccount, digest.Digest(r.key)), values.accountValue(&r.value))
	}
	for i := range s.groups {
		g := &s.groups[i]
		b.Set(keys.historyKey(g.owner, g.number), g.last.append(values.take(placeSize)))
	}
}

// updateCache is called when the block is in the store.
func (s *accounts) updateCache() {
	for n := range s.changed.len() {
		r := s.changed.row(n)
		s.cache.put(r.key, r.value)
	}
}

func readAccount(r kv.Reader, owner Address) (account, error) {
	v, ok, err := r.Get(append([]byte{keyAccount}, owner[:]...))
	if err != nil || !ok {
		return account{}, err
	}
	return decodeAccount(v)
}
