package pay

import (
	"errors"
	"os"
	"slices"
	"testing"
	"time"

	"bdtnode/ledger"
)

// spendable returns a wallet with one coin for each amount, and terms that last for an hour.
func spendable(t *testing.T, amounts ...uint64) (*Wallet, Terms) {
	t.Helper()
	terms := terms
	terms.ExpiryMS = uint64(time.Now().Add(time.Hour).UnixMilli())
	return newWallet(t, amounts...), terms
}

func transfer(t *testing.T, w *Wallet, terms Terms, to ledger.Address, amount uint64) *ledger.Tx {
	t.Helper()
	tx, err := w.Transfer(terms, to, amount)
	if err != nil {
		t.Fatal(err)
	}
	return tx
}

func reserve(t *testing.T, dir string, addr ledger.Address, f func(*Reservations)) {
	t.Helper()
	if err := Reserve(t.Context(), dir, terms.Network, addr, 0, func(r *Reservations) error {
		f(r)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func listing(complete bool, at ...ledger.Outpoint) Listing {
	l := Listing{Complete: complete, Outputs: make(map[ledger.Outpoint]struct{})}
	for _, o := range at {
		l.Outputs[o] = struct{}{}
	}
	return l
}

// TestReservationsLast: the next process finds the reservations of this one, until the payment has a final outcome.
func TestReservationsLast(t *testing.T) {
	dir := t.TempDir()
	w, terms := spendable(t, 50, 60)
	tx := transfer(t, w, terms, ledger.Address{1}, 40)
	spent, id := tx.Inputs[0].Outpoint, tx.ID()
	reserve(t, dir, w.Address(), func(r *Reservations) {
		if r.Taken(spent) {
			t.Error("taken before it was reserved")
		}
		if err := r.Add(tx, true); err != nil {
			t.Fatal(err)
		}
	})
	reserve(t, dir, ledger.Address{9}, func(r *Reservations) {
		if r.Taken(spent) {
			t.Error("taken in another account")
		}
	})
	reserve(t, dir, w.Address(), func(r *Reservations) {
		if !r.Taken(spent) {
			t.Error("forgotten")
		}
		if open := r.Open(listing(true, spent)); len(open) != 0 {
			t.Errorf("a payment with a listed input is open: %v", open)
		}
		if open := r.Open(listing(true)); !slices.Equal(open, []ledger.TxID{id}) {
			t.Errorf("open: %v", open)
		}
		r.Seen(listing(true))
		if !r.Taken(spent) {
			t.Error("dropped without a report that it is settled")
		}
		r.Settled(id)
	})
	reserve(t, dir, w.Address(), func(r *Reservations) {
		r.Seen(listing(false))
		r.Seen(listing(true, spent))
		if !r.Taken(spent) {
			t.Error("dropped although a replica still lists its input")
		}
		r.Seen(listing(true))
	})
	reserve(t, dir, w.Address(), func(r *Reservations) {
		if r.Taken(spent) || len(r.payments) > 0 {
			t.Error("not dropped")
		}
	})
}

// TestReservationsExpire: a payment that was never submitted holds its outputs until it cannot settle any more.
func TestReservationsExpire(t *testing.T) {
	w, terms := spendable(t, 50)
	r := NewReservations(w.Address())
	tx := transfer(t, w, terms, ledger.Address{1}, 40)
	r.Add(tx, true)
	at := time.UnixMilli(int64(terms.ExpiryMS))
	r.expire(at.Add(expirySlack))
	if !r.Taken(tx.Inputs[0].Outpoint) {
		t.Error("dropped while a replica whose clock is behind may still settle it")
	}
	r.expire(at.Add(expirySlack + time.Millisecond))
	if r.Taken(tx.Inputs[0].Outpoint) {
		t.Error("still reserved")
	}
}

// TestChange: change is spent at once if the shard orders the earlier payment first, otherwise once that payment is
// settled.
func TestChange(t *testing.T) {
	w, terms := spendable(t, 100)
	r := NewReservations(w.Address())
	one := transfer(t, w, terms, ledger.Address{1}, 10)
	r.Add(one, true)
	change, later := r.Change()
	if len(change) != 1 || change[0].Amount != 89 || later {
		t.Fatalf("%+v %v", change, later)
	}
	w.Add(change[0])
	two := transfer(t, w, terms, ledger.Address{2}, 10)
	r.Add(two, false) // between shards
	if before := r.Before(two); len(before) != 1 || before[0].ID() != one.ID() {
		t.Errorf("payments before the second: %v", before)
	}
	if change, later := r.Change(); len(change) != 0 || !later {
		t.Errorf("change of a payment between shards: %+v %v", change, later)
	}
	r.Settled(two.ID())
	change, later = r.Change()
	if len(change) != 1 || change[0].Amount != 78 || later {
		t.Errorf("%+v %v", change, later)
	}
	w.Add(change[0])
	three := transfer(t, w, terms, ledger.Address{3}, 10)
	if before := r.Before(three); len(before) != 0 {
		t.Errorf("payments before one that spends settled change: %v", before)
	}
}

// TestRefusedChain: payments that spend the change of a rejected one are dropped with it.
func TestRefusedChain(t *testing.T) {
	w, terms := spendable(t, 100, 7)
	r := NewReservations(w.Address())
	apart := transfer(t, w, terms, ledger.Address{1}, 6)
	r.Add(apart, true)
	var chain []*ledger.Tx
	for range 3 {
		tx := transfer(t, w, terms, ledger.Address{1}, 10)
		r.Add(tx, true)
		chain = append(chain, tx)
		change, _ := r.Change()
		w.Add(change[0])
	}
	if before := r.Before(chain[2]); len(before) != 2 || before[0].ID() != chain[0].ID() || before[1].ID() != chain[1].ID() {
		t.Errorf("payments before the last: %v", before)
	}
	r.Refused(chain[0].ID())
	if len(r.payments) != 1 || !r.Taken(apart.Inputs[0].Outpoint) || r.Taken(chain[0].Inputs[0].Outpoint) || r.Taken(chain[2].Inputs[0].Outpoint) {
		t.Errorf("%d payments left", len(r.payments))
	}
}

// TestChainIsBounded: a payment depends on at most maxChain others.
func TestChainIsBounded(t *testing.T) {
	w, terms := spendable(t, 1000)
	r := NewReservations(w.Address())
	for n := 0; ; n++ {
		tx := transfer(t, w, terms, ledger.Address{1}, 1)
		r.Add(tx, true)
		change, later := r.Change()
		if later {
			if n != maxChain {
				t.Errorf("a chain of %d", n)
			}
			return
		}
		w.Add(change[0])
	}
}

func TestDamagedReservations(t *testing.T) {
	dir := t.TempDir()
	w, terms := spendable(t, 50)
	reserve(t, dir, w.Address(), func(r *Reservations) { r.Add(transfer(t, w, terms, ledger.Address{1}, 40), true) })
	files, _ := os.ReadDir(dir)
	for _, f := range files {
		os.WriteFile(dir+"/"+f.Name(), []byte("{"), 0o600)
	}
	err := Reserve(t.Context(), dir, terms.Network, w.Address(), 0, func(*Reservations) error { return errors.New("called") })
	if err == nil || err.Error() == "called" {
		t.Errorf("a damaged file is accepted, although payments may be pending: %v", err)
	}
}

// TestLeastFee: a transfer pays the least fee for its size, and a fixed fee below that is refused.
func TestLeastFee(t *testing.T) {
	for _, amounts := range [][]uint64{{100_000}, {300, 300, 300, 300, 300, 300, 300, 300}, {1000, 600}} {
		w, terms := spendable(t, amounts...)
		terms.Fee, terms.LeastFee = 0, 2
		tx, err := w.Transfer(terms, ledger.Address{1}, 500)
		if err != nil {
			t.Fatalf("%v: %v", amounts, err)
		}
		if least := 2 * uint64(len(tx.Encode())); tx.Fee < least || tx.Fee > least+2*200 {
			t.Errorf("%v: fee %d for %d bytes", amounts, tx.Fee, len(tx.Encode()))
		}
	}
	w, terms := spendable(t, 100_000)
	terms.Fee, terms.FeeFixed, terms.LeastFee = 3, true, 2
	if _, err := w.Transfer(terms, ledger.Address{1}, 500); !errors.Is(err, ErrFee) || w.Total() != 100_000 {
		t.Errorf("%v, %d left", err, w.Total())
	}
}
