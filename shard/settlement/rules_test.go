package settlement

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"bdtnode/ledger"
)

// simple returns a world and a transaction of coin number slot with the given input and output shards.
func simple(rules ledger.Rules, m masks, slot int) (*world, *ledger.Tx) {
	w := newWorld(rules, 4)
	tx := transfer(m, txExpiry, coin(slot))
	w.watch(tx)
	return &w, tx
}

func (w *world) must(t *testing.T, e event) *ledger.Block {
	t.Helper()
	b, err := w.do(e)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (w *world) reason(t *testing.T, s uint16, tx *ledger.Tx) ledger.Reason {
	t.Helper()
	r, err := w.states[s].Precheck(tx, w.time[s])
	if err != nil {
		t.Fatal(err)
	}
	if r == nil {
		return ledger.ReasonNone
	}
	return r.Reason
}

func TestShardWithoutInputsIgnoresATransaction(t *testing.T) {
	w, tx := simple(Standard(), masks{0b001, 0b010}, 0)
	for _, s := range []uint16{1, 2} {
		b := w.must(t, event{shard: s, txs: []*ledger.Tx{tx}})
		if len(b.LeftOut) != 1 || b.LeftOut[0].Refusal.Reason != ledger.ReasonWrongShard || len(b.Outbox)+len(b.Receipts) > 0 || w.part(s, tx).Known != nil {
			t.Errorf("shard %d: %+v", s, b)
		}
	}
}

func TestUnspendableTransactionOfABatchLeavesNoTrace(t *testing.T) {
	w, tx := simple(Standard(), masks{0b011, 0b100}, 0)
	beyond := transfer(masks{0b001, 0b100}, genesisTime+horizon+1, coin(1))
	rival := transfer(masks{0b001, 0b001}, txExpiry, func(s uint16) (ledger.Outpoint, uint64) { return tx.Inputs[0].Outpoint, coinValue })
	w.must(t, event{shard: 0, txs: []*ledger.Tx{rival}})
	for _, c := range []struct {
		tx   *ledger.Tx
		pass uint64
		want ledger.Reason
	}{{tx, 0, ledger.ReasonConsumed}, {beyond, 0, ledger.ReasonExpiryTooFar}, {tx, txExpiry + 1, ledger.ReasonExpired}} {
		b := w.must(t, event{shard: 0, txs: []*ledger.Tx{c.tx}, timeMS: c.pass})
		if len(b.LeftOut) != 1 || b.LeftOut[0].Refusal.Reason != c.want || len(b.Outbox)+len(b.Receipts) > 0 || w.part(0, c.tx).Known != nil {
			t.Errorf("want %s: %+v", c.want, b)
		}
	}
}

// TestHorizonAppliesToBatchesOnly: a shard whose block time is far behind answers a delivery with a transaction that
// it would leave out of a batch because its expiry is beyond the horizon.
func TestHorizonAppliesToBatchesOnly(t *testing.T) {
	w, _ := simple(Standard(), masks{0b001, 0b010}, 0)
	tx := transfer(masks{0b011, 0b100}, genesisTime+horizon+minute, coin(1))
	w.watch(tx)
	w.must(t, event{shard: 0, txs: []*ledger.Tx{tx}, timeMS: genesisTime + 2*minute})
	if b := w.must(t, event{shard: 1, txs: []*ledger.Tx{tx}}); len(b.LeftOut) != 1 || b.LeftOut[0].Refusal.Reason != ledger.ReasonExpiryTooFar {
		t.Fatalf("from a batch: %+v", b)
	}
	w.must(t, event{shard: 1, deliver: []uint16{0}})
	if p := w.part(1, tx); p.Stage != ledger.StageSettled {
		t.Errorf("from a delivery: %+v", p)
	}
}

// TestReasonsOfRejections: an input shard answers with the reason for which its input is not good, and every shard
// involved records that reason.
func TestReasonsOfRejections(t *testing.T) {
	for name, c := range map[string]struct {
		change func(in *ledger.Input)
		pass   uint64
		want   ledger.Reason
	}{
		"unknown":      {func(in *ledger.Input) { in.Outpoint.Index = 999 }, 0, ledger.ReasonUnknownInput},
		"wrong amount": {func(in *ledger.Input) { in.Amount++ }, 0, ledger.ReasonWrongAmount},
		"wrong owner":  {func(in *ledger.Input) { in.Key = person(1, 1).Public() }, 0, ledger.ReasonWrongOwner},
		"expired":      {func(*ledger.Input) {}, txExpiry + 1, ledger.ReasonExpired},
	} {
		t.Run(name, func(t *testing.T) {
			w, base := simple(Standard(), masks{0b011, 0b100}, 0)
			b := ledger.Body{Network: network, ExpiryMS: txExpiry, Inputs: slices.Clone(base.Inputs), Outputs: slices.Clone(base.Outputs), Fee: base.Fee}
			c.change(&b.Inputs[1])
			b.Outputs[0].Amount += b.Inputs[1].Amount - coinValue
			tx, err := b.Sign(person(0, 0), person(1, 0), person(1, 1))
			if err != nil {
				t.Fatal(err)
			}
			w.watch(tx)
			w.must(t, event{shard: 0, txs: []*ledger.Tx{tx}})
			w.must(t, event{shard: 1, deliver: []uint16{0}, timeMS: c.pass})
			w.must(t, event{shard: 0, deliver: []uint16{1}})
			w.must(t, event{shard: 2, deliver: []uint16{0, 1}})
			for s, stage := range []ledger.Stage{ledger.StageReturned, ledger.StageRejected, ledger.StageRejected} {
				p := w.part(uint16(s), tx)
				r, ok, err := w.states[s].Receipt(tx.ID())
				if p.Stage != stage || p.Of(1).Reason != c.want || p.Of(0).Verdict != ledger.VerdictSpent || !ok || err != nil || r.Reason != c.want || !r.Verdict.Final() {
					t.Errorf("shard %d: %+v, receipt %+v", s, p, r)
				}
			}
			if err := w.check(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestSettlementOfThreeShards(t *testing.T) {
	w, tx := simple(Standard(), masks{0b011, 0b110}, 0)
	b := w.must(t, event{shard: 0, txs: []*ledger.Tx{tx}})
	if len(b.Receipts) != 1 || b.Receipts[0].Verdict != ledger.VerdictSpent || b.Receipts[0].Verdict.Final() || len(b.Outbox) != 2 {
		t.Fatalf("spending: %+v", b)
	}
	if a := w.audit(0); a.Escrow != coinValue || a.Unspent != 3*coinValue || a.Open != 1 {
		t.Errorf("in escrow: %+v", a)
	}
	b = w.must(t, event{shard: 1, deliver: []uint16{0}})
	if len(b.Receipts) != 2 || b.Receipts[0].Verdict != ledger.VerdictSpent || b.Receipts[1].Verdict != ledger.VerdictSettled {
		t.Fatalf("answering: %+v", b.Receipts)
	}
	w.must(t, event{shard: 2, deliver: []uint16{0, 1}})
	w.must(t, event{shard: 0, deliver: []uint16{1}})
	var burned, unspent uint64
	for s := range uint16(shards) {
		p, a := w.part(s, tx), w.audit(s)
		if p.Stage != ledger.StageSettled || p.Height == 0 || !p.Complete() || p.Open != (s < 2) {
			t.Errorf("shard %d: %+v", s, p)
		}
		burned, unspent = burned+a.Burned, unspent+a.Unspent
		if a.Escrow != 0 || (s != 0) && a.Burned != 0 {
			t.Errorf("shard %d: %+v", s, a)
		}
	}
	if burned != tx.Fee || unspent != 12*coinValue-tx.Fee {
		t.Errorf("%d burned, %d unspent", burned, unspent)
	}
	c, err := w.states[2].Channels()
	if err != nil || len(c) != 2 || c[0].Created != 40 || c[1].Created != 40 {
		t.Errorf("Created of the channels: %+v, %v", c, err)
	}
	acc, err := w.states[1].Account(address(1, 0), ledger.Page{HistoryLimit: 5})
	if err != nil || len(acc.History) != 3 || acc.History[0].Received != 159 || acc.History[1].Spent != coinValue {
		t.Errorf("history of the owner in shard 1: %+v, %v", acc.History, err)
	}
}

// TestConsumerIsKnownWhileItsRecordIsOpen: a coin that a transaction consumed is refused as consumed while the record
// of that transaction is open, also after its expiry, and as unknown afterwards.
func TestConsumerIsKnownWhileItsRecordIsOpen(t *testing.T) {
	w, tx := simple(Standard(), masks{0b011, 0b100}, 0)
	rival := transfer(masks{0b001, 0b001}, genesisTime+40*minute, func(uint16) (ledger.Outpoint, uint64) { return tx.Inputs[0].Outpoint, coinValue })
	w.must(t, event{shard: 0, txs: []*ledger.Tx{tx}})
	for range 3 {
		w.must(t, event{shard: 0, timeMS: w.time[0] + 5*minute})
		if got := w.reason(t, 0, rival); got != ledger.ReasonConsumed {
			t.Fatalf("while its record is open: %q", got)
		}
	}
	w.must(t, event{shard: 1, deliver: []uint16{0}})
	w.must(t, event{shard: 0, deliver: []uint16{1}})
	if p := w.part(0, tx); p.Open || p.Stage != ledger.StageSettled {
		t.Fatalf("complete after its expiry: %+v", p)
	}
	if got := w.reason(t, 0, rival); got != ledger.ReasonUnknownInput {
		t.Errorf("after its record was closed: %q", got)
	}
	if p := w.part(1, tx); !p.Open {
		t.Fatalf("before its expiry: %+v", p)
	}
	w.must(t, event{shard: 1, timeMS: txExpiry + minute})
	if p := w.part(1, tx); p.Open {
		t.Errorf("after its expiry: %+v", p)
	}
}

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
			if b := w.must(t, event{shard: 0, txs: []*ledger.Tx{other}}); len(b.Receipts) == 0 {
				t.Fatalf("a transaction that does not involve the shard: %+v", b)
			}
			w.must(t, event{shard: 1, deliver: []uint16{0, 0}})
			w.must(t, event{shard: 0, deliver: []uint16{1}})
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

// TestRecordIsOpenAtItsExpiry: all verdicts are known at the last block time at which a batch could contain the
// transaction. If the record closed then, the shard could give a second, better verdict.
func TestRecordIsOpenAtItsExpiry(t *testing.T) {
	w, first := simple(Standard(), masks{0b001, 0b010}, 0)
	tx := transfer(masks{0b110, 0b001}, txExpiry, func(s uint16) (ledger.Outpoint, uint64) {
		if s == 1 {
			return ledger.Outpoint{Tx: first.ID()}, coinValue - first.Fee
		}
		return coin(1)(s)
	})
	w.watch(tx)
	w.must(t, event{shard: 2, txs: []*ledger.Tx{tx}})
	w.must(t, event{shard: 0, txs: []*ledger.Tx{first}})
	w.must(t, event{shard: 1, deliver: []uint16{2}, timeMS: txExpiry})
	if p := w.part(1, tx); p.Stage != ledger.StageRejected || !p.Complete() || !p.Open {
		t.Fatalf("at its expiry: %+v", p)
	}
	b := w.must(t, event{shard: 1, deliver: []uint16{0}, txs: []*ledger.Tx{tx}})
	if len(b.Duplicates) != 1 || len(b.Receipts) != 1 {
		t.Errorf("after its input exists: %+v", b)
	}
}

// TestOneRejectionIsEnough: a shard whose own input is good, and which receives a rejection first, does not spend.
func TestOneRejectionIsEnough(t *testing.T) {
	w, tx := simple(Standard(), masks{0b111, 0b001}, 0)
	rival := transfer(masks{0b100, 0b100}, txExpiry, coin(0))
	w.must(t, event{shard: 2, txs: []*ledger.Tx{rival}})
	w.must(t, event{shard: 0, txs: []*ledger.Tx{tx}})
	w.must(t, event{shard: 2, deliver: []uint16{0}})
	b := w.must(t, event{shard: 1, deliver: []uint16{2}})
	if p := w.part(1, tx); len(b.Receipts) != 1 || p.Stage != ledger.StageRejected || p.Of(1).Reason != ledger.ReasonElsewhere || p.Of(2).Reason != ledger.ReasonConsumed {
		t.Errorf("%+v, receipts %+v", p, b.Receipts)
	}
	if b = w.must(t, event{shard: 1, txs: []*ledger.Tx{tx}}); len(b.Duplicates) != 1 {
		t.Errorf("ordered again: %+v", b)
	}
	w.must(t, event{shard: 1, deliver: []uint16{0}})
	w.must(t, event{shard: 0, deliver: []uint16{1, 2}})
	w.must(t, event{shard: 2, deliver: []uint16{1}})
	if err := w.check(); err != nil || !w.quiet() {
		t.Error(err)
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

// TestSettledTransactionIsADuplicate: a transaction that has settled is a duplicate when a batch contains it again
// after its expiry, whether its record closes in the same block or has closed before. It is not refused as expired.
func TestSettledTransactionIsADuplicate(t *testing.T) {
	for _, later := range []bool{false, true} {
		w, tx := simple(Standard(), masks{0b011, 0b100}, 0)
		w.must(t, event{shard: 0, txs: []*ledger.Tx{tx}})
		w.must(t, event{shard: 1, txs: []*ledger.Tx{tx}})
		e := event{shard: 0, timeMS: txExpiry + 1, deliver: []uint16{1}}
		if later {
			w.must(t, e)
			e = event{shard: 0}
		}
		e.txs = []*ledger.Tx{tx}
		b := w.must(t, e)
		if p := w.part(0, tx); p.Stage != ledger.StageSettled {
			t.Fatalf("later %v: %+v: the test does not reach the intended state", later, p)
		}
		if len(b.LeftOut) > 0 || !slices.Equal(b.Duplicates, []ledger.TxID{tx.ID()}) {
			t.Errorf("later %v: left out %+v, duplicates %v", later, b.LeftOut, b.Duplicates)
		}
	}
}
