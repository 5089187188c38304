package replica

import (
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
	"bdtnode/internal/sig"
	"bdtnode/ledger"
	"bdtnode/protocols"
	"bdtnode/protocols/inbound"
	"bdtnode/shard/settlement"
)

// TestSpentLD: SpentLD finds the stored LD of a source with SPENT on a transaction, among the newest 64 below a number. It
// finds no LD with REJECTED, of another source, or from that number on.
func TestSpentLD(t *testing.T) {
	b := newBench(t, 4, 0, "")
	store := kv.NewMem()
	key := sig.NewIdeal(1).Signer(7)
	pay := func(number byte) *ledger.Tx {
		body := ledger.Body{
			Network: b.c.Network(), ExpiryMS: 1,
			Inputs:  []ledger.Input{{Outpoint: ledger.Outpoint{Tx: ledger.TxID(digest.Of("input", []byte{number}))}, Key: key.Public(), Amount: 1}},
			Outputs: []ledger.Output{{Address: ledger.AddressOf(key.Public()), Amount: 1}},
		}
		tx, err := body.Sign(key)
		if err != nil {
			t.Fatal(err)
		}
		return tx
	}
	put := func(source uint16, number uint64, entries ...ledger.Entry) {
		d := ledger.Delivery{Source: source, Number: number, Entries: entries}
		if number > 1 {
			d.Previous[0] = 1
		}
		x := NewInbound(&settlement.LD{
			Header: ledger.Header{Network: b.c.Network(), Shard: source}, Certificate: protocols.Certificate{}, Count: 1, Delivery: ledger.NewDelivery(d),
		})
		var batch kv.Batch
		batch.Set(inbound.StoredKey(source, x.Tip()), x.EncodeStored())
		if err := store.Apply(&batch, true); err != nil {
			t.Fatal(err)
		}
	}
	spent, rejected, old, foreign := pay(1), pay(2), pay(3), pay(4)
	put(1, 5, ledger.Entry{Verdict: ledger.VerdictSpent, Tx: old})
	for n := uint64(6); n < 70; n++ {
		put(1, n)
	}
	put(1, 70, ledger.Entry{Verdict: ledger.VerdictSpent, Tx: spent}, ledger.Entry{Verdict: ledger.VerdictRejected, Reason: ledger.ReasonConsumed, Tx: rejected})
	put(2, 70, ledger.Entry{Verdict: ledger.VerdictSpent, Tx: foreign})
	for name, c := range map[string]struct {
		tx     *ledger.Tx
		below  uint64
		number uint64 // of the LD, 0 for none
	}{
		"the newest":                       {spent, 71, 70},
		"from that number on":              {spent, 70, 0},
		"REJECTED":                         {rejected, 71, 0},
		"of another source":                {foreign, 71, 0},
		"behind 64 newer ones":             {old, 70, 0},
		"the oldest of 64":                 {old, 69, 5},
		"of a channel without stored ones": {spent, 1, 0},
	} {
		ld, err := SpentLD(store, 1, c.below, c.tx.ID())
		if err != nil || (ld != nil) != (c.number != 0) || ld != nil && ld.Delivery.Number != c.number {
			t.Errorf("%s: %v, %v", name, ld, err)
		}
	}
}
