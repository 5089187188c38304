package settlement

import (
	"testing"

	"bdtnode/ledger"
)

// TestTheWorkedExample enumerates every interleaving of the shards' events in the example of the design: a
// transaction with inputs in shards 1 and 2 and its output in shard 0; its input in shard 1 is consumed already. Each
// input shard orders it from a batch at any time or never. Deliveries are applied in any order that keeps the order
// of each channel.
func TestTheWorkedExample(t *testing.T) {
	sc := makeScenario(Standard(), "example", twoTimes, true, masks{0b110, 0b001})
	tx, rival := sc.txs[0], sc.rivals[1][0]
	start, err := sc.start.step(event{shard: 1, txs: []*ledger.Tx{rival}})
	if err != nil {
		t.Fatal(err)
	}
	type run struct{ ordered1, ordered2 bool }
	paths, held := 0, 0
	var walk func(w *world, r run, trace []string)
	walk = func(w *world, r run, trace []string) {
		if err := w.check(); err != nil {
			t.Fatalf("%v after %q", err, trace)
		}
		var next []event
		if !r.ordered1 {
			next = append(next, event{shard: 1, txs: sc.txs})
		}
		if !r.ordered2 {
			next = append(next, event{shard: 2, txs: sc.txs})
		}
		for from := range uint16(shards) {
			for to := range uint16(shards) {
				if len(w.queues[from][to]) > 0 {
					next = append(next, event{shard: to, deliver: []uint16{from}})
				}
			}
		}
		if w.quiet() {
			paths++
			spent := w.part(2, tx).Known != nil
			if spent != r.ordered2 {
				t.Fatalf("shard 2 has a record %v, ordered %v, after %q", spent, r.ordered2, trace)
			}
			if spent {
				held++
				checkEnd(t, w, tx, trace)
			}
		}
		for _, e := range next {
			n := w.fork(e.shard)
			b, err := n.do(e)
			if err != nil {
				t.Fatalf("%v after %q", err, trace)
			}
			after := r
			if len(e.txs) > 0 {
				after.ordered1 = r.ordered1 || e.shard == 1
				after.ordered2 = r.ordered2 || e.shard == 2
				if e.shard == 1 && len(b.LeftOut)+len(b.Duplicates) != 1 || e.shard == 1 && len(b.Receipts)+len(b.Outbox) > 0 {
					t.Fatalf("shard 1 does not leave the transaction out: %+v", b)
				}
			}
			walk(&n, after, append(trace[:len(trace):len(trace)], sc.describe(e)))
		}
	}
	walk(&start, run{}, nil)
	// The number of interleavings, computed by hand: shard 2 spends and sends its verdict to 0 and 1; upon it, shard
	// 1 answers and sends to 0 and 2. So of the four deliveries, two are behind one other each: 8 orders. The batch
	// of shard 1 is at any position among these five events, or nowhere: 7 ways. If shard 2 never spends, there is
	// the batch of shard 1 or no event: 2 more.
	if held != 8*7 || paths != held+2 {
		t.Errorf("%d interleavings, in %d of them shard 2 spends; want 58 and 56", paths, held)
	}
}

// checkEnd checks the final state of the example after shard 2 has spent, which is the same in every order.
func checkEnd(t *testing.T, w *world, tx *ledger.Tx, trace []string) {
	t.Helper()
	one, two, zero := w.part(1, tx), w.part(2, tx), w.part(0, tx)
	switch {
	case two.Stage != ledger.StageReturned || !two.Complete() || !two.Open:
		t.Fatalf("shard 2: %+v after %q", two, trace)
	case one.Stage != ledger.StageRejected || one.Of(1).Reason != ledger.ReasonConsumed || one.Of(2).Verdict != ledger.VerdictSpent:
		t.Fatalf("shard 1: %+v after %q", one, trace)
	case zero.Stage != ledger.StageRejected || !zero.Complete() || zero.Open:
		t.Fatalf("shard 0: %+v after %q", zero, trace)
	}
	for i, in := range tx.Inputs {
		s := home(ledger.AddressOf(in.Key))
		back, ok, err := w.output(s, ledger.ReturnedOutpoint(tx.ID(), in.Outpoint))
		if err != nil || ok != (s == 2) || ok && (back.Amount != in.Amount || back.Address != ledger.AddressOf(in.Key)) {
			t.Fatalf("input %d returned in shard %d: %v, %+v, %v", i, s, ok, back, err)
		}
		if _, ok, _ := w.output(s, in.Outpoint); ok {
			t.Fatalf("input %d is unspent again", i)
		}
	}
	if _, ok, _ := w.output(0, ledger.Outpoint{Tx: tx.ID()}); ok {
		t.Fatalf("the output of the transaction exists")
	}
	r, ok, err := w.states[2].Receipt(tx.ID())
	if err != nil || !ok || r.Verdict != ledger.VerdictReturned || r.Reason != ledger.ReasonConsumed || r.Height != two.Height {
		t.Fatalf("receipt of shard 2: %+v, %v", r, err)
	}
	if a := w.audit(2); a.Unspent != uint64(w.each)*coinValue || a.Escrow != 0 || a.Burned != 0 {
		t.Fatalf("audit of shard 2 after the return: %+v", a)
	}
}
