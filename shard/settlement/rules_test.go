package settlement

import (
	"slices"
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
		"wrong owner":  {func(in *ledger.Input) { in.Key = person(1, 1).Public() }, 0, ledger.ReasonUnknownInput}, // the ledger does not know old outputs by their id,
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

// TestConsumedWithAndWithoutRecord: a coin that a transaction consumed is refused as consumed while the record of that
// transaction is open, also after its expiry, and afterwards.
func TestConsumedWithAndWithoutRecord(t *testing.T) {
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
	if got := w.reason(t, 0, rival); got != ledger.ReasonConsumed {
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
