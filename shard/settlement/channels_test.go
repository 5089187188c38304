package settlement

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"bdtnode/ledger"
)

// tamper returns a changed copy of the next delivery from a shard.
func (w *world) tamper(from, to uint16, change func(d *ledger.Delivery)) *ledger.Delivery {
	d := *w.queues[from][to][0]
	d.Entries = slices.Clone(d.Entries)
	change(&d)
	return ledger.NewDelivery(d)
}

func TestOnlyTheNextDeliveryIsApplied(t *testing.T) {
	for name, change := range map[string]func(d *ledger.Delivery){
		"another number":     func(d *ledger.Delivery) { d.Number += 2 },
		"an old number":      func(d *ledger.Delivery) { d.Number-- },
		"for another shard":  func(d *ledger.Delivery) { d.Destination = 0 },
		"one number skipped": func(d *ledger.Delivery) { d.Number++ },
	} {
		t.Run(name, func(t *testing.T) {
			w, first := simple(Standard(), masks{0b001, 0b100}, 0)
			second := transfer(masks{0b001, 0b100}, txExpiry, coin(1))
			w.watch(second)
			w.must(t, event{shard: 0, txs: []*ledger.Tx{first}})
			w.must(t, event{shard: 0, txs: []*ledger.Tx{second}})
			w.must(t, event{shard: 2, deliver: []uint16{0}})
			b := w.must(t, event{shard: 2, extra: []*ledger.Delivery{w.tamper(0, 2, change)}})
			if len(b.Receipts)+len(b.Frozen) > 0 {
				t.Fatalf("applied: %+v", b)
			}
			if b = w.must(t, event{shard: 2, deliver: []uint16{0}}); len(b.Receipts) != 1 {
				t.Fatalf("the unchanged delivery: %+v", b)
			}
		})
	}
}

// TestInvalidDeliveryFreezesChannel: a delivery that no honest shard sends freezes the channel. Neither this delivery
// nor later ones are applied, and transactions that involve the shard are left out.
func TestInvalidDeliveryFreezesChannel(t *testing.T) {
	rich := func(in, out uint16) *ledger.Tx { // spends more in a shard than exists there
		b := ledger.Body{Network: network, ExpiryMS: txExpiry}
		b.Inputs = []ledger.Input{{Outpoint: ledger.Outpoint{Index: 7}, Key: person(in, 0).Public(), Amount: 9 * coinValue}}
		b.Outputs = []ledger.Output{{Address: address(out, 0), Amount: 9 * coinValue}}
		tx, err := b.Sign(person(in, 0))
		if err != nil {
			panic(err)
		}
		return tx
	}
	huge := func() *ledger.Tx { // an amount with which the sum overflows
		b := ledger.Body{Network: network, ExpiryMS: txExpiry}
		b.Inputs = []ledger.Input{{Key: person(0, 0).Public(), Amount: math.MaxUint64}}
		b.Outputs = []ledger.Output{{Address: address(2, 0), Amount: math.MaxUint64}}
		tx, err := b.Sign(person(0, 0))
		if err != nil {
			panic(err)
		}
		return tx
	}
	_, elsewhere := simple(Standard(), masks{0b010, 0b100}, 0)
	_, between := simple(Standard(), masks{0b001, 0b010}, 0)
	spent := func(tx *ledger.Tx) func(d *ledger.Delivery) {
		return func(d *ledger.Delivery) {
			d.Entries = append(d.Entries, ledger.Entry{Verdict: ledger.VerdictSpent, Tx: tx})
		}
	}
	for name, c := range map[string]struct {
		change func(d *ledger.Delivery)
		why    string
	}{
		"value beyond the supply":              {spent(rich(0, 2)), "more value"},
		"value that overflows":                 {spent(huge()), "more value"},
		"a verdict of a shard without inputs":  {spent(elsewhere), "has no inputs"},
		"sent to a shard that is not involved": {spent(between), "not involved"},
		"another previous delivery":            {func(d *ledger.Delivery) { d.Previous[0]++ }, "another delivery 0"},
		"acknowledges more than was sent":      {func(d *ledger.Delivery) { d.Applied = 1 }, "acknowledges 1 deliveries, only 0 were sent"},
	} {
		t.Run(name, func(t *testing.T) {
			w, tx := simple(Standard(), masks{0b001, 0b100}, 0)
			w.byzantine = true
			w.must(t, event{shard: 0, txs: []*ledger.Tx{tx}})
			bad := w.tamper(0, 2, c.change)
			b := w.must(t, event{shard: 2, extra: []*ledger.Delivery{bad}})
			if len(b.Frozen) != 1 || b.Frozen[0].Source != 0 || b.Frozen[0].Number != 1 || b.Frozen[0].Delivery != bad.Digest() || !strings.Contains(b.Frozen[0].Why, c.why) {
				t.Fatalf("frozen: %+v", b.Frozen)
			}
			kept, err := w.states[2].Frozen()
			if err != nil || !slices.Equal(kept, b.Frozen) {
				t.Errorf("kept: %+v, %v", kept, err)
			}
			if a := w.audit(2); !a.Conserved() || a.Unspent > 5*coinValue {
				t.Errorf("audit %+v", a)
			}
			w.states[2] = w.open(2)
			if b = w.must(t, event{shard: 2, deliver: []uint16{0}}); len(b.Receipts)+len(b.Frozen) > 0 {
				t.Errorf("applied from a frozen channel: %+v", b)
			}
			for _, m := range []masks{{0b100, 0b001}, {0b101, 0b010}} {
				other := transfer(m, txExpiry, coin(1))
				b = w.must(t, event{shard: 2, txs: []*ledger.Tx{other}})
				if len(b.LeftOut) != 1 || b.LeftOut[0].Refusal.Reason != ledger.ReasonShardBusy || b.LeftOut[0].Refusal.Final() {
					t.Errorf("%v, a transaction that involves the frozen shard: %+v", m, b)
				}
				r, err := w.states[2].Busy(other)
				if err != nil || r == nil || r.Busy == nil || !r.Busy.Frozen || r.Busy.Shard != 0 || r.Busy.SinceMS == 0 {
					t.Errorf("busy: %+v, %v", r, err)
				}
			}
		})
	}
}

