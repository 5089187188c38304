package proof

import (
	"bytes"
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/protocols"
)

// FuzzProof: an encoding that Decode accepts is the one of its proof, and only the right proofs that the search begins
// with are accepted by Verify.
func FuzzProof(f *testing.F) {
	w := newWorld(f, "network", 3)
	right := make(map[string]bool)
	for _, s := range w.samples() {
		raw := s.proof.Encode()
		right[string(raw)] = true
		f.Add(raw)
	}
	f.Add([]byte(Prefix))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := Decode(b)
		if err != nil {
			return
		}
		if again := p.Encode(); !bytes.Equal(again, b) {
			t.Fatalf("%x decodes to a proof that encodes as %x", b, again)
		}
		if _, err := p.Verify(w.network); err == nil && !right[string(b)] {
			t.Fatalf("accepted: %x", b)
		}
	})
}

// FuzzHeader: no other bytes than a header of 376 bytes decode, and its digest covers all of them.
func FuzzHeader(f *testing.F) {
	f.Add(headerBytes(digest.Of("test/network/1"), 1, 2, digest.Digest{1}, digest.Digest{2}, 3))
	f.Add([]byte{headerVersion})
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := readHeader(b)
		if err == nil && (len(b) != HeaderSize || b[0] != headerVersion || h.digest != digest.Of("bdt/header/2", b)) {
			t.Fatalf("%x decodes to a header", b)
		}
	})
}

// FuzzTransaction: decoding reads all bytes, and nothing beyond the counts.
func FuzzTransaction(f *testing.F) {
	w := newWorld(f, "network", 3)
	for _, s := range w.samples() {
		f.Add(s.proof.Tx)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		tx, err := readTx(b, 3)
		if err != nil {
			return
		}
		if tx.ID != digest.Of("bdt/tx/1", b) || len(tx.Inputs) > maxInputs || len(tx.Outputs) > maxOutputs {
			t.Fatalf("%x decodes to %+v", b, tx)
		}
		if fixed := 1 + 32 + 8 + 1 + 1 + 8 + 74*len(tx.Inputs) + 40*len(tx.Outputs); (len(b)-fixed)%64 != 0 || len(b) <= fixed {
			t.Fatalf("%d bytes decode to %d inputs and %d outputs", len(b), len(tx.Inputs), len(tx.Outputs))
		}
		for _, s := range tx.shards() {
			if s.Shard >= 3 {
				t.Fatalf("shard %d of 3", s.Shard)
			}
		}
	})
}

// FuzzGenesis: no file makes ReadGenesis panic, and no other file than the given one has its id.
func FuzzGenesis(f *testing.F) {
	file, _ := genesisFile(f, "network", 2)
	n, err := ReadGenesis(file)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(file)
	f.Add([]byte(`{"version":2,"parameters":{"window":null}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		other, err := ReadGenesis(b)
		if err != nil || other.ID() != n.ID() {
			return
		}
		if other.Shards() != n.Shards() {
			t.Fatal("another number of shards with the same id")
		}
		for s, c := range n.committees {
			for i := range protocols.Index(replicas) {
				if x := other.committees[s]; x.N() != c.N() || x.Key(i) != c.Key(i) {
					t.Fatalf("shard %d replica %d: another key with the same id", s, i)
				}
			}
		}
	})
}
