package paylog

import (
	"bytes"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
	"bdtnode/ledger"
)

var network = digest.Of("test/network")

func open(t rapid.TB, store kv.Store, ids int) *Log {
	t.Helper()
	l, err := Open(store, Config{Network: network, Shard: 2, GenesisTimeMS: 1000, IDs: ids})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func id(n int) []byte {
	d := digest.Of("test/id", fmt.Append(nil, n))
	return d[:]
}

// block is the block at a height with batches of encoded entries.
func block(t rapid.TB, height uint64, batches ...[]byte) ledger.CommittedBlock {
	t.Helper()
	in := ledger.CommittedBlock{Height: height, Epoch: 1, Slot: height, Digest: digest.Of("test/block", fmt.Append(nil, height)), TimeMS: 1000 + height, Cut: fmt.Append(nil, "cut", height)}
	for i, raw := range batches {
		o, err := ledger.ReadOpaque(raw)
		if err != nil {
			t.Fatal(err)
		}
		in.Payloads = append(in.Payloads, &ledger.Payload{Opaque: o})
		in.Batches = append(in.Batches, ledger.BatchID{Lane: uint16(i), Seq: height, Digest: digest.Of("test/batch", fmt.Append(nil, height, i))})
	}
	return in
}

func execute(t rapid.TB, l *Log, in ledger.CommittedBlock) *ledger.Block {
	t.Helper()
	b, err := l.Execute(in)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestExecute: the header covers the batches, the number of transactions counts payloads without those that repeat an id, and
// the records are read back.
func TestExecute(t *testing.T) {
	l := open(t, kv.NewMem(), 0)
	genesis, _, _ := l.Tip()
	first := ledger.AppendOpaque(ledger.AppendOpaque(nil, nil, []byte("a")), id(1), []byte("b"))
	second := ledger.AppendOpaque(ledger.AppendOpaque(nil, id(1), []byte("c")), nil, []byte("a"))
	b := execute(t, l, block(t, 1, first, second))
	want := []ledger.LogRepeat{{Position: 0, Of: ledger.LogPlace{Height: 1, Batch: 0, Position: 1}}}
	if len(b.Log) != 2 || len(b.Log[0].Repeated) != 0 || fmt.Sprint(b.Log[1].Repeated) != fmt.Sprint(want) {
		t.Fatalf("%+v", b.Log)
	}
	if b.Header.Txs != 3 || b.Header.Receipts != ledger.LogRoot(b.Log) || b.Header.Parent != genesis.Digest() || !b.Header.TxRoot.IsZero() || b.Header.WriteSet == genesis.WriteSet {
		t.Errorf("%+v", b.Header)
	}
	got, ok, err := l.Batches(1)
	if err != nil || !ok || fmt.Sprint(got) != fmt.Sprint(b.Log) {
		t.Errorf("%+v %v %v", got, ok, err)
	}
	if h, ok, err := l.Header(1); err != nil || !ok || h != b.Header {
		t.Errorf("%+v %v %v", h, ok, err)
	}
	empty := execute(t, l, block(t, 2))
	if empty.Header.Txs != 3 || !empty.Header.Receipts.IsZero() || len(empty.Log) != 0 {
		t.Errorf("a block without batches: %+v", empty.Header)
	}
	if got, ok, err := l.Batches(2); err != nil || !ok || len(got) != 0 {
		t.Errorf("its records: %v %v %v", got, ok, err)
	}
	if _, ok, _ := l.Batches(3); ok {
		t.Error("a block that was not executed has records")
	}
	for _, bad := range []ledger.CommittedBlock{block(t, 2), block(t, 4), {Height: 3, TimeMS: 1}} {
		if _, err := l.Execute(bad); err == nil {
			t.Errorf("block %d is executed after block 2", bad.Height)
		}
	}
	if l.Height() != 2 {
		t.Errorf("at height %d", l.Height())
	}
}

// TestHeightsAreAnnounced: a reader that waits for a block is woken by its execution.
func TestHeightsAreAnnounced(t *testing.T) {
	l := open(t, kv.NewMem(), 0)
	height, higher := l.Advanced()
	if height != 0 {
		t.Fatal(height)
	}
	execute(t, l, block(t, 1, ledger.AppendOpaque(nil, nil, []byte("x"))))
	<-higher
	if height, _ = l.Advanced(); height != 1 {
		t.Error(height)
	}
}

// TestCrashes: with crashes that lose executed blocks, executing them again gives the same headers, also when ids repeat and
// the log has forgotten some. A log that never crashed is compared.
func TestCrashes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const ids = 5
		var blocks []ledger.CommittedBlock
		for h := range uint64(rapid.IntRange(1, 30).Draw(t, "blocks")) {
			var batches [][]byte
			for range rapid.IntRange(0, 2).Draw(t, "batches") {
				var raw []byte
				for range rapid.IntRange(1, 4).Draw(t, "entries") {
					var name []byte
					if n := rapid.IntRange(0, 12).Draw(t, "id"); n > 0 {
						name = id(n)
					}
					raw = ledger.AppendOpaque(raw, name, []byte("x"))
				}
				batches = append(batches, raw)
			}
			blocks = append(blocks, block(t, h+1, batches...))
		}
		steady := open(t, kv.NewMem(), ids)
		var want []digest.Digest
		for _, in := range blocks {
			want = append(want, execute(t, steady, in).HeaderDigest)
		}
		store := kv.NewMem()
		l := open(t, store, ids)
		for l.Height() < uint64(len(blocks)) {
			h := l.Height()
			if got := execute(t, l, blocks[h]).HeaderDigest; got != want[h] {
				t.Fatalf("block %d has another header after a crash", h+1)
			}
			switch rapid.IntRange(0, 7).Draw(t, "event") {
			case 0:
				store = store.Crash(rapid.IntRange(0, store.Unsynced()).Draw(t, "kept"))
				l = open(t, store, ids)
			case 1:
				if err := l.Flush(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if l.ids.stored > 2*ids+8 || len(l.ids.known) > ids {
			t.Errorf("%d ids are stored and %d known, %d are remembered", l.ids.stored, len(l.ids.known), ids)
		}
	})
}

// TestForgottenIDs: an id is remembered until as many other ids came as the log remembers, and no longer.
func TestForgottenIDs(t *testing.T) {
	const ids = 3
	l := open(t, kv.NewMem(), ids)
	repeats := func(n int) bool {
		b := execute(t, l, block(t, l.Height()+1, ledger.AppendOpaque(nil, id(n), []byte("x"))))
		return len(b.Log[0].Repeated) == 1
	}
	for _, c := range []struct {
		id   int
		want bool
	}{{1, false}, {2, false}, {1, true}, {3, false}, {1, true}, {4, false}, {1, false}, {4, true}, {2, false}} {
		if got := repeats(c.id); got != c.want {
			t.Fatalf("id %d at height %d: repeated %v, want %v", c.id, l.Height(), got, c.want)
		}
	}
}

// TestOtherStores: the store of another network or shard is refused.
func TestOtherStores(t *testing.T) {
	store := kv.NewMem()
	open(t, store, 0)
	if _, err := Open(store, Config{Network: network, Shard: 1}); err == nil {
		t.Error("the log of another shard is opened")
	}
	if _, err := Open(store, Config{Network: digest.Of("other"), Shard: 2}); err == nil {
		t.Error("the log of another network is opened")
	}
	again := open(t, store, 0)
	if h, d, cut := again.Tip(); h.Height != 0 || h.Shard != 2 || d != h.Digest() || !bytes.Equal(cut, nil) {
		t.Errorf("%+v", h)
	}
}

// BenchmarkExecute is the cost of a payload of 250 bytes in a batch of 1 MiB at one replica: its share of checking and executing
// the batch.
func BenchmarkExecute(b *testing.B) {
	var raw []byte
	count := 0
	for len(raw) < 1<<20-300 {
		raw, count = ledger.AppendOpaque(raw, nil, make([]byte, 250)), count+1
	}
	l, err := Open(kv.NewMem(), Config{Network: network})
	if err != nil {
		b.Fatal(err)
	}
	encoded := ledger.EncodeOpaque(count, raw)
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; i += count {
		p, err := ledger.CheckPayload(ledger.OpaqueKinds(), nil, digest.Digest{}, encoded)
		if err != nil {
			b.Fatal(err)
		}
		in := ledger.CommittedBlock{Height: l.Height() + 1, TimeMS: 1, Payloads: []*ledger.Payload{p}, Batches: []ledger.BatchID{{}}}
		if _, err := l.Execute(in); err != nil {
			b.Fatal(err)
		}
	}
}

// FuzzDecodeTip: an encoding that decodes is the one of its tip.
func FuzzDecodeTip(f *testing.F) {
	x := tip{header: ledger.Header{Height: 7}, cut: []byte{1, 2, 3}}
	f.Add(x.encode())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if x, err := decodeTip(b); err == nil && !bytes.Equal(x.encode(), b) {
			t.Errorf("%x decodes, but is not the canonical encoding of the result", b)
		}
	})
}

