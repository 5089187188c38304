package ledger

import (
	"testing"

	"bdtnode/internal/kv"
)

// escrowing is a ledger whose rule for transactions between shards opens a record with escrow, which stays open. Each
// transaction to addressOf(1) is between shards.
func escrowing(outputs uint32) Config {
	config := testConfig(1, outputs, 100)
	config.Home = func(a Address) uint16 {
		if a == addressOf(1) {
			return 1
		}
		return 0
	}
	config.Rules = ruleFunc(func(s *BlockState, tx *Tx) error { spend(s, tx); return nil })
	return config
}

func spendUntil(t failer, k int, minutes uint64) *Tx {
	b := Body{Network: testNet, ExpiryMS: genesisTime + minutes*60_000, Outputs: []Output{{addressOf(1), 100}},
		Inputs: []Input{{genesisOut(0, k), signer(0).Public(), 100}}}
	return signed(t, b, 0)
}

func TestRestartKeepsDueLists(t *testing.T) {
	config := escrowing(3)
	stayed := open(t, kv.NewMem(), config)
	store := kv.NewMem()
	restarted := open(t, store, config)
	both := func(timeMS uint64, txs ...*Tx) {
		t.Helper()
		if a, b := run(t, stayed, timeMS, txs...), run(t, restarted, timeMS, txs...); a.Header != b.Header {
			t.Fatalf("headers of height %d differ after a restart", a.Header.Height)
		}
	}
	both(genesisTime, spendUntil(t, 0, 6)) // after the restart, the earliest due list in the store is this one
	restarted = open(t, store, config)
	both(genesisTime, spendUntil(t, 1, 1)) // this block adds an earlier due list
	both(genesisTime+3*60_000, spendUntil(t, 2, 4))
	both(genesisTime + 9*60_000)
}

func TestDueListsPerBlockAreBounded(t *testing.T) {
	s := open(t, kv.NewMem(), escrowing(40))
	for k := range 40 { // one due list per block
		run(t, s, genesisTime, spendUntil(t, k, 1))
	}
	lists := func() (n int) {
		if err := s.store.Scan([]byte{keyOpenDue}, []byte{keyOpenDue + 1}, false, func(_, _ []byte) bool { n++; return true }); err != nil {
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
