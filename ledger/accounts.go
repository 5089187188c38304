package ledger

import (
	"fmt"

	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
)

// accounts has the balances and histories of addresses with the changes of the current block.
type accounts struct {
	x       *execution
	cache   *generations[Address, account] // accounts of the store
	changed map[Address]*account
	order   []Address // keys of changed in the order of their first change
	history []historyAt

	// Of the current transaction: one entry for each address whose outputs it consumes or creates.
	entries []HistoryEntry
	owners  []Address // address of each entry
}

// historyAt is a history entry to append, with its number in the history of its owner.
type historyAt struct {
	owner  Address
	number uint64
	entry  HistoryEntry
}

func newAccounts(x *execution) accounts {
	return accounts{x: x, cache: newGenerations[Address, account](cachedAccounts), changed: make(map[Address]*account)}
}

func (s *accounts) reset() {
	clear(s.changed)
	s.order, s.history = s.order[:0], s.history[:0]
}

// beginTx begins the history entries of a transaction.
func (s *accounts) beginTx() { s.entries, s.owners = s.entries[:0], s.owners[:0] }

// endTx appends the history entries of the transaction.
func (s *accounts) endTx(tx *Tx) {
	for i, owner := range s.owners {
		e := s.entries[i]
		e.Tx, e.Height, e.TimeMS = tx.id, s.x.in.Height, s.x.in.TimeMS
		acc := s.changed[owner]
		s.history = append(s.history, historyAt{owner, acc.entries, e})
		acc.entries++
	}
}

// spend records that the transaction consumes an output. The error is an error of the store.
func (s *accounts) spend(c coin) error {
	acc, err := s.get(c.owner)
	if err != nil {
		return err
	}
	if acc.coins == 0 || acc.balance < c.amount {
		panic(fmt.Sprintf("ledger: address %s owns an output, but its balance or output count is too small", c.owner))
	}
	acc.balance -= c.amount
	acc.coins--
	s.entryOf(c.owner).Spent += c.amount
	return nil
}

// create records that the transaction creates an output. The error is an error of the store.
func (s *accounts) create(c coin) error {
	acc, err := s.get(c.owner)
	if err != nil {
		return err
	}
	acc.balance += c.amount
	acc.coins++
	s.entryOf(c.owner).Received += c.amount
	return nil
}

// get returns the account of owner with the changes of the current block. The caller changes it in place.
func (s *accounts) get(owner Address) (*account, error) {
	if a, ok := s.changed[owner]; ok {
		return a, nil
	}
	a, ok := s.cache.get(owner)
	if !ok {
		var err error
		if a, err = readAccount(s.x.store, owner); err != nil {
			return nil, err
		}
	}
	s.changed[owner] = &a
	s.order = append(s.order, owner)
	return &a, nil
}

// entryOf returns the history entry of owner for the current transaction, and creates it if necessary.
func (s *accounts) entryOf(owner Address) *HistoryEntry {
	for i := range s.owners {
		if s.owners[i] == owner {
			return &s.entries[i]
		}
	}
	s.owners = append(s.owners, owner)
	s.entries = append(s.entries, HistoryEntry{})
	return &s.entries[len(s.entries)-1]
}

// write writes the changed accounts and the new history entries.
func (s *accounts) write(b *kv.Batch, mem *arena) {
	for _, owner := range s.order {
		b.Set(mem.idKey(keyAccount, digest.Digest(owner)), mem.accountValue(*s.changed[owner]))
	}
	for i := range s.history {
		h := &s.history[i]
		b.Set(mem.historyKey(h.owner, h.number), h.entry.append(mem.take(historySize)))
	}
}

// updateCache is called when the block is in the store.
func (s *accounts) updateCache() {
	for _, owner := range s.order {
		s.cache.put(owner, *s.changed[owner])
	}
}

func readAccount(r kv.Reader, owner Address) (account, error) {
	v, ok, err := r.Get(append([]byte{keyAccount}, owner[:]...))
	if err != nil || !ok {
		return account{}, err
	}
	return decodeAccount(v)
}