// TestShardThatIsDownBlocksItsTransactionsOnly reaches each limit for a shard that is down. Transactions that do not
// involve it are still ordered; its own are again when it is back.
func TestShardThatIsDownBlocksItsTransactionsOnly(t *testing.T) {
	for name, c := range map[string]struct {
		rules Rules
		m     masks
	}{
		"deliveries outstanding": {Rules{MaxOutstanding: 2, MaxWaiting: 100, AnswerAfter: 2}, masks{0b001, 0b010}},
		"records waiting":        {Rules{MaxOutstanding: 100, MaxWaiting: 2, AnswerAfter: 2}, masks{0b011, 0b001}},
	} {
		t.Run(name, func(t *testing.T) {
			w, _ := simple(c.rules, c.m, 0)
			var txs []*ledger.Tx
			for slot := range 4 {
				tx := transfer(c.m, txExpiry+uint64(slot), coin(slot))
				w.watch(tx)
				txs = append(txs, tx)
			}
			for i, tx := range txs[:3] {
				b := w.must(t, event{shard: 0, txs: []*ledger.Tx{tx}})
				if busy := len(b.LeftOut) == 1 && b.LeftOut[0].Refusal.Reason == ledger.ReasonShardBusy; busy != (i == 2) {
					t.Fatalf("transaction %d: %+v", i, b)
				}
			}
			other := transfer(masks{0b001, 0b100}, txExpiry, coin(3))
			w.watch(other)
			// Admission gives the same answer, with the shard and the block time of the first LD that it has not acknowledged.
			first, ok, err := w.states[0].Outgoing(1, 1)
			if err != nil || !ok {
				t.Fatal(ok, err)
			}
			h, _, _ := w.states[0].Header(first.Height)
			r, err := w.states[0].Busy(txs[2])
			if err != nil || r == nil || r.Reason != ledger.ReasonShardBusy || r.Final() || r.Busy == nil ||
				*r.Busy != (ledger.Busy{Shard: 1, SinceMS: h.TimeMS}) || !strings.Contains(r.Detail, "shard 1 has") || !strings.Contains(r.Detail, "since ") {
				t.Errorf("busy: %+v, %v", r, err)
			}
			if r, err := w.states[0].Busy(other); err != nil || r != nil {
				t.Errorf("a transaction without the shard: %+v, %v", r, err)
			}
			if b := w.must(t, event{shard: 0, txs: []*ledger.Tx{other}}); len(b.Receipts) == 0 {
				t.Fatalf("a transaction that does not involve the shard: %+v", b)
			}
			w.must(t, event{shard: 1, deliver: []uint16{0, 0}})
			w.must(t, event{shard: 0, deliver: []uint16{1}})
			if r, err := w.states[0].Busy(txs[2]); err != nil || r != nil {
				t.Errorf("busy after the shard is back: %+v, %v", r, err)
			}
			if b := w.must(t, event{shard: 0, txs: txs[2:3]}); len(b.Receipts) == 0 {
				t.Fatalf("after the shard is back: %+v", b)
			}
		})
	}
}

