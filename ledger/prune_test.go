package ledger

import (
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
)

const testRetain = 2 * testInterval

// oneByOne draws blocks, one after another, in which the only account pays itself: its history has an entry for each settled
// payment.
type oneByOne struct {
	last   Outpoint
	height uint64
	now    uint64
	all    []*Tx
}

func (o *oneByOne) next(t failer, pass uint64) CommittedBlock {
	o.height++
	o.now += pass
	tx := signed(t, Body{Network: testNet, ExpiryMS: o.now + horizon, Inputs: []Input{{o.last, signer(0).Public(), 1000}}, Outputs: []Output{{addressOf(0), 1000}}}, 0)
	o.last = Outpoint{tx.ID(), 0}
	o.all = append(o.all, tx)
	return CommittedBlock{
		Height: o.height, Epoch: 1, Slot: o.height, TimeMS: o.now, Cut: fmt.Appendf(nil, "cut %d", o.height), Digest: digest.Of("b"),
		Payloads: []*Payload{{Txs: []*Tx{tx}}},
	}
}

// TestPruningChangesNoResult: of two replicas, one deletes old data and crashes at random. All headers and roots are equal.
func TestPruningChangesNoResult(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		config, chain := chainOf(t, rapid.IntRange(10, 40).Draw(t, "blocks"))
		pruning := config
		pruning.Retain = testRetain
		store := kv.NewMem()
		all, some := open(t, kv.NewMem(), config), open(t, store, pruning)
		for i := range chain {
			if _, err := all.Execute(chain[i]); err != nil {
				t.Fatal(err)
			}
			for some.Height() <= uint64(i) {
				out, err := some.Execute(chain[some.Height()])
				if err != nil {
					t.Fatal(err)
				}
				if want, _, err := all.Header(out.Header.Height); err != nil || out.Header != want {
					t.Fatalf("block %d has header %+v, without pruning %+v, %v", out.Header.Height, out.Header, want, err)
				}
				if rapid.IntRange(0, 5).Draw(t, "crash") == 0 {
					store = store.Crash(rapid.IntRange(0, store.Unsynced()).Draw(t, "keep"))
					some = open(t, store, pruning)
				}
			}
		}
		all.states.finish(t)
		some.states.finish(t)
		for h := uint64(testInterval); h <= uint64(len(chain)); h += testInterval {
			want, _, _ := all.states.Root(h)
			if got, ok, err := some.states.Root(h); err != nil || !ok || got != want {
				t.Fatalf("height %d has root %+v %v, without pruning %+v", h, got, err, want)
			}
		}
	})
}

