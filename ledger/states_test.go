package ledger

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
	"bdtnode/merkle"
)

const testInterval = 3

// recordsOf copies the records of a state.
func recordsOf(t failer, s *States, height uint64) map[string]string {
	t.Helper()
	x, ok, err := s.Open(height)
	if err != nil || !ok {
		t.Fatalf("state %d: %v %v", height, ok, err)
	}
	out := make(map[string]string)
	err = x.Each(func(key, value []byte) (bool, error) {
		out[string(key)] = string(value)
		return true, nil
	})
	if err := errors.Join(err, x.Close()); err != nil {
		t.Fatal(err)
	}
	return out
}

// finish computes all roots that are late.
func (s *States) finish(t failer) {
	t.Helper()
	for _, h := range s.Late() {
		if err := s.compute(context.Background(), h); err != nil {
			t.Fatal(err)
		}
	}
}

// chainOf draws blocks of transactions, valid or not, with times that pass windows.
func chainOf(t *rapid.T, blocks int) (Config, []CommittedBlock) {
	const people, outputs, amount = 4, 5, 1000
	m := &model{unspent: make(map[Outpoint]Output), made: make(map[TxID]bool)}
	outs := make(map[Outpoint]Output)
	var known []Outpoint
	for p := range people {
		for k := range outputs {
			outs[genesisOut(p, k)] = Output{addressOf(p), amount}
			known = append(known, genesisOut(p, k))
		}
	}
	var chain []CommittedBlock
	now := uint64(genesisTime)
	for h := 1; h <= blocks; h++ {
		now += uint64(rapid.SampledFrom([]int{0, 1, 30_000, 200_000, horizon + 1}).Draw(t, "pass"))
		in := CommittedBlock{Height: uint64(h), Epoch: 1, Slot: uint64(h), TimeMS: now, Cut: fmt.Appendf(nil, "cut %d", h), Digest: digest.Of("b")}
		p := &Payload{}
		for range rapid.IntRange(0, 4).Draw(t, "txs") {
			tx := m.drawTx(t, known, outs, people, now)
			for i, out := range tx.Outputs {
				outs[Outpoint{tx.ID(), uint16(i)}] = out
				known = append(known, Outpoint{tx.ID(), uint16(i)})
			}
			p.Txs = append(p.Txs, tx)
		}
		in.Payloads = []*Payload{p}
		chain = append(chain, in)
	}
	c := testConfig(people, outputs, amount)
	c.StateInterval = testInterval
	return c, chain
}

// TestRootsAreEqualOnReplicas: all multiples of the interval have a root, which is equal on a replica that computes each at
// once, one that computes none until execution has to, and one that crashes at random, loses all that was not on disk, and
// computes roots at random. At most four states are kept.
func TestRootsAreEqualOnReplicas(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		config, chain := chainOf(t, rapid.IntRange(1, 20).Draw(t, "blocks"))
		small := config
		small.CachedOutputs = 2
		store := kv.NewMem()
		prompt, slow, crashing := open(t, kv.NewMem(), config), open(t, kv.NewMem(), config), open(t, store, small)
		roots := make(map[uint64]StateRoot)
		for i := range chain {
			height := uint64(i + 1)
			for _, s := range []*State{prompt, slow} {
				if _, err := s.Execute(chain[i]); err != nil {
					t.Fatal(err)
				}
			}
			prompt.states.finish(t)
			if height%testInterval == 0 {
				r, ok, err := prompt.states.Root(height)
				if err != nil || !ok {
					t.Fatalf("height %d has no root: %v", height, err)
				}
				roots[height] = r
			}
			for crashing.Height() < height {
				if _, err := crashing.Execute(chain[crashing.Height()]); err != nil {
					t.Fatal(err)
				}
				switch rapid.IntRange(0, 5).Draw(t, "step") {
				case 0:
					store = store.Crash(rapid.IntRange(0, store.Unsynced()).Draw(t, "keep"))
					crashing = open(t, store, small)
				case 1:
					crashing.states.finish(t)
				case 2:
					if err := crashing.Flush(); err != nil {
						t.Fatal(err)
					}
				}
			}
			for _, s := range []*State{prompt, slow, crashing} {
				if kept, err := s.states.kept.Kept(); err != nil || len(kept) > keptStates+lateStates {
					t.Fatalf("states %v are kept, %v", kept, err)
				}
			}
		}
		for _, s := range []*State{slow, crashing} {
			s.states.finish(t)
			for height, want := range roots {
				if got, ok, err := s.states.Root(height); err != nil || !ok || got != want {
					t.Fatalf("height %d has root %+v %v %v, want %+v", height, got, ok, err, want)
				}
			}
			if last, ok, err := s.states.Last(); err != nil || ok != (len(roots) > 0) || ok && last != roots[slices.Max(slices.Collect(maps.Keys(roots)))] {
				t.Fatalf("the newest root is %+v %v %v", last, ok, err)
			}
		}
	})
}