// TestAcknowledgementWithoutEntries: a shard that has no verdicts to send acknowledges deliveries by an empty
// delivery, and empty deliveries are not acknowledged by themselves.
func TestAcknowledgementWithoutEntries(t *testing.T) {
	w, _ := simple(Rules{MaxOutstanding: 100, MaxWaiting: 100, AnswerAfter: 3}, masks{0b001, 0b010}, 0)
	for slot := range 3 {
		tx := transfer(masks{0b001, 0b010}, txExpiry, coin(slot))
		w.watch(tx)
		w.must(t, event{shard: 0, txs: []*ledger.Tx{tx}})
		b := w.must(t, event{shard: 1, deliver: []uint16{0}})
		if told := len(b.Outbox) == 1; told != (slot == 2) {
			t.Fatalf("after delivery %d: %+v", slot+1, b.Outbox)
		}
	}
	if d := w.queues[1][0][0]; len(d.Entries) != 0 || d.Applied != 3 || d.Number != 1 {
		t.Fatalf("%+v", d)
	}
	if _, ok, err := w.states[0].Outgoing(1, 3); !ok || err != nil {
		t.Fatalf("delivery 3 is not kept: %v", err)
	}
	if b := w.must(t, event{shard: 0, deliver: []uint16{1}}); len(b.Outbox) != 0 || !b.Header.Outbox.IsZero() {
		t.Errorf("an empty delivery is acknowledged: %+v", b.Outbox)
	}
	for n := uint64(1); n <= 3; n++ {
		if _, ok, err := w.states[0].Outgoing(1, n); ok || err != nil {
			t.Errorf("delivery %d is kept although it was acknowledged: %v", n, err)
		}
	}
}

// TestManyVerdictsMakeSeveralDeliveries: one block sends more verdicts than one delivery can hold.
func TestManyVerdictsMakeSeveralDeliveries(t *testing.T) {
	const count = 200
	start := newWorld(Standard(), count)
	w := &start
	var txs []*ledger.Tx
	size := 0
	for _, u := range allCoins(w.states[0], 0, count) {
		b := ledger.Body{Network: network, ExpiryMS: txExpiry, Inputs: []ledger.Input{{Outpoint: u.Outpoint, Key: person(0, 0).Public(), Amount: u.Amount}}}
		for range ledger.MaxOutputs {
			b.Outputs = append(b.Outputs, ledger.Output{Address: address(1, 0), Amount: 1})
		}
		b.Fee = u.Amount - ledger.MaxOutputs
		tx, err := b.Sign(person(0, 0))
		if err != nil {
			t.Fatal(err)
		}
		w.watch(tx)
		txs = append(txs, tx)
		size += len(tx.Encode())
	}
	if size < 2*ledger.MaxDeliveryBytes {
		t.Fatalf("%d bytes of entries fit into one delivery, so the test does not cover the split", size)
	}
	b := w.must(t, event{shard: 0, txs: txs})
	if len(b.Outbox) < 3 {
		t.Fatalf("%d deliveries", len(b.Outbox))
	}
	n := 0
	for i, o := range b.Outbox {
		if o.Delivery.Size() > ledger.MaxDeliveryBytes || o.Delivery.Number != uint64(i+1) || int(o.Count) != len(b.Outbox) {
			t.Errorf("delivery %d: number %d, %d bytes", i, o.Delivery.Number, o.Delivery.Size())
		}
		for _, e := range o.Delivery.Entries {
			if e.Tx.ID() != txs[n].ID() {
				t.Fatalf("entry %d is out of order", n)
			}
			n++
		}
	}
	for range b.Outbox {
		w.must(t, event{shard: 1, deliver: []uint16{0}})
	}
	if a := w.audit(1); a.Outputs != count+count*ledger.MaxOutputs || n != count {
		t.Errorf("%d entries, %+v", n, a)
	}
}

