package ledger

import (
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
	"bdtnode/internal/kv/kvtest"
)

// randomChain makes blocks of transfers that spend random outputs, spent ones too, with block times that pass windows of
// the id index.
func randomChain(t failer, random *rand.Rand, people, outputs, blocks int) (chain []CommittedBlock, txs []*Tx) {
	type owned struct {
		o      Outpoint
		amount uint64
		owner  int
	}
	var known []owned
	for p := range people {
		for k := range outputs {
			known = append(known, owned{genesisOut(p, k), 100, p})
		}
	}
	now := uint64(genesisTime)
	for height := range blocks {
		in := CommittedBlock{Height: uint64(height + 1), Epoch: 1, Slot: uint64(height + 1), TimeMS: now, Digest: digest.Of("b"), Payloads: []*Payload{{}}}
		for range random.IntN(12) {
			from, to := known[random.IntN(len(known))], random.IntN(people)
			b := Body{Network: testNet, ExpiryMS: now + uint64(random.IntN(horizon)), Inputs: []Input{{from.o, signer(from.owner).Public(), from.amount}}}
			if from.amount == 1 {
				b.Outputs = []Output{{addressOf(to), 1}}
			} else {
				b.Outputs = []Output{{addressOf(to), from.amount / 2}, {addressOf(from.owner), from.amount - from.amount/2}}
			}
			tx := signed(t, b, from.owner)
			for i, out := range tx.Outputs {
				known = append(known, owned{Outpoint{tx.ID(), uint16(i)}, out.Amount, []int{to, from.owner}[i]})
			}
			in.Payloads[0].Txs = append(in.Payloads[0].Txs, tx)
			txs = append(txs, tx)
		}
		chain = append(chain, in)
		now += uint64([]int{0, 1, 1000, horizon / 3}[random.IntN(4)])
	}
	return chain, txs
}

// TestCrashesOfTheWindow executes a chain on a store with a small window, which crashes at random moments, also while
// tables are being written. The replica executes the lost blocks again: headers, accounts and receipts are those of a
// replica that never crashed. The state after a crash is not older than the last flush.
func TestCrashesOfTheWindow(t *testing.T) {
	const people, outputs, blocks = 5, 20, 60
	for seed := range uint64(12) {
		random := rand.New(rand.NewPCG(seed, 9))
		chain, txs := randomChain(t, random, people, outputs, blocks)
		config := testConfig(people, outputs, 100)
		reference := open(t, kv.NewMem(), config)
		config.CachedOutputs = 7
		window := kv.WindowOptions{Keys: 1 + random.IntN(150), Groups: KeyGroups()}
		fs := kvtest.NewCrashFS()
		start := func() (*kv.Window, *State) {
			w, err := kv.OpenWindow("ledger", kv.Options{FS: fs}, window)
			if err != nil {
				t.Fatal(err)
			}
			s := open(t, w, config)
			s.block.prefetchLeast = 1 + int(seed%2)*1000
			return w, s
		}
		w, s := start()
		flushed, lost := uint64(0), 0
		for _, in := range chain {
			want, err := reference.Execute(in)
			if err != nil {
				t.Fatal(err)
			}
			for s.Height() < in.Height {
				got, err := s.Execute(chain[s.Height()])
				if err != nil {
					t.Fatal(err)
				}
				if got.Header.Height == in.Height && got.HeaderDigest != want.HeaderDigest {
					t.Fatalf("seed %d: headers of height %d differ", seed, in.Height)
				}
			}
			switch random.IntN(8) {
			case 0:
				if err := s.Flush(); err != nil {
					t.Fatal(err)
				}
				if flushed, err = s.FlushedHeight(); err != nil || flushed != in.Height {
					t.Fatalf("seed %d: height %d survives after a flush at %d, %v", seed, flushed, in.Height, err)
				}
			case 1:
				after := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: random})
				if err := w.Close(); err != nil {
					t.Fatal(err)
				}
				fs = after
				if w, s = start(); s.Height() < flushed {
					t.Fatalf("seed %d: height %d after a crash, %d was flushed", seed, s.Height(), flushed)
				}
				lost += int(in.Height - s.Height())
			}
		}
		if lost == 0 {
			t.Errorf("seed %d: no crash lost a block, so nothing was tested", seed)
		}
		for s.Height() < blocks {
			if _, err := s.Execute(chain[s.Height()]); err != nil {
				t.Fatal(err)
			}
		}
		compareStates(t, reference, s, people, txs)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// compareStates compares the headers and queries of two replicas.
func compareStates(t *testing.T, a, b *State, people int, txs []*Tx) {
	t.Helper()
	for height := range a.Height() + 1 {
		x, _, _ := a.Header(height)
		y, ok, err := b.Header(height)
		if x != y || !ok || err != nil {
			t.Fatalf("headers of height %d differ: %+v, %+v, %v", height, x, y, err)
		}
	}
	for p := range people {
		for _, page := range []Page{{Limit: MaxPage, HistoryLimit: MaxPage}, {Limit: 3, HistoryLimit: 3, Older: "5"}} {
			x, _ := a.Account(addressOf(p), page)
			y, err := b.Account(addressOf(p), page)
			if !reflect.DeepEqual(x, y) || err != nil {
				t.Fatalf("person %d: %+v, %+v, %v", p, x, y, err)
			}
		}
	}
	for _, tx := range txs {
		x, has, _ := a.Receipt(tx.ID())
		y, ok, err := b.ReceiptOf(tx)
		if x != y || ok != has || err != nil {
			t.Fatalf("receipts %+v %v, %+v %v, %v", x, has, y, ok, err)
		}
	}
	x, _ := a.Audit(t.Context())
	if y, err := b.Audit(t.Context()); x != y || err != nil || !y.Conserved() {
		t.Fatalf("audits %+v, %+v, %v", x, y, err)
	}
}
