package settlement

import (
	"context"
	"slices"
	"testing"

	"bdtnode/ledger"
)

// settlementOf is the view of a shard at its block time plus a number of milliseconds.
func (w *world) settlementOf(t *testing.T, s uint16, after uint64) ledger.SettlementView {
	t.Helper()
	v, err := w.states[s].Settlement(context.Background(), w.time[s]+after)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestSettlementView: the view of a transaction between shards has its record with its age and the missing verdict, the
// escrow, and the numbers of the channels; after the settlement the created value, and a record that waits for its expiry.
func TestSettlementView(t *testing.T) {
	w, tx := simple(Standard(), masks{0b011, 0b100}, 0)
	w.must(t, event{shard: 0, txs: []*ledger.Tx{tx}})
	v := w.settlementOf(t, 0, 1500)
	r := v.Records
	if v.Height != 1 || v.Escrow != coinValue || r.Scanned != 1 || r.Unresolved != 1 || r.Closing != 0 || r.Partial || len(r.Oldest) != 1 || len(v.Frozen) != 0 {
		t.Fatalf("%+v", v)
	}
	if o := r.Oldest[0]; o.Tx != tx.ID() || o.Stage != "escrow" || o.Height != 1 || o.AgeMS != 1500 || o.Value != coinValue || !slices.Equal(o.WaitsFor, []uint16{1}) || len(o.Unsent) != 0 || o.ExpiryMS != tx.ExpiryMS {
		t.Errorf("%+v", o)
	}
	if r.Ages[0].Count != 0 || r.Ages[1].Count != 1 {
		t.Errorf("%+v", r.Ages)
	}
	for _, c := range v.Channels {
		if c.Sent != 1 || c.Shown != 0 || c.Applied != 0 || c.Frozen || (c.Shard == 1) != (c.Waiting == 1) || (c.Shard == 1) != (c.Escrow == coinValue) {
			t.Errorf("%+v", c)
		}
	}
	for !w.quiet() {
		for from := range uint16(shards) {
			for to := range uint16(shards) {
				if len(w.queues[from][to]) > 0 {
					w.must(t, event{shard: to, deliver: []uint16{from}})
				}
			}
		}
	}
	v = w.settlementOf(t, 0, 0)
	if v.Escrow != 0 || v.Ceded+v.Burned != coinValue || v.Burned == 0 || v.Records.Unresolved != 0 || v.Records.Closing != 1 {
		t.Errorf("%+v", v)
	}
	burned := v.Burned
	v = w.settlementOf(t, 2, 0)
	if v.Gained != 2*coinValue-burned || len(v.Channels) != 2 || v.Channels[0].Created != coinValue || v.Channels[1].Created != coinValue || v.Channels[0].Applied == 0 {
		t.Errorf("%+v", v)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := w.states[0].Settlement(ctx, 0); err != nil {
		t.Errorf("an ended context: %v", err)
	}
}

// TestSettlementViewIsBounded: of many open records the oldest are listed.
func TestSettlementViewIsBounded(t *testing.T) {
	w := newWorld(Standard(), 40)
	coins := allCoins(w.states[0], 0, 40)
	var first ledger.TxID
	for i, u := range coins {
		tx := transfer(masks{0b011, 0b100}, txExpiry, func(s uint16) (ledger.Outpoint, uint64) {
			if s == 0 {
				return u.Outpoint, u.Amount
			}
			return ledger.Outpoint{Index: uint16(i)}, coinValue
		})
		w.watch(tx)
		w.must(t, event{shard: 0, txs: []*ledger.Tx{tx}, timeMS: w.time[0] + 10})
		if i == 0 {
			first = tx.ID()
		}
	}
	r := w.settlementOf(t, 0, 0).Records
	if r.Scanned != 40 || r.Unresolved != 40 || len(r.Oldest) != 20 || r.Oldest[0].Tx != first {
		t.Errorf("%+v", r)
	}
	if !slices.IsSortedFunc(r.Oldest, func(a, b ledger.RecordView) int { return int(b.AgeMS) - int(a.AgeMS) }) {
		t.Errorf("%+v", r.Oldest)
	}
}