// TestSecondVerdictFreezesChannel: a shard sends a second verdict on a transaction, the same or another one, while
// the record is open or after it was closed. The only effect is that the channel is frozen.
func TestSecondVerdictFreezesChannel(t *testing.T) {
	for name, c := range map[string]struct {
		m      masks
		closed bool
	}{
		"open":   {masks{0b011, 0b100}, false}, // shard 1 has not given its verdict
		"closed": {masks{0b001, 0b100}, true},
	} {
		for _, second := range []ledger.Entry{{Verdict: ledger.VerdictSpent}, {Verdict: ledger.VerdictRejected, Reason: ledger.ReasonConsumed}} {
			for _, later := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s, %s, in a later block %v", name, second.Verdict, later), func(t *testing.T) {
					w, tx := simple(Standard(), c.m, 0)
					w.byzantine = true
					w.must(t, event{shard: 0, txs: []*ledger.Tx{tx}})
					first := w.sent[0][2][0]
					second.Tx = tx
					again := ledger.NewDelivery(ledger.Delivery{Source: 0, Destination: 2, Number: 2, Previous: first.Digest(), Entries: []ledger.Entry{second}})
					var want int
					if !later { // both in one block
						b := w.must(t, event{shard: 2, deliver: []uint16{0}, extra: []*ledger.Delivery{again}})
						wantFrozen(t, b, 0, 2, "a second verdict")
						want = len(b.Receipts)
					} else {
						want = len(w.must(t, event{shard: 2, deliver: []uint16{0}}).Receipts)
						before := w.part(2, tx)
						b := w.must(t, event{shard: 2, extra: []*ledger.Delivery{again}})
						wantFrozen(t, b, 0, 2, "a second verdict")
						if after := w.part(2, tx); len(b.Receipts) > 0 || !slices.Equal(after.Known, before.Known) || after.Stage != before.Stage {
							t.Errorf("%+v, was %+v", after, before)
						}
					}
					if open := w.part(2, tx).Open; open == c.closed || c.closed != (want == 1) {
						t.Fatalf("open %v with %d receipts: the test does not reach the intended state", open, want)
					}
					if a := w.audit(2); !a.Conserved() {
						t.Errorf("audit %+v", a)
					}
				})
			}
		}
	}
}

func wantFrozen(t *testing.T, b *ledger.Block, source uint16, number uint64, why string) {
	t.Helper()
	if len(b.Frozen) != 1 || b.Frozen[0].Source != source || b.Frozen[0].Number != number || !strings.Contains(b.Frozen[0].Why, why) {
		t.Fatalf("frozen %+v, want channel %d by delivery %d: %s", b.Frozen, source, number, why)
	}
}

// TestSecondSpentCreatesNothing: a Byzantine shard sends SPENT again after the output was created and spent and the
// record closed. The output stays spent.
func TestSecondSpentCreatesNothing(t *testing.T) {
	w, tx := simple(Standard(), masks{0b001, 0b010}, 0)
	w.byzantine = true
	w.must(t, event{shard: 0, txs: []*ledger.Tx{tx}})
	first := w.queues[0][1][0]
	w.must(t, event{shard: 1, deliver: []uint16{0}})
	made := ledger.Input{Outpoint: ledger.Outpoint{Tx: tx.ID()}, Key: person(1, 0).Public(), Amount: tx.Outputs[0].Amount}
	spend := func(fee uint64) *ledger.Tx {
		b := ledger.Body{Network: network, ExpiryMS: txExpiry, Inputs: []ledger.Input{made}, Fee: fee,
			Outputs: []ledger.Output{{Address: address(1, 0), Amount: made.Amount - fee}}}
		tx, err := b.Sign(person(1, 0))
		if err != nil {
			t.Fatal(err)
		}
		return tx
	}
	if b := w.must(t, event{shard: 1, txs: []*ledger.Tx{spend(1)}}); len(b.Receipts) != 1 || b.Receipts[0].Verdict != ledger.VerdictSettled {
		t.Fatalf("the first spend: %+v", b)
	}
	second := ledger.NewDelivery(ledger.Delivery{Source: 0, Destination: 1, Number: 2, Previous: first.Digest(), Entries: first.Entries})
	wantFrozen(t, w.must(t, event{shard: 1, extra: []*ledger.Delivery{second}}), 0, 2, "a second verdict")
	if b := w.must(t, event{shard: 1, txs: []*ledger.Tx{spend(2)}}); len(b.Receipts) != 1 || b.Receipts[0].Reason != ledger.ReasonConsumed {
		t.Errorf("an output was spent twice: %+v", b)
	}
}
