package ledger

import (
	"context"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
	"bdtnode/merkle"
)

func TestPagesHaveEachEntryOnce(t *testing.T) {
	s := open(t, kv.NewMem(), testConfig(1, 25, 10))
	for k := range 6 {
		run(t, s, genesisTime+uint64(k), pay(t, 0, 10, []Outpoint{genesisOut(0, k)}, 1, Output{addressOf(0), 4}, Output{addressOf(0), 5}))
	}
	for _, limit := range []int{1, 3, 31, 32, MaxPage + 5} {
		seen := make(map[Outpoint]bool)
		var heights []uint64
		page := Page{Limit: limit, HistoryLimit: limit}
		for {
			acc, err := s.Account(addressOf(0), page)
			if err != nil || len(acc.Outputs) > limit || len(acc.History) > limit || acc.Count != 31 {
				t.Fatalf("%+v, %v", acc, err)
			}
			for _, u := range acc.Outputs {
				if seen[u.Outpoint] {
					t.Fatalf("%v twice", u.Outpoint)
				}
				seen[u.Outpoint] = true
			}
			for _, h := range acc.History {
				heights = append(heights, h.Height)
			}
			page.Cursor, page.Older = acc.Next, acc.Older
			if acc.Next == "" {
				page.Limit = 0
			}
			if acc.Older == "" {
				page.HistoryLimit = 0
			}
			if acc.Next == "" && acc.Older == "" {
				break
			}
		}
		if len(seen) != 31 || len(heights) != 7 {
			t.Fatalf("limit %d: %d outputs, %d entries", limit, len(seen), len(heights))
		}
		for i := range heights {
			if heights[i] != uint64(6-i) {
				t.Fatalf("history in the order %v", heights)
			}
		}
	}
	for _, bad := range []Page{{Cursor: "zz"}, {Cursor: "00"}, {Older: "x"}, {Older: "0"}, {Older: "-1"}} {
		if _, err := s.Account(addressOf(0), bad); !errors.Is(err, ErrBadCursor) {
			t.Errorf("page %+v: %v", bad, err)
		}
	}
	if acc, err := s.Account(addressOf(77), Page{Limit: 5, HistoryLimit: 5}); err != nil || acc.Balance != 0 || len(acc.Outputs) != 0 {
		t.Errorf("an unknown address: %+v, %v", acc, err)
	}
}

func TestAuditFindsAMissingOutput(t *testing.T) {
	store := kv.NewMem()
	s := open(t, store, testConfig(1, 9000, 1))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.Audit(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled audit: %v", err)
	}
	var b kv.Batch
	b.Delete(new(arena).coinKey(addressOf(0), genesisOut(0, 5)))
	if err := store.Apply(&b, true); err != nil {
		t.Fatal(err)
	}
	if a, err := s.Audit(context.Background()); err != nil || a.Conserved() {
		t.Errorf("an output is missing, but the audit returned %+v, %v", a, err)
	}
}

func TestReceiptProofs(t *testing.T) {
	s := open(t, kv.NewMem(), testConfig(1, 9, 100))
	var txs []*Tx
	for k := range 9 {
		txs = append(txs, pay(t, 0, 100, []Outpoint{genesisOut(0, k)}, 0, Output{addressOf(1), 100}))
	}
	b := run(t, s, genesisTime, txs...)
	leaves := make([]digest.Digest, len(b.Receipts))
	for i := range b.Receipts {
		leaves[i] = b.Receipts[i].Leaf()
	}
	for i, r := range b.Receipts {
		proof := merkle.Prove(leaves, i)
		if !r.Prove(&b.Header, proof, 9) {
			t.Errorf("receipt %d does not verify", i)
		}
		r.TimeMS++
		if r.Prove(&b.Header, proof, 9) {
			t.Errorf("a changed receipt %d verifies", i)
		}
	}
}

// FuzzCursors: no cursor of a client makes a reading of it panic, and an accepted one has one text.
func FuzzCursors(f *testing.F) {
	f.Add("17")
	f.Add(strings.Repeat("0a", outpointSize))
	f.Fuzz(func(t *testing.T, text string) {
		if b, err := parseOutputsCursor(text); err == nil && (hex.EncodeToString(b) != strings.ToLower(text) || len(b) != 0 && len(b) != outpointSize) {
			t.Errorf("%q as a cursor of outputs: %x", text, b)
		}
		if n, err := parseHistoryCursor(text); err == nil && (n == 0 || text != "" && strconv.FormatUint(n, 10) != strings.TrimLeft(text, "+0")) {
			t.Errorf("%q as a cursor of the history: %d", text, n)
		}
	})
}
