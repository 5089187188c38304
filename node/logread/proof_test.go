package logread_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/ledger"
	"bdtnode/protocols/certify"
	"bdtnode/protocols/coin"
	"bdtnode/shard"
	"bdtnode/shard/logproof"
	"bdtnode/shard/proof"
)

// fixture is a block of a log with two batches, the second of which has a repeated entry.
type fixture struct {
	network    *proof.Network
	header     ledger.Header
	signatures []proof.Signature
	batches    []ledger.LogBatch
	entries    []ledger.Opaque
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	g := shard.Genesis{Version: shard.GenesisVersion, Name: "test", TimeMS: 1, Consensus: shard.ConsensusBDT, HorizonMS: 1, Parameters: shard.DefaultParameters(), Allocations: []shard.Allocation{}}
	g.Parameters.Ledger = shard.LedgerLog
	var keys []*sig.Ed25519Key
	var spec shard.Spec
	public, _, err := coin.Deal(bytes.NewReader(bytes.Repeat([]byte{7}, 1<<12)), 4, 2)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		k, err := sig.Ed25519FromSeed(append(make([]byte, sig.SeedSize-1), byte(i+1)))
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, k)
		spec.Members = append(spec.Members, shard.Member{Key: k.Public(), Peer: fmt.Sprint("peer", i), Coin: public[i]})
	}
	g.Shards = []shard.Spec{spec}
	raw, err := json.Marshal(g)
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{}
	if f.network, err = proof.ReadGenesis(raw); err != nil {
		t.Fatal(err)
	}
	for b, size := range []int{40, 3000} {
		var raw []byte
		for i := range 9 {
			raw = ledger.AppendOpaque(raw, nil, bytes.Repeat([]byte{byte(16*b + i)}, size))
		}
		raw = ledger.AppendOpaque(raw, make([]byte, 32), []byte("identified"))
		o, err := ledger.ReadOpaque(raw)
		if err != nil {
			t.Fatal(err)
		}
		f.entries = append(f.entries, o)
		f.batches = append(f.batches, ledger.LogBatch{Lane: uint16(b), Seq: 4, Digest: digest.Of("x"), Count: uint32(o.Len()), Bytes: uint32(len(o.Raw())), Root: o.Root()})
	}
	f.batches[1].Repeated = []ledger.LogRepeat{{Position: 9, Of: ledger.LogPlace{Height: 7, Position: 9}}}
	f.header = ledger.Header{Network: g.ID(), Height: 7, TimeMS: 99, Receipts: ledger.LogRoot(f.batches)}
	c, err := g.Committee(0)
	if err != nil {
		t.Fatal(err)
	}
	for i := range c.WeakQuorum() {
		f.signatures = append(f.signatures, proof.Signature{Signer: uint16(i), Bytes: keys[i].Sign(certify.Statement(c, 7, f.header.Digest()))})
	}
	return f
}

func path(p []digest.Digest) (out [][32]byte) {
	for _, d := range p {
		out = append(out, d)
	}
	return out
}

func (f *fixture) payload(batch, position int) *logproof.Proof {
	g, index, groups, in := f.entries[batch].Prove(position)
	return &logproof.Proof{
		Header: f.header.Encode(), Signatures: f.signatures, Batch: uint32(batch), Batches: 2, Record: f.batches[batch].Append(nil), InBlock: path(ledger.ProveLogBatch(f.batches, batch)),
		Group: uint32(index), Groups: uint32(groups), First: uint32(g.First), Entries: g.Raw, InBatch: path(in.Path), Position: uint32(position),
	}
}

func (f *fixture) block() *logproof.Block {
	x := &logproof.Block{Header: f.header.Encode(), Signatures: f.signatures}
	for i := range f.batches {
		x.Batches = append(x.Batches, f.batches[i].Append(nil))
	}
	return x
}

// TestPayloads: every payload has a proof that survives its encoding. A repeated entry has none.
func TestPayloads(t *testing.T) {
	f := newFixture(t)
	for b := range f.entries {
		for i, e := range f.entries[b].Each() {
			p, err := logproof.Decode(f.payload(b, i).Encode())
			if err != nil {
				t.Fatal(err)
			}
			got, err := p.Verify(f.network)
			if b == 1 && i == 9 {
				if err == nil {
					t.Error("a repeated entry is proved")
				}
				continue
			}
			if err != nil || got.Height != 7 || got.TimeMS != 99 || int(got.Batch) != b || int(got.Position) != i || !bytes.Equal(got.Payload, e.Payload) || !bytes.Equal(got.ID, e.ID) || len(got.Signers) != 2 {
				t.Fatalf("payload %d of batch %d: %+v, %v", i, b, got, err)
			}
		}
	}
}

// TestWrongPayloadProofs: a proof with any part changed is wrong.
func TestWrongPayloadProofs(t *testing.T) {
	f := newFixture(t)
	for name, change := range map[string]func(p *logproof.Proof){
		"another batch":       func(p *logproof.Proof) { p.Batch = 0 },
		"fewer batches":       func(p *logproof.Proof) { p.Batches = 1 },
		"another record":      func(p *logproof.Proof) { p.Record = f.batches[0].Append(nil) },
		"another group":       func(p *logproof.Proof) { p.Group++ },
		"more groups":         func(p *logproof.Proof) { p.Groups++ },
		"another first entry": func(p *logproof.Proof) { p.First++; p.Position++ },
		"another position":    func(p *logproof.Proof) { p.Position = 8 },
		"another payload":     func(p *logproof.Proof) { p.Entries = bytes.Clone(p.Entries); p.Entries[9]++ },
		"no path":             func(p *logproof.Proof) { p.InBatch = nil },
		"no path in block":    func(p *logproof.Proof) { p.InBlock = nil },
		"one signature":       func(p *logproof.Proof) { p.Signatures = p.Signatures[:1] },
		"another header":      func(p *logproof.Proof) { p.Header = bytes.Clone(p.Header); p.Header[40]++ },
	} {
		p := f.payload(1, 2)
		change(p)
		var wrong *proof.Error
		if _, err := p.Verify(f.network); !errors.As(err, &wrong) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestBlocks: the proof of a block survives its encoding, and its records fit the batches and no others.
func TestBlocks(t *testing.T) {
	f := newFixture(t)
	x, err := logproof.DecodeBlock(f.block().Encode())
	if err != nil {
		t.Fatal(err)
	}
	got, err := x.Verify(f.network)
	if err != nil || got.Height != 7 || len(got.Batches) != 2 || len(got.Batches[1].Repeated) != 1 {
		t.Fatalf("%+v %v", got, err)
	}
	for i := range f.entries {
		if err := got.Batches[i].Check(f.entries[i].Raw()); err != nil {
			t.Error(err)
		}
		if got.Batches[i].Check(f.entries[1-i].Raw()) == nil || got.Batches[i].Check(f.entries[i].Raw()[:45]) == nil || got.Batches[i].Check(nil) == nil {
			t.Error("other entries fit a record")
		}
	}
	for name, change := range map[string]func(x *logproof.Block){
		"fewer batches":   func(x *logproof.Block) { x.Batches = x.Batches[:1] },
		"another order":   func(x *logproof.Block) { x.Batches[0], x.Batches[1] = x.Batches[1], x.Batches[0] },
		"no signature":    func(x *logproof.Block) { x.Signatures = nil },
		"a broken record": func(x *logproof.Block) { x.Batches[0] = x.Batches[0][:9] },
	} {
		x := f.block()
		change(x)
		var wrong *proof.Error
		if _, err := x.Verify(f.network); !errors.As(err, &wrong) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