// TestAStateIsAllThatTheLogReads: a log that has nothing but the records of a state appends all later blocks with the same
// headers, and has the same root.
func TestAStateIsAllThatTheLogReads(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := Config{Network: network, Shard: 2, GenesisTimeMS: 1000, IDs: 3, StateInterval: 3}
		open := func(s kv.Store) *Log {
			l, err := Open(s, cfg)
			if err != nil {
				t.Fatal(err)
			}
			return l
		}
		l := open(kv.NewMem())
		var chain []ledger.CommittedBlock
		for h := uint64(1); h <= 12; h++ {
			raw := ledger.AppendOpaque(nil, nil, []byte("a"))
			for range rapid.IntRange(0, 3).Draw(t, "ids") {
				raw = ledger.AppendOpaque(raw, id(rapid.IntRange(0, 9).Draw(t, "id")), []byte("b"))
			}
			chain = append(chain, block(t, h, raw))
			execute(t, l, chain[h-1])
		}
		for _, from := range []uint64{9, 12} {
			x, ok, err := l.States().Open(from)
			if err != nil || !ok {
				t.Fatal(ok, err)
			}
			var b kv.Batch
			if err := x.Each(func(key, value []byte) (bool, error) {
				b.Set(bytes.Clone(key), bytes.Clone(value))
				return true, nil
			}); err != nil {
				t.Fatal(err)
			}
			store := kv.NewMem()
			if err := store.Apply(&b, false); err != nil {
				t.Fatal(err)
			}
			again := open(store)
			for _, in := range chain[from:] {
				got := execute(t, again, in)
				if want, _, err := l.Header(in.Height); err != nil || got.Header != want {
					t.Fatalf("block %d: %+v, want %+v, %v", in.Height, got.Header, want, err)
				}
			}
		}
	})
}
