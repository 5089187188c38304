package ledger

import (
	"testing"

	"bdtnode/internal/kv"
)

func TestConsumerIsKnownUntilItsExpiry(t *testing.T) {
	s := open(t, kv.NewMem(), testConfig(1, 1, 100))
	tx := pay(t, 0, 100, []Outpoint{genesisOut(0, 0)}, 0, Output{addressOf(1), 100})
	run(t, s, genesisTime, tx)
	rival := func(fee uint64) *Tx {
		b := Body{Network: testNet, ExpiryMS: genesisTime + 9*60_000, Fee: fee, Outputs: []Output{{addressOf(0), 100 - fee}},
			Inputs: []Input{{genesisOut(0, 0), signer(0).Public(), 100}}}
		return signed(t, b, 0)
	}
	if b := run(t, s, tx.ExpiryMS, rival(1)); len(b.Receipts) != 1 || b.Receipts[0].Reason != ReasonConsumed {
		t.Errorf("at the expiry of the consuming transaction: %+v", b)
	}
	late := tx.ExpiryMS + 2*60_000
	run(t, s, late)
	if b := run(t, s, late, rival(2)); len(b.LeftOut) != 1 || b.LeftOut[0].Refusal.Reason != ReasonUnknownInput {
		t.Errorf("after the expiry of the consuming transaction: %+v", b)
	}
	if b := run(t, s, late, tx, rival(1)); len(b.Duplicates) != 2 {
		t.Errorf("a transaction with a receipt is not a duplicate: %+v", b)
	}
	left := 0
	if err := s.store.Scan([]byte{keySpent}, []byte{keySpentDue + 1}, false, func(_, _ []byte) bool { left++; return true }); err != nil || left != 0 {
		t.Errorf("%d records left, %v", left, err)
	}
}

func TestRestartKeepsDueLists(t *testing.T) {
	config := testConfig(1, 3, 100)
	stayed := open(t, kv.NewMem(), config)
	store := kv.NewMem()
	restarted := open(t, store, config)
	spend := func(k int, minutes uint64) *Tx {
		b := Body{Network: testNet, ExpiryMS: genesisTime + minutes*60_000, Outputs: []Output{{addressOf(0), 100}},
			Inputs: []Input{{genesisOut(0, k), signer(0).Public(), 100}}}
		return signed(t, b, 0)
	}
	both := func(timeMS uint64, txs ...*Tx) {
		t.Helper()
		if a, b := run(t, stayed, timeMS, txs...), run(t, restarted, timeMS, txs...); a.Header != b.Header {
			t.Fatalf("headers of height %d differ after a restart", a.Header.Height)
		}
	}
	both(genesisTime, spend(0, 6)) // after the restart, the earliest due list in the store is this one
	restarted = open(t, store, config)
	both(genesisTime, spend(1, 1)) // this block adds an earlier due list
	both(genesisTime+3*60_000, spend(2, 4))
	both(genesisTime + 9*60_000)
}

func TestDueListsPerBlockAreBounded(t *testing.T) {
	s := open(t, kv.NewMem(), testConfig(1, 40, 100))
	for k := range 40 { // one due list per block
		run(t, s, genesisTime, pay(t, 0, 100, []Outpoint{genesisOut(0, k)}, 0, Output{addressOf(0), 100}))
	}
	lists := func() (n int) {
		if err := s.store.Scan([]byte{keySpentDue}, []byte{keySpentDue + 1}, false, func(_, _ []byte) bool { n++; return true }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for left := 40; left > 0; left -= duePerBlock {
		if n := lists(); n != left {
			t.Fatalf("%d lists, want %d", n, left)
		}
		run(t, s, genesisTime+10*60_000)
	}
	if n := lists(); n != 0 {
		t.Errorf("%d lists left", n)
	}
}
