package admission

import (
	"testing"

	"bdtnode/ledger"
)

// TestCancelledLeavesTheMempool: a transaction that another shard has cancelled leaves the mempool and the orphan pool with a
// final refusal, and is in no batch afterwards. One that is in a batch stays, since its block decides it.
func TestCancelledLeavesTheMempool(t *testing.T) {
	d := newFixture(t, StandardLimits())
	batched, ready, orphan, kept := d.pay(life, 0, d.coin(0)), d.pay(life, 0, d.coin(1)), d.pay(life, 0, d.nothing("x")), d.pay(life, 0, d.coin(2))
	d.submit("a", batched)
	d.wantBatch(batched)
	d.submit("a", ready)
	d.submit("b", orphan)
	d.submit("c", kept)
	for range 2 { // a second cancellation changes nothing
		for _, tx := range []*ledger.Tx{batched, ready, orphan, d.pay(life, 0, d.coin(3))} {
			d.admission.Cancel(tx.ID(), d.instant())
		}
	}
	for _, tx := range []*ledger.Tx{ready, orphan} {
		p := d.at(tx)
		wantRefusal(t, p, ledger.ReasonCancelled)
		if !p.Refusal.Final() {
			t.Errorf("%+v is not final", p.Refusal)
		}
	}
	if p := d.at(batched); p.Refusal != nil || !p.Logged {
		t.Errorf("in a batch: %+v", p)
	}
	d.wantBatch(kept)
	if b := d.block(); len(b.Receipts) != 2 || d.admission.MempoolCount() != 0 || d.admission.OrphanCount() != 0 {
		t.Errorf("%d receipts, %d in the mempool, %d in the orphan pool", len(b.Receipts), d.admission.MempoolCount(), d.admission.OrphanCount())
	}
}
