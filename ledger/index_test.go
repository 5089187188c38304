package ledger

import (
	"slices"
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
)

// rivalOf makes a transaction with another id that spends an output of person 0.
func rivalOf(t failer, o Outpoint, amount, fee, expiryMS uint64) *Tx {
	return signed(t, Body{Network: testNet, ExpiryMS: expiryMS, Fee: fee, Outputs: []Output{{addressOf(0), amount - fee}},
		Inputs: []Input{{o, signer(0).Public(), amount}}}, 0)
}

// TestConsumedUntilTheExpiry: an output is known to be consumed until the transaction that consumed it has expired,
// whether the output is from the genesis, from an older window than execution reads, or recent.
func TestConsumedUntilTheExpiry(t *testing.T) {
	const start = genesisTime / horizon * horizon // of a window
	for name, age := range map[string]uint64{"recent": 0, "one window": horizon, "three windows": 3 * horizon, "ten windows": 10 * horizon} {
		for _, offset := range []uint64{0, horizon - 1} {
			s := open(t, kv.NewMem(), testConfig(1, 1, 100))
			now := start + horizon + offset
			made := rivalOf(t, genesisOut(0, 0), 100, 0, now+1)
			run(t, s, now, made)
			now += age
			consumer := rivalOf(t, Outpoint{made.ID(), 0}, 100, 1, now+horizon)
			if b := run(t, s, now, consumer); len(b.Receipts) != 1 || b.Receipts[0].Verdict != VerdictSettled {
				t.Fatalf("%s: %+v", name, b)
			}
			for fee, o := range []Outpoint{{made.ID(), 0}, {made.ID(), 1}} { // the second never existed
				b := run(t, s, now+horizon, rivalOf(t, o, 100, uint64(fee)+2, now+2*horizon))
				if len(b.Receipts) != 1 || b.Receipts[0].Reason != ReasonConsumed {
					t.Errorf("%s, at the expiry of the consumer: %+v", name, b)
				}
			}
			now += (recentWindows + 2) * horizon
			b := run(t, s, now, rivalOf(t, Outpoint{made.ID(), 0}, 100, 4, now+1))
			if len(b.LeftOut) != 1 || b.LeftOut[0].Refusal.Reason != ReasonUnknownInput {
				t.Errorf("%s, long after: %+v", name, b)
			}
		}
	}
}

// TestNoSecondReceipt: a transaction that has a receipt never gets another one inside a shard, whenever it is ordered
// again. While it has not expired, it is a duplicate.
func TestNoSecondReceipt(t *testing.T) {
	for _, offset := range []uint64{0, 1, horizon / 2, horizon - 1} {
		for _, life := range []uint64{0, 1, horizon / 2, horizon} {
			s := open(t, kv.NewMem(), testConfig(1, 3, 100))
			now := genesisTime/horizon*horizon + 2*horizon + offset
			settled := rivalOf(t, genesisOut(0, 0), 100, 1, now+life)
			rejected := rivalOf(t, genesisOut(0, 0), 100, 2, now+life)
			if b := run(t, s, now, settled, rejected); len(b.Receipts) != 2 || b.Receipts[1].Reason != ReasonConsumed {
				t.Fatalf("%+v", b)
			}
			first := mustReceipt(t, s, settled.ID())
			for at := now; at < now+6*horizon; at += horizon / 4 {
				b := run(t, s, at, settled, rejected)
				if len(b.Receipts) > 0 || at <= now+life && len(b.Duplicates) != 2 {
					t.Fatalf("ordered again %d ms later, with a life of %d ms: %+v", at-now, life, b)
				}
				for _, x := range b.LeftOut {
					if x.Refusal.Reason != ReasonExpired {
						t.Fatalf("left out %d ms later: %v", at-now, x.Refusal)
					}
				}
			}
			if got := mustReceipt(t, s, settled.ID()); got != first {
				t.Errorf("receipt %+v, then %+v", first, got)
			}
			if got, ok, err := s.ReceiptOf(settled); got != first || !ok || err != nil {
				t.Errorf("receipt %+v by the transaction, %v, %v", got, ok, err)
			}
		}
	}
}