// TestAStateIsAllThatExecutionReads: a ledger that has nothing but the records under the root of a state executes all later
// blocks with the same headers. So the root covers everything on which execution depends, and a change of it changes a
// header or an input of the root.
func TestAStateIsAllThatExecutionReads(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		config, chain := chainOf(t, rapid.IntRange(testInterval, 16).Draw(t, "blocks"))
		s := open(t, kv.NewMem(), config)
		for i := range chain {
			if _, err := s.Execute(chain[i]); err != nil {
				t.Fatal(err)
			}
		}
		s.states.finish(t)
		kept, err := s.states.kept.Kept()
		if err != nil || len(kept) == 0 {
			t.Fatalf("no state is kept: %v", err)
		}
		from := rapid.SampledFrom(kept).Draw(t, "from")
		store := kv.NewMem()
		var b kv.Batch
		for key, value := range recordsOf(t, s.states, from) {
			b.Set([]byte(key), []byte(value))
		}
		if err := store.Apply(&b, false); err != nil {
			t.Fatal(err)
		}
		again := open(t, store, config)
		if again.Height() != from {
			t.Fatalf("the state at height %d has height %d", from, again.Height())
		}
		again.states.finish(t)
		want, _, _ := s.states.Root(from)
		if got, ok, err := again.states.Root(from); err != nil || !ok || got != want {
			t.Fatalf("from the records: root %+v %v, want %+v", got, err, want)
		}
		for i := from; i < uint64(len(chain)); i++ {
			out, err := again.Execute(chain[i])
			if err != nil {
				t.Fatal(err)
			}
			if want, _, err := s.Header(i + 1); err != nil || out.Header != want {
				t.Fatalf("from the state at height %d: block %d has header %+v, want %+v, %v", from, i+1, out.Header, want, err)
			}
		}
	})
}

// TestAStateDoesNotChange: a reader of a state sees the same records while blocks are executed and states are forgotten.
// Afterwards the state is gone.
func TestAStateDoesNotChange(t *testing.T) {
	dir := t.TempDir()
	store, err := kv.OpenWindow(dir, kv.Options{}, kv.WindowOptions{Keys: 20, Groups: KeyGroups()})
	if err != nil {
		t.Fatal(err)
	}
	config := testConfig(4, 5, 1000)
	config.StateInterval = testInterval
	s := open(t, store, config)
	block := func() {
		h := int(s.Height())
		run(t, s, genesisTime+uint64(h), pay(t, h%4, 1000, []Outpoint{genesisOut(h%4, h/4)}, 0, Output{addressOf((h + 1) % 4), 1000}))
		s.states.finish(t)
	}
	for range testInterval {
		block()
	}
	want := recordsOf(t, s.states, testInterval)
	x, ok, err := s.states.Open(testInterval)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	for s.Height() < 6*testInterval {
		block()
		got := make(map[string]string)
		if err := x.Each(func(key, value []byte) (bool, error) {
			got[string(key)] = string(value)
			return true, nil
		}); err != nil {
			t.Fatal(err)
		}
		if !maps.Equal(got, want) {
			t.Fatalf("at height %d the state at height %d has changed", s.Height(), testInterval)
		}
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := s.states.Open(testInterval); ok || err != nil {
		t.Fatalf("the forgotten state is still there, %v", err)
	}
	if kept, err := store.Kept(); err != nil || !slices.Equal(kept, []uint64{5 * testInterval, 6 * testInterval}) {
		t.Fatalf("states %v are kept, %v", kept, err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestRunComputesRoots: Run computes the roots of all states, also of those from before it was called, and ends with its
// context.
func TestRunComputesRoots(t *testing.T) {
	config := testConfig(2, 5, 1000)
	config.StateInterval = testInterval
	s := open(t, kv.NewMem(), config)
	for s.Height() < testInterval {
		run(t, s, genesisTime)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.States().Run(ctx) }()
	for s.Height() < 4*testInterval {
		run(t, s, genesisTime)
	}
	for len(s.States().Late()) > 0 {
		if err := s.states.compute(t.Context(), s.States().Late()[0]); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if r, ok, err := s.States().Last(); err != nil || !ok || r.Height != 4*testInterval || r.Root.IsZero() {
		t.Fatalf("the newest root is %+v %v %v", r, ok, err)
	}
}

// TestStateRootDefinition: the root is the one that its definition gives, over chunks that are as long as possible.
func TestStateRootDefinition(t *testing.T) {
	cfg := &StatesConfig{Network: testNet, Shard: 3}
	var h stateHasher
	var chunks []digest.Digest
	for c := range 3 {
		var leaves []digest.Digest
		for size := 0; ; {
			key, value := fmt.Appendf(nil, "%d/%06d", c, size), make([]byte, 1000+c)
			if size+8+len(key)+len(value) > 1<<20 {
				break
			}
			size += 8 + len(key) + len(value)
			leaves = append(leaves, digest.Of("bdt/state-record/1", []byte{0, 0, 0, byte(len(key))}, key, value))
			if cut := h.add(key, value); cut != (c > 0 && len(leaves) == 1) {
				t.Fatalf("record %s begins a chunk: %v", key, cut)
			}
		}
		chunks = append(chunks, merkle.Root(leaves))
	}
	got := h.root(cfg, 77)
	top := merkle.Root(chunks)
	want := digest.Of("bdt/state-root/1", testNet[:], []byte{0, 3}, []byte{0, 0, 0, 0, 0, 0, 0, 77},
		[]byte{0, 0, 0, 0, 0, 0, byte(got.Records >> 8), byte(got.Records)}, top[:])
	if got.Root != want || got.Chunks != 3 || got.Height != 77 {
		t.Fatalf("root %+v, want %s", got, want)
	}
}
