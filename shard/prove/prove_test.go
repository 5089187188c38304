package prove

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/ledger"
	"bdtnode/shard"
	"bdtnode/shard/proof"
)

var write = flag.Bool("proof.write", false, "write the examples of proofs in shard/proof/testdata again")

// outcome is a transaction with its expected proof.
type outcome struct {
	name    string
	tx      *ledger.Tx
	shards  []uint16
	settled bool
	reason  ledger.Reason
	results map[uint16][]ledger.Verdict
}

// history makes blocks with transactions of every kind, and returns those with their results.
func (w *world) history() []outcome {
	const spent, settled, rejected, returned = ledger.VerdictSpent, ledger.VerdictSettled, ledger.VerdictRejected, ledger.VerdictReturned
	inside, twice := w.tx(0, []uint16{0}, []uint16{0}), w.tx(0, []uint16{0}, []uint16{0, 0})
	between, three := w.tx(1, []uint16{0}, []uint16{1}), w.tx(2, []uint16{0, 1}, []uint16{2})
	taken, late := w.tx(3, []uint16{1}, []uint16{1}), w.tx(3, []uint16{0, 1}, []uint16{2})
	w.order(0, false, inside, twice, between, three, w.tx(4, []uint16{0}, []uint16{0}))
	w.order(1, false, taken)
	w.order(0, false, late)
	w.settle()
	return []outcome{
		{"inside-settled", inside, []uint16{0}, true, 0, map[uint16][]ledger.Verdict{0: {settled}}},
		{"inside-rejected", twice, []uint16{0}, false, ledger.ReasonConsumed, map[uint16][]ledger.Verdict{0: {rejected}}},
		{"across-settled", between, []uint16{0, 1}, true, 0, map[uint16][]ledger.Verdict{0: {spent, settled}, 1: {settled}}},
		{"three-settled", three, []uint16{0, 1, 2}, true, 0, map[uint16][]ledger.Verdict{0: {spent, settled}, 1: {spent, settled}, 2: {settled}}},
		{"returned", late, []uint16{0, 1, 2}, false, ledger.ReasonConsumed, map[uint16][]ledger.Verdict{0: {spent, returned}, 1: {rejected}, 2: {rejected}}},
	}
}

// TestProofsOfRealLedgers: the ledgers of three shards execute transactions of every kind. Each has a proof, which the
// check accepts with the result that the ledgers have, and which it refuses without the part of any shard.
func TestProofsOfRealLedgers(t *testing.T) {
	w := newWorld(t, "network")
	for _, o := range w.history() {
		t.Run(o.name, func(t *testing.T) {
			p, err := w.prove(o.tx.ID(), o.shards...)
			if err != nil {
				t.Fatal(err)
			}
			again, err := proof.Decode(p.Encode())
			if err != nil {
				t.Fatal(err)
			}
			f, err := again.Verify(w.network)
			if err != nil {
				t.Fatal(err)
			}
			if f.Settled != o.settled || f.Reason != uint8(o.reason) || f.Tx.ID != o.tx.ID() {
				t.Errorf("settled %t, reason %d", f.Settled, f.Reason)
			}
			for _, s := range f.Shards {
				var got []ledger.Verdict
				for _, r := range s.Results {
					got = append(got, ledger.Verdict(r.Verdict))
					h, _, _ := w.chains[s.Shard].Header(r.Height)
					if r.TimeMS != h.TimeMS || r.Header != h.Digest() || !slices.Equal(r.Signers, []uint16{1, 2}) {
						t.Errorf("shard %d: %+v is not of block %d", s.Shard, r, h.Height)
					}
				}
				if !slices.Equal(got, o.results[s.Shard]) {
					t.Errorf("shard %d: %v, want %v", s.Shard, got, o.results[s.Shard])
				}
			}
			for _, without := range o.shards {
				if len(o.shards) == 1 {
					break
				}
				rest := slices.DeleteFunc(slices.Clone(o.shards), func(s uint16) bool { return s == without })
				if p, err := w.prove(o.tx.ID(), rest...); err != nil {
					t.Error(err)
				} else if _, err := p.Verify(w.network); err == nil {
					t.Errorf("accepted without the part of shard %d", without)
				}
			}
			if len(o.shards) > 1 {
				backwards := slices.Clone(o.shards)
				slices.Reverse(backwards)
				if q, err := w.prove(o.tx.ID(), backwards...); err != nil || !slices.Equal(q.Encode(), p.Encode()) {
					t.Errorf("the order of the parts changes the proof: %v", err)
				}
			}
			example(t, o.name+".proof", p.Encode())
		})
	}
	example(t, "genesis.json", w.file)
}

