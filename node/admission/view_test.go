package admission

import (
	"slices"
	"testing"
	"time"

	"bdtnode/ledger"
)

// look is the view of a transaction, which must be in the mempool or the orphan pool.
func (d *fixture) look(tx *ledger.Tx) TxView {
	d.t.Helper()
	v, found, ok := InspectTx(d.admission, tx.ID(), d.instant())
	if !ok || found.ID() != tx.ID() {
		d.t.Fatalf("transaction %s is in no view", tx.ID())
	}
	return v
}

// TestPlaceOfATransaction: the view of a transaction has its place, from its arrival to its decision, and the transactions
// that it waits for.
func TestPlaceOfATransaction(t *testing.T) {
	d := newFixture(t, StandardLimits())
	parent := d.pay(time.Minute, 0, d.coin(0))
	child := d.pay(time.Minute, 0, d.output(parent, 0))
	d.submit("a", child)
	d.now = d.now.Add(2 * time.Second)
	if v := d.look(child); v.Place != PlaceOrphan || v.Accepted || v.SinceMS != 2000 || v.UntilMS != 8000 || !slices.Contains(v.Depends, parent.ID()) {
		t.Errorf("%+v", v)
	}
	d.submit("a", parent)
	if v := d.look(parent); v.Place != PlaceReady || v.SinceMS != 0 || len(v.Depends) != 0 {
		t.Errorf("%+v", v)
	}
	second := d.pay(time.Minute, 0, d.output(parent, 0))
	other := d.pay(time.Minute, 0, d.coin(1))
	follows := d.pay(time.Minute, 0, d.output(other, 0))
	d.submit("b", other, follows)
	if v := d.look(follows); v.Place != PlaceBehind || !slices.Equal(v.Depends, []ledger.TxID{other.ID()}) {
		t.Errorf("%+v", v)
	}
	_ = second
	d.batch()
	if v := d.look(other); v.Place != PlaceBatch || !v.Accepted || v.Batch != 1 {
		t.Errorf("%+v", v)
	}
	d.block()
	if _, _, ok := InspectTx(d.admission, other.ID(), d.instant()); ok {
		t.Error("a decided transaction has a place")
	}
}

// TestLeftOutView: a transaction that a block left out has the reason, and the time of the next attempt; past its expiry it
// is overdue.
func TestLeftOutView(t *testing.T) {
	d := newFixture(t, StandardLimits())
	tx := d.acceptedWithoutInput(0, time.Minute)
	v := d.look(tx)
	if v.Place != PlaceParked || !v.Accepted || v.LeftOut == nil || v.LeftOut.Reason != ledger.ReasonUnknownInput || v.UntilMS <= 0 || v.Overdue {
		t.Errorf("%+v", v)
	}
	d.now = d.now.Add(2 * time.Minute)
	if v := d.look(tx); !v.Overdue {
		t.Errorf("%+v", v)
	}
	d.crash()
	if v := d.look(tx); v.SinceMS != -1 {
		t.Errorf("the time of the arrival is not known after a restart: %+v", v)
	}
}

// TestAdmissionView: the view counts transactions and bytes with their bounds.
func TestAdmissionView(t *testing.T) {
	d := newFixture(t, StandardLimits())
	a, b := d.pay(time.Minute, 0, d.coin(0)), d.pay(time.Minute, 0, d.nothing("x"))
	d.submit("a", a, b)
	v := Inspect(d.admission)
	if v.Txs != 1 || v.Bytes != len(a.Encode()) || v.Ready != v.Bytes || v.Orphans != 1 || v.OrphanBytes != len(b.Encode()) || v.Waits != 2 || v.MaxTxs != 1<<16 {
		t.Errorf("%+v", v)
	}
}
