package ledger

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
	"bdtnode/merkle"
)

func badBatches(n int) []BatchID {
	out := make([]BatchID, n)
	for i := range out {
		out[i] = BatchID{Lane: uint16(i % 3), Seq: uint64(i) + 7, Digest: digest.Of("bad", []byte{byte(i)})}
	}
	return out
}

// blockWith is the next block of a state, with one batch of transactions and bad ones.
func blockWith(t failer, s *State, bad []BatchID, txs ...*Tx) CommittedBlock {
	t.Helper()
	in := CommittedBlock{Height: s.Height() + 1, Epoch: 1, Slot: s.Height() + 1, TimeMS: genesisTime + 1, Bad: bad}
	raw := make([][]byte, len(txs))
	for i := range txs {
		raw[i] = txs[i].Encode()
	}
	if len(txs) > 0 {
		p, err := CheckPayload(nil, ideal, testNet, EncodePayload(raw))
		if err != nil {
			t.Fatal(err)
		}
		in.Payloads = []*Payload{p}
	}
	return in
}

// TestBadBatchesAreNamed: the roots and the record of a block name its bad batches behind the receipts, in order. They
// change nothing else, and receipts are proved as before.
func TestBadBatchesAreNamed(t *testing.T) {
	tx := pay(t, 0, 10, []Outpoint{genesisOut(0, 0)}, 0, Output{addressOf(1), 10})
	var with, without *Block
	for _, bad := range [][]BatchID{nil, badBatches(3)} {
		s := open(t, kv.NewMem(), testConfig(2, 4, 10))
		b, err := s.Execute(blockWith(t, s, bad, tx))
		if err != nil {
			t.Fatal(err)
		}
		have, err := s.BadBatches(1)
		if err != nil || !slices.Equal(have, bad) || !slices.Equal(b.Bad, bad) {
			t.Fatalf("the record names %v, the block %v, want %v; %v", have, b.Bad, bad, err)
		}
		if other, err := s.BadBatches(2); err != nil || len(other) > 0 {
			t.Errorf("another height has %v, %v", other, err)
		}
		leaves := []digest.Digest{b.Receipts[0].Leaf()}
		ids := []digest.Digest{digest.Digest(tx.ID())}
		for i := range bad {
			leaves, ids = append(leaves, bad[i].Leaf()), append(ids, bad[i].Digest)
		}
		if b.Header.Receipts != merkle.Root(leaves) || b.Header.TxRoot != merkle.Root(ids) {
			t.Error("the roots do not name the bad batches")
		}
		if !b.Receipts[0].Prove(&b.Header, merkle.Prove(leaves, 0), len(leaves)) {
			t.Error("the receipt is not proved")
		}
		without, with = with, b
	}
	if with.Header.WriteSet != without.Header.WriteSet || with.Header.Txs != without.Header.Txs || with.HeaderDigest == without.HeaderDigest {
		t.Error("bad batches change the state, or are not in the header")
	}
	if badBatches(1)[0].Leaf() == badBatches(2)[1].Leaf() {
		t.Error("two batches have one leaf")
	}
}

// TestUnexpectedHeader: a block whose header is not the expected one changes nothing, as often as it is tried. The same state
// then executes the block with the header that a state has which never tried.
func TestUnexpectedHeader(t *testing.T) {
	store := kv.NewMem()
	s, fresh := open(t, store, testConfig(2, 8, 10)), open(t, kv.NewMem(), testConfig(2, 8, 10))
	for k := range 4 {
		good := pay(t, 0, 10, []Outpoint{genesisOut(0, 2*k)}, 0, Output{addressOf(1), 10})
		forged := pay(t, 0, 10, []Outpoint{genesisOut(0, 2*k+1)}, 0, Output{addressOf(1), 10})
		want, err := fresh.Execute(blockWith(t, fresh, badBatches(1), good))
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			in := blockWith(t, s, nil, good, forged)
			in.Expect = want.HeaderDigest
			_, err := s.Execute(in)
			if x := (*Mismatch)(nil); !errors.As(err, &x) || x.Want != want.HeaderDigest || x.Got == want.HeaderDigest || x.Height != in.Height {
				t.Fatalf("height %d: %v", in.Height, err)
			}
			if s.Height() != in.Height-1 {
				t.Fatal("the state has advanced")
			}
		}
		in := blockWith(t, s, badBatches(1), good)
		in.Expect = want.HeaderDigest
		if got, err := s.Execute(in); err != nil || got.HeaderDigest != want.HeaderDigest {
			t.Fatalf("height %d: %v", in.Height, err)
		}
	}
	again := open(t, store, testConfig(2, 8, 10))
	_, have, _ := again.Tip()
	if _, want, _ := fresh.Tip(); have != want {
		t.Error("the store has another state")
	}
}

// TestCheckFormLeavesSignatures: CheckForm accepts a payload with a bad signature, and refuses all else that CheckPayload
// refuses. The signatures of the payload are then refused by CheckSignatures, which names the transaction.
func TestCheckFormLeavesSignatures(t *testing.T) {
	good := pay(t, 0, 10, []Outpoint{genesisOut(0, 0)}, 0, Output{addressOf(1), 10})
	raw := slices.Clone(pay(t, 0, 10, []Outpoint{genesisOut(0, 1)}, 0, Output{addressOf(1), 10}).Encode())
	raw[len(raw)-1] ^= 1
	payload := EncodePayload([][]byte{good.Encode(), raw})
	p, err := CheckForm(nil, ideal, testNet, payload)
	if err != nil || len(p.Txs) != 2 || len(p.AppendSigItems(nil)) != 2 {
		t.Fatalf("%v", err)
	}
	if err := p.CheckSignatures(ideal, nil); err == nil || !errorNames(err, p.Txs[1]) {
		t.Errorf("the signatures: %v", err)
	}
	if p, err := CheckPayload(nil, ideal, testNet, payload); err == nil || p != nil {
		t.Error("CheckPayload accepts it")
	}
	if _, err := CheckForm(nil, ideal, digest.Of("another"), payload); err == nil {
		t.Error("a transaction of another network is accepted")
	}
}

func errorNames(err error, tx *Tx) bool {
	var r *Refusal
	return errors.As(err, &r) && r.Reason == ReasonBadSignature && strings.Contains(err.Error(), tx.ID().String())
}