// example compares a file of shard/proof/testdata with its content. These files stay valid for ever, so they are written
// anew only with another version of a proof or of a header.
func example(t *testing.T, name string, content []byte) {
	t.Helper()
	path := filepath.Join("..", "proof", "testdata", name)
	if *write {
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(path); err != nil || !slices.Equal(want, content) {
		t.Errorf("%s differs from the content of this run: %v", path, err)
	}
}

// TestNoProofYet: the reasons why there is no part of a proof.
func TestNoProofYet(t *testing.T) {
	w := newWorld(t, "network")
	tx := w.tx(0, []uint16{0}, []uint16{1})
	part := func(s uint16) error { _, err := w.prove(tx.ID(), s); return err }
	if err := part(0); !errors.Is(err, ErrNoReceipt) {
		t.Errorf("not ordered: %v", err)
	}
	two := w.tx(1, []uint16{0, 1}, []uint16{1})
	w.order(0, false, two)
	if _, err := w.prove(two.ID(), 0); !errors.Is(err, ErrOpen) {
		t.Errorf("in escrow: %v", err)
	}
	w.order(0, false, tx)
	if err := part(1); !errors.Is(err, ErrNoReceipt) {
		t.Errorf("not known in the shard: %v", err)
	}
	w.settle()
	w.chains[1].pending = true
	if err := part(1); !errors.Is(err, ErrNotCertified) {
		t.Errorf("not certified: %v", err)
	}
	w.chains[1].pending = false
	if err := part(1); err != nil {
		t.Error(err)
	}
}

// TestFormatsAgree: the formats that package proof reads by itself are those that the ledger and the genesis write.
func TestFormatsAgree(t *testing.T) {
	if proof.HeaderSize != ledger.HeaderSize || proof.MaxTxBytes != ledger.MaxTxBytes || proof.MaxShards != ledger.MaxShards {
		t.Error("bounds differ")
	}
	for _, v := range []ledger.Verdict{1, 2, 3, 4} {
		if proof.Verdict(v).String() != v.String() {
			t.Errorf("verdict %d is %s and %s", v, v, proof.Verdict(v))
		}
	}
	w := newWorld(t, "network")
	rapid.Check(t, func(t *rapid.T) {
		var owners []sig.Signer
		body := ledger.Body{Network: w.genesis.ID(), ExpiryMS: rapid.Uint64().Draw(t, "expiry"), Fee: rapid.Uint64().Draw(t, "fee")}
		for i := range rapid.IntRange(1, 64).Draw(t, "inputs") {
			k := w.owners[rapid.IntRange(0, shards-1).Draw(t, "shard")][rapid.IntRange(0, 1).Draw(t, "owner")]
			owners = append(owners, k)
			o := ledger.Outpoint{Tx: ledger.TxID(digest.Of("test/outpoint/1", []byte{byte(i)})), Index: rapid.Uint16().Draw(t, "index")}
			body.Inputs = append(body.Inputs, ledger.Input{Outpoint: o, Key: k.Public(), Amount: rapid.Uint64().Draw(t, "amount")})
		}
		for range rapid.IntRange(1, 64).Draw(t, "outputs") {
			a := ledger.Address(digest.Of("test/address/1", []byte(rapid.StringN(0, 4, -1).Draw(t, "address"))))
			body.Outputs = append(body.Outputs, ledger.Output{Address: a, Amount: rapid.Uint64().Draw(t, "amount")})
		}
		tx, err := body.Sign(owners...)
		if err != nil {
			t.Fatal(err)
		}
		f, err := (&proof.Proof{Tx: tx.Encode()}).VerifyBlocks(w.network)
		if err != nil {
			t.Fatal(err)
		}
		sameTx(t, w, tx, f)
	})
}

func sameTx(t *rapid.T, w *world, tx *ledger.Tx, f *proof.Finding) {
	x := &f.Tx
	if x.ID != tx.ID() || x.ExpiryMS != tx.ExpiryMS || x.Fee != tx.Fee || len(x.Inputs) != len(tx.Inputs) || len(x.Outputs) != len(tx.Outputs) {
		t.Fatalf("%+v is not %+v", x, tx.Body)
	}
	for i, in := range tx.Inputs {
		owner := ledger.AddressOf(in.Key)
		if want := (proof.Input{Tx: in.Outpoint.Tx, Index: in.Outpoint.Index, Owner: owner, Amount: in.Amount, Shard: w.genesis.Home(owner)}); x.Inputs[i] != want {
			t.Fatalf("input %d: %+v, want %+v", i, x.Inputs[i], want)
		}
	}
	for i, out := range tx.Outputs {
		if want := (proof.Output{Owner: out.Address, Amount: out.Amount, Shard: w.genesis.Home(out.Address)}); x.Outputs[i] != want {
			t.Fatalf("output %d: %+v, want %+v", i, x.Outputs[i], want)
		}
	}
	p := tx.Shards(w.genesis.Home)
	for _, s := range f.Shards {
		if s.Spends != p.Inputs.Has(s.Shard) || s.Creates != p.Outputs.Has(s.Shard) {
			t.Fatalf("shard %d: %+v", s.Shard, s)
		}
	}
	if len(f.Shards) != p.All().Len() {
		t.Fatalf("%d shards, want %d", len(f.Shards), p.All().Len())
	}
}

// TestGenesisAgrees: the id that package proof computes is that of the genesis, for every parameter and any content.
func TestGenesisAgrees(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := shard.Genesis{
			Version: shard.GenesisVersion, Name: rapid.String().Draw(t, "name"), TimeMS: rapid.Uint64().Draw(t, "time"),
			Consensus: rapid.SampledFrom([]string{shard.ConsensusBDT, shard.ConsensusDumbo}).Draw(t, "consensus"),
			HorizonMS: rapid.Uint64().Draw(t, "horizon"), Parameters: shard.DefaultParameters(),
		}
		for _, p := range []*uint64{&g.Parameters.LeastFee, &g.Parameters.StateInterval, &g.Parameters.Retain, &g.Parameters.ProtocolVersion, &g.Parameters.Window} {
			if rapid.Bool().Draw(t, "set") {
				*p = rapid.Uint64().Draw(t, "value")
			}
		}
		for _, p := range []*string{&g.Parameters.Signatures, &g.Parameters.Ledger} {
			if rapid.Bool().Draw(t, "set") {
				*p = rapid.String().Draw(t, "value")
			}
		}
		for s := range rapid.IntRange(1, 3).Draw(t, "shards") {
			var spec shard.Spec
			for i := range rapid.IntRange(4, 9).Draw(t, "members") {
				m := shard.Member{Key: sig.PublicKey(digest.Of("test/key/1", []byte{byte(s), byte(i)})), Peer: rapid.String().Draw(t, "peer")}
				copy(m.Coin[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "coin"))
				spec.Members = append(spec.Members, m)
			}
			g.Shards = append(g.Shards, spec)
		}
		for range rapid.IntRange(0, 3).Draw(t, "allocations") {
			g.Allocations = append(g.Allocations, shard.Allocation{Amount: rapid.Uint64().Draw(t, "amount"), Outputs: rapid.Uint32().Draw(t, "outputs")})
		}
		file, err := json.Marshal(&g)
		if err != nil {
			t.Fatal(err)
		}
		// JSON replaces bytes that are no UTF-8, so the genesis is the one that the file has.
		var read shard.Genesis
		if err := json.Unmarshal(file, &read); err != nil {
			t.Fatal(err)
		}
		n, err := proof.ReadGenesis(file)
		if err != nil || n.ID() != read.ID() || n.Shards() != len(g.Shards) {
			t.Fatalf("%v: %x, want %s", err, n.ID(), read.ID())
		}
	})
}
