package ledger

import (
	"fmt"

	"bdtnode/internal/kv"
	"bdtnode/internal/wire"
)

// settle consumes the inputs of a transaction that involves this shard only, and creates its outputs. checkInputs must have
// accepted the transaction before.
func (d *BlockState) settle(tx *Tx) error {
	w := &d.s.work
	w.txHistory, w.txOwners = w.txHistory[:0], w.txOwners[:0]
	spent, err := d.consume(tx)
	if err != nil {
		return err
	}
	minute := tx.ExpiryMS / minuteMS
	for i := range tx.Inputs {
		w.spentDue.add(minute, tx.Inputs[i].Outpoint)
	}
	made, err := d.create(tx)
	if err != nil {
		return err
	}
	if spent < made || spent-made != tx.Fee {
		panic(fmt.Sprintf("ledger: transaction %s consumes %d, creates %d and burns %d", tx.id, spent, made, tx.Fee))
	}
	d.t.burned += tx.Fee
	d.recordHistory(tx)
	return nil
}

// consume marks the transaction's inputs in this shard as spent and returns their total value. checkInputs must have stored
// their coins in work just before.
func (d *BlockState) consume(tx *Tx) (value uint64, err error) {
	w := &d.s.work
	if w.checked != tx.id {
		panic(fmt.Sprintf("ledger: transaction %s is spent, but its inputs were not checked before", tx.id))
	}
	w.checked = TxID{}
	coins := w.coins
	for i := range tx.Inputs {
		if !d.s.home(tx.owners[i]) {
			continue
		}
		o := tx.Inputs[i].Outpoint
		u, ok := w.uses[o]
		if !ok {
			u = w.use(o, use{coin: coins[0]})
		}
		coins = coins[1:]
		if u.spent {
			panic(fmt.Sprintf("ledger: transaction %s spends one output twice", tx.id))
		}
		u.spent, u.by = true, tx.id
		w.writes = o.append(w.writes)
		value += u.coin.amount
		acc, err := d.s.account(u.coin.owner)
		if err != nil {
			return 0, err
		}
		if acc.coins == 0 || acc.balance < u.coin.amount {
			panic(fmt.Sprintf("ledger: address %s owns an output, but its balance or output count is too small", u.coin.owner))
		}
		acc.balance -= u.coin.amount
		acc.coins--
		w.historyOf(u.coin.owner).Spent += u.coin.amount
		d.t.coins--
	}
	if value > d.t.unspent {
		panic(fmt.Sprintf("ledger: transaction %s consumes value %d, but only %d is unspent", tx.id, value, d.t.unspent))
	}
	d.t.unspent -= value
	return value, nil
}

// create creates the transaction's outputs in this shard and returns their total value.
func (d *BlockState) create(tx *Tx) (value uint64, err error) {
	for i := range tx.Outputs {
		to := &tx.Outputs[i]
		if !d.s.home(to.Address) {
			continue
		}
		if err := d.mint(Outpoint{Tx: tx.id, Index: uint16(i)}, to.Address, to.Amount); err != nil {
			return 0, err
		}
		value += to.Amount
	}
	return value, nil
}

// mint creates one output.
func (d *BlockState) mint(o Outpoint, owner Address, amount uint64) error {
	w := &d.s.work
	w.use(o, use{coin: coin{owner, amount}, created: true})
	w.writes = wire.AppendU64(append(w.writes, owner[:]...), amount)
	acc, err := d.s.account(owner)
	if err != nil {
		return err
	}
	acc.balance += amount
	acc.coins++
	w.historyOf(owner).Received += amount
	d.t.coins++
	d.t.unspent += amount
	return nil
}

// recordHistory appends a history entry for each address that the current transaction changed in this shard.
func (d *BlockState) recordHistory(tx *Tx) {
	w := &d.s.work
	for i, owner := range w.txOwners {
		e := w.txHistory[i]
		e.Tx, e.Height, e.TimeMS = tx.id, d.in.Height, d.in.TimeMS
		acc := w.accounts[owner]
		w.history = append(w.history, historyAt{owner, acc.entries, e})
		acc.entries++
	}
}

// historyOf returns the history entry of owner for the current transaction, creating it if necessary.
func (w *work) historyOf(owner Address) *HistoryEntry {
	for i := range w.txOwners {
		if w.txOwners[i] == owner {
			return &w.txHistory[i]
		}
	}
	w.txOwners = append(w.txOwners, owner)
	w.txHistory = append(w.txHistory, HistoryEntry{})
	return &w.txHistory[len(w.txHistory)-1]
}

// account returns the account of owner with the changes of the current block. The caller changes it in place.
func (s *State) account(owner Address) (*account, error) {
	w := &s.work
	if a, ok := w.accounts[owner]; ok {
		return a, nil
	}
	a, ok := s.accounts.get(owner)
	if !ok {
		var err error
		if a, err = readAccount(s.store, owner); err != nil {
			return nil, err
		}
	}
	w.accounts[owner] = &a
	w.touched = append(w.touched, owner)
	return &a, nil
}

func readAccount(r kv.Reader, owner Address) (account, error) {
	v, ok, err := r.Get(append([]byte{keyAccount}, owner[:]...))
	if err != nil || !ok {
		return account{}, err
	}
	return decodeAccount(v)
}