// TestNoReceiptWithoutMemory: a refused transaction gets no receipt if the ledger could forget the receipt before the
// transaction expires, or may have forgotten one. Its refusal is final all the same.
func TestNoReceiptWithoutMemory(t *testing.T) {
	s := open(t, kv.NewMem(), testConfig(1, 2, 100))
	run(t, s, genesisTime, rivalOf(t, genesisOut(0, 0), 100, 1, genesisTime+horizon))
	for name, c := range map[string]struct {
		expiry uint64
		want   Reason
	}{
		"beyond the horizon": {genesisTime + horizon + 1, ReasonConsumed},
		"expired long ago":   {genesisTime - 2*horizon, ReasonExpired},
	} {
		tx := rivalOf(t, genesisOut(0, 0), 100, 2, c.expiry)
		b := run(t, s, genesisTime, tx)
		if len(b.Receipts) > 0 || len(b.LeftOut) != 1 || b.LeftOut[0].Refusal.Reason != c.want || !b.LeftOut[0].Refusal.Final() {
			t.Errorf("%s: %+v", name, b)
		}
	}
}

// TestEqualIDPrefix: of two ids with the same first 16 bytes, each lookup returns the receipt of the right one or none.
func TestEqualIDPrefix(t *testing.T) {
	s := open(t, kv.NewMem(), testConfig(1, 2, 100))
	tx := rivalOf(t, genesisOut(0, 0), 100, 1, genesisTime+horizon)
	run(t, s, genesisTime, tx)
	other := tx.ID()
	other[31] ^= 1
	if r, ok, err := s.Receipt(other); ok || err != nil {
		t.Errorf("receipt of another transaction: %+v, %v", r, err)
	}
}

// TestOldReceipts: receipts are found after a restart in whichever window they are, and only windows that have entries
// are read.
func TestOldReceipts(t *testing.T) {
	config := testConfig(1, 30, 100)
	store := kv.NewMem()
	s := open(t, store, config)
	now := uint64(genesisTime)
	var want []Receipt
	for k := range 12 {
		tx := rivalOf(t, genesisOut(0, k), 100, 1, now+1)
		want = append(want, run(t, s, now, tx).Receipts...)
		run(t, s, now)
		now += uint64(k%4) * horizon
	}
	for _, again := range []*State{s, open(t, store, config)} {
		if len(again.windows) != 9 || !slices.IsSorted(again.windows) {
			t.Errorf("windows %v", again.windows)
		}
		for _, r := range want {
			if got := mustReceipt(t, again, r.Tx); got != r {
				t.Errorf("receipt %+v, want %+v", got, r)
			}
		}
		if r, ok, err := again.Receipt(TxID(digest.Of("none"))); ok || err != nil {
			t.Errorf("receipt of no transaction: %+v, %v", r, err)
		}
	}
}

// TestExecutionReadsNoOldRecords: execution gives the same headers without block records, history, and windows of the
// id index before the recent ones: each replica may delete them when it likes.
func TestExecutionReadsNoOldRecords(t *testing.T) {
	config := testConfig(2, 40, 100)
	whole, store := open(t, kv.NewMem(), config), kv.NewMem()
	pruned := open(t, store, config)
	var txs []*Tx
	now := uint64(genesisTime)
	for k := range 30 {
		for fee := range uint64(3) { // the second and the third are refused
			txs = append(txs, rivalOf(t, genesisOut(0, k), 100, fee, now+horizon))
		}
		if k > 0 {
			txs = append(txs, rivalOf(t, Outpoint{txs[len(txs)-6].ID(), 0}, 100-uint64(k%2), 3, now+horizon/2))
		}
		in := append(slices.Clone(txs[max(0, len(txs)-9):]), txs[k%len(txs)])
		if a, b := run(t, whole, now, in...), run(t, pruned, now, in...); a.Header != b.Header {
			t.Fatalf("headers of height %d differ", a.Header.Height)
		}
		prune(t, store, config.window(now))
		pruned = open(t, store, config)
		now += horizon / 3
	}
}

// prune deletes everything that execution in a window does not read.
func prune(t failer, store kv.Store, window uint32) {
	var b kv.Batch
	var mem arena
	for _, r := range [][2][]byte{
		{{keyHeader}, {keyHeader + 1}}, {{keyBlock}, {keyBlock + 1}}, {{keyHistory}, {keyHistory + 1}},
		{{keyID}, mem.idKeyOf(window-recentWindows+1, TxID{})},
	} {
		if err := store.Scan(r[0], r[1], false, func(key, _ []byte) bool {
			b.Delete(append([]byte(nil), key...))
			return true
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Apply(&b, true); err != nil {
		t.Fatal(err)
	}
}