// TestAnswersAreTheSameOrPruned: every query has the same answer with and without pruning, or the error names the limit. The
// limit is that of the definition, and is the same after a restart. Receipts are there exactly from the limit on.
func TestAnswersAreTheSameOrPruned(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		config := testConfig(1, 1, 1000)
		config.StateInterval = testInterval
		pruning := config
		pruning.Retain = testRetain
		store := kv.NewMem()
		all, some := open(t, kv.NewMem(), config), open(t, store, pruning)
		chain := &oneByOne{last: genesisOut(0, 0), now: genesisTime}
		times := []uint64{genesisTime}
		for range rapid.IntRange(1, 90).Draw(t, "blocks") {
			in := chain.next(t, uint64(rapid.SampledFrom([]int{0, 1, 200_000, horizon + 1}).Draw(t, "pass")))
			times = append(times, in.TimeMS)
			for _, s := range []*State{all, some} {
				if out, err := s.Execute(in); err != nil || len(out.Receipts) != 1 || out.Receipts[0].Verdict != VerdictSettled {
					t.Fatalf("%+v %v", out, err)
				}
			}
		}
		if rapid.Bool().Draw(t, "restart") {
			some = open(t, store.Crash(store.Unsynced()), pruning)
		}
		height := chain.height
		limit := uint64(0)
		if newest := height - height%testInterval; newest > testRetain {
			window := func(h uint64) uint64 { return times[h] / horizon }
			w := min(window(newest-testRetain), window(newest)-2)
			for window(limit) < w {
				limit++
			}
		}
		if got := some.PrunedBelow(); got != limit {
			t.Fatalf("at height %d, pruned below %d, want %d", height, got, limit)
		}
		pruned := func(h uint64, err error) bool {
			gone := (*Pruned)(nil)
			if is := errors.As(err, &gone); is != (h < limit) || is && gone.Below != limit || !is && err != nil {
				t.Fatalf("block %d: %v, pruned below %d", h, err, limit)
			}
			return h < limit
		}
		for i, tx := range chain.all {
			h := uint64(i + 1)
			want, _, err := all.Receipt(tx.ID())
			if err != nil {
				t.Fatal(err)
			}
			for _, read := range []func() (Receipt, bool, error){
				func() (Receipt, bool, error) { return some.Receipt(tx.ID()) },
				func() (Receipt, bool, error) { return some.ReceiptOf(tx) },
			} {
				if got, ok, err := read(); err != nil || ok != (h >= limit) || ok && got != want {
					t.Fatalf("receipt of block %d: %+v %v %v, want %+v, pruned below %d", h, got, ok, err, want, limit)
				}
			}
			ids, _, err := some.BlockTxs(h)
			if !pruned(h, err) && (len(ids) != 1 || ids[0] != tx.ID()) {
				t.Fatalf("block %d has %v", h, ids)
			}
			receipts, _, _, err := some.BlockReceipts(h, 0, 10)
			if !pruned(h, err) && (len(receipts) != 1 || receipts[0] != want) {
				t.Fatalf("block %d has %v", h, receipts)
			}
			_, err = some.BadBatches(h)
			pruned(h, err)
			// Entry 0 of the history is the genesis, and entry h that of block h.
			list, err := some.Changes(addressOf(0), h, 1)
			if !pruned(h, err) && (len(list) != 1 || list[0].Tx != tx.ID()) {
				t.Fatalf("entry %d is %+v", h, list)
			}
			if h >= limit {
				if n, err := some.FirstChange(addressOf(0), h); err != nil || n != h {
					t.Fatalf("the first change at height %d is %d, %v", h, n, err)
				}
			}
			// A transaction that is ordered again gets no second receipt, whether its receipt is deleted or not.
			if x, err := some.Inspect(tx, times[height]); err != nil || x.Refusal == nil {
				t.Fatalf("transaction %d could settle again: %+v %v", h, x, err)
			}
		}
		page := Page{Limit: 10, HistoryLimit: rapid.IntRange(1, 100).Draw(t, "page")}
		var got []HistoryEntry
		for {
			a, err := some.Account(addressOf(0), page)
			if err != nil || a.Balance != 1000 || len(a.Outputs) != 1 || a.Changed != (Change{height, height + 1}) {
				t.Fatalf("%+v %v", a, err)
			}
			got = append(got, a.History...)
			if a.PrunedBelow != 0 && (a.PrunedBelow != limit || a.Older != "") {
				t.Fatalf("%+v, pruned below %d", a, limit)
			}
			if page.Older = a.Older; a.Older == "" {
				if (a.PrunedBelow != 0) != (limit > 0) {
					t.Fatalf("the history ends with %+v, pruned below %d", a, limit)
				}
				break
			}
		}
		if want := height - limit + 1; uint64(len(got)) != want {
			t.Fatalf("%d history entries, want %d", len(got), want)
		}
	})
}

// TestPrunedDataIsDeleted: the deleted records leave the disk, and headers, outputs and accounts stay. A restart sees the same.
func TestPrunedDataIsDeleted(t *testing.T) {
	dir := t.TempDir()
	openStore := func() *kv.Window {
		store, err := kv.OpenWindow(dir, kv.Options{}, kv.WindowOptions{Groups: KeyGroups()})
		if err != nil {
			t.Fatal(err)
		}
		return store
	}
	config := testConfig(1, 1, 1000)
	config.StateInterval, config.Retain = testInterval, testRetain
	store := openStore()
	s := open(t, store, config)
	chain := &oneByOne{last: genesisOut(0, 0), now: genesisTime}
	for range 20 * testInterval {
		if _, err := s.Execute(chain.next(t, horizon)); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		limit := s.PrunedBelow()
		if limit != 20*testInterval-testRetain {
			t.Fatalf("pruned below %d", limit)
		}
		if err := s.Flush(); err != nil {
			t.Fatal(err)
		}
		count := func(prefix byte) (n uint64) {
			if err := store.Scan([]byte{prefix}, []byte{prefix + 1}, false, func(_, _ []byte) bool { n++; return true }); err != nil {
				t.Fatal(err)
			}
			return n
		}
		for prefix, want := range map[byte]uint64{
			keyHeader: chain.height + 1, keyBlock: chain.height + 1 - limit, keyCoin: 1, keyAccount: 1,
		} {
			if n := count(prefix); n != want {
				t.Errorf("prefix %d has %d keys, want %d", prefix, n, want)
			}
		}
		if n := count(keyID); n < chain.height-limit || n > 2*(chain.height-limit)+2 {
			t.Errorf("the id index has %d keys", n)
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
		store = openStore()
		s = open(t, store, config)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
}
