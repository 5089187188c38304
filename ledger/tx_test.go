package ledger

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"math"
	"os"
	"reflect"
	"strings"
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
)

var update = flag.Bool("update", false, "write the golden files again")

// golden compares lines with a file in testdata. A line is a name and hexadecimal characters.
func golden(t *testing.T, name string, lines []string) {
	t.Helper()
	path := "testdata/" + name
	got := strings.Join(lines, "\n") + "\n"
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs: encodings of a version never change; got\n%s", path, got)
	}
}

func edKey(t failer, i byte) *sig.Ed25519Key {
	k, err := sig.Ed25519FromSeed(bytes.Repeat([]byte{i}, sig.SeedSize))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func sampleTx(t failer) *Tx {
	alice, bob := edKey(t, 1), edKey(t, 2)
	b := Body{
		Network:  testNet,
		ExpiryMS: 1_700_000_000_000,
		Inputs: []Input{
			{Outpoint{TxID(digest.Of("a")), 1}, alice.Public(), 70},
			{Outpoint{TxID(digest.Of("b")), 2}, bob.Public(), 20},
			{Outpoint{TxID(digest.Of("c")), 65535}, alice.Public(), 10},
		},
		Outputs: []Output{{AddressOf(bob.Public()), 60}, {AddressOf(alice.Public()), 37}},
		Fee:     3,
	}
	tx, err := b.Sign(bob, alice)
	if err != nil {
		t.Fatal(err)
	}
	return tx
}

func TestEncodingsMatchGolden(t *testing.T) {
	tx := sampleTx(t)
	h := Header{Network: testNet, Shard: 3, Height: 9, Epoch: 2, Slot: 5, Last: true, Parent: digest.Of("p"), Block: digest.Of("b"),
		TxRoot: digest.Of("t"), Receipts: digest.Of("r"), WriteSet: digest.Of("w"), TimeMS: 1_700_000_000_000, Txs: 77}
	settled := Receipt{Tx: tx.ID(), Shard: 3, Height: 9, Position: 1, Verdict: VerdictSettled, TimeMS: 1_700_000_000_000}
	rejected := Receipt{Tx: tx.ID(), Shard: 3, Height: 9, Position: 2, Verdict: VerdictRejected, Reason: ReasonConsumed, TimeMS: 1_700_000_000_000}
	x := hex.EncodeToString
	sd, hd, leaf := tx.SigningDigest(), h.Digest(), settled.Leaf()
	golden(t, "encodings.txt", []string{
		"transaction " + x(tx.Encode()),
		"transaction id " + tx.ID().String(),
		"signing digest " + sd.String(),
		"payload " + x(EncodePayload([][]byte{tx.Encode()})),
		"header " + x(h.Encode()),
		"header digest " + hd.String(),
		"settled receipt " + x(settled.Encode()),
		"settled receipt leaf " + leaf.String(),
		"rejected receipt " + x(rejected.Encode()),
		"address " + AddressOf(edKey(t, 1).Public()).String(),
		"genesis id " + genesisID(testNet, 1, AddressOf(edKey(t, 1).Public()), 2).String(),
	})
	if got, err := DecodeHeader(h.Encode()); err != nil || got != h {
		t.Errorf("a header decodes to %+v, %v", got, err)
	}
	if len(h.Encode()) != HeaderSize || len(settled.Encode()) != ReceiptSize {
		t.Errorf("header of %d bytes, receipt of %d", len(h.Encode()), len(settled.Encode()))
	}
	for _, r := range []Receipt{settled, rejected} {
		if got, err := DecodeReceipt(r.Encode()); err != nil || got != r {
			t.Errorf("a receipt decodes to %+v, %v", got, err)
		}
	}
}

func TestReasonsKeepTheirNumbers(t *testing.T) {
	names := strings.Split(",malformed,oversized,non_canonical,wrong_network,bad_signature,expired,expiry_too_far,overflow,unbalanced,"+
		"zero_amount,no_inputs,no_outputs,duplicate_input,consumed,unknown_input,wrong_owner,wrong_amount,wrong_shard,book_full,rejected_elsewhere,shard_busy,fee_too_low,late,busy,cancelled", ",")
	if len(names) != int(reasonsEnd) {
		t.Fatalf("%d reasons, %d recorded", reasonsEnd, len(names))
	}
	notFinal := ",expiry_too_far,unknown_input,wrong_shard,book_full,shard_busy,late,busy,"
	for i, name := range names {
		r := Reason(i)
		if r.String() != name {
			t.Errorf("reason %d is %q, recorded as %q", i, r, name)
		}
		if want := name != "" && !strings.Contains(notFinal, ","+name+","); r.Final() != want {
			t.Errorf("reason %q is final: %v", name, r.Final())
		}
		var back Reason
		if err := back.UnmarshalText([]byte(name)); err != nil || back != r {
			t.Errorf("%q decodes to reason %d, %v", name, back, err)
		}
		if i > 0 && r.Description() == "" {
			t.Errorf("reason %q has no description", name)
		}
	}
}

func TestSizeOfASimpleTransfer(t *testing.T) {
	tx := pay(t, 0, 10, []Outpoint{{}}, 1, Output{addressOf(1), 4}, Output{addressOf(0), 5})
	if n := len(tx.Encode()); n != 269 {
		t.Errorf("one input and two outputs take %d bytes", n)
	}
}

func TestTheLargestTransactionFits(t *testing.T) {
	b := Body{Network: testNet}
	var people []int
	for i := range MaxInputs {
		b.Inputs = append(b.Inputs, Input{Outpoint{Index: uint16(i)}, signer(i).Public(), 1})
		b.Outputs = append(b.Outputs, Output{addressOf(i), 1})
		people = append(people, i)
	}
	tx := signed(t, b, people...)
	if n := len(tx.Encode()); n > MaxTxBytes || len(tx.Signatures) != MaxInputs {
		t.Errorf("%d bytes, %d signatures", n, len(tx.Signatures))
	}
	if _, err := VerifyTx(ideal, testNet, tx.Encode()); err != nil {
		t.Error(err)
	}
	b.Outputs = append(b.Outputs, Output{})
	if _, err := b.Sign(signer(0)); err == nil {
		t.Error("65 outputs were signed")
	}
}

func TestSignaturesAreInOrderOfFirstUse(t *testing.T) {
	tx := sampleTx(t)
	items := tx.SigItems()
	if len(items) != 2 || items[0].Key != edKey(t, 1).Public() || items[1].Key != edKey(t, 2).Public() {
		t.Fatalf("%d signatures", len(items))
	}
	if !sig.NewEd25519().VerifyAll(items) {
		t.Error("the signatures do not verify")
	}
	if _, err := tx.Sign(edKey(t, 1)); err == nil || !strings.Contains(err.Error(), "no signer for key") {
		t.Errorf("signing without the signer of one key: %v", err)
	}
}

// refusalOf returns the reason of the refusal in err.
func refusalOf(err error) Reason {
	var r *Refusal
	if !errors.As(err, &r) {
		return ReasonNone
	}
	return r.Reason
}

func TestRefusalsWithoutState(t *testing.T) {
	edit := func(change func(b *Body)) []byte {
		tx := sampleTx(t)
		b := tx.Body
		b.Inputs = append([]Input(nil), b.Inputs...)
		b.Outputs = append([]Output(nil), b.Outputs...)
		change(&b)
		var signers []sig.Signer
		for i := byte(1); i < 4; i++ {
			signers = append(signers, edKey(t, i))
		}
		out, err := b.Sign(signers...)
		if err != nil {
			t.Fatal(err)
		}
		return out.Encode()
	}
	good := sampleTx(t).Encode()
	poke := func(at int, v byte) []byte {
		b := bytes.Clone(good)
		b[at] = v
		return b
	}
	for _, c := range []struct {
		name string
		raw  []byte
		want Reason
	}{
		{"good", good, ReasonNone},
		{"empty", nil, ReasonMalformed},
		{"cut short", good[:len(good)-1], ReasonMalformed},
		{"cut to the version", good[:1], ReasonMalformed},
		{"version 0", poke(0, 0), ReasonMalformed},
		{"version 2", poke(0, 2), ReasonMalformed},
		{"65 inputs", poke(41, 65), ReasonMalformed},
		{"more inputs than bytes", poke(41, 64), ReasonMalformed},
		{"longer than allowed", make([]byte, MaxTxBytes+1), ReasonOversized},
		{"one byte too many", append(bytes.Clone(good), 0), ReasonNonCanonical},
		{"one signature too many", append(bytes.Clone(good), good[len(good)-64:]...), ReasonNonCanonical},
		{"another network", edit(func(b *Body) { b.Network[0] ^= 1 }), ReasonWrongNetwork},
		{"no inputs", edit(func(b *Body) { b.Inputs = nil }), ReasonNoInputs},
		{"no outputs", edit(func(b *Body) { b.Outputs, b.Fee = nil, 100 }), ReasonNoOutputs},
		{"input of 0", edit(func(b *Body) { b.Inputs[1].Amount = 0 }), ReasonZeroAmount},
		{"output of 0", edit(func(b *Body) { b.Outputs[0].Amount, b.Fee = 0, 63 }), ReasonZeroAmount},
		{"one output spent twice", edit(func(b *Body) { b.Inputs[2].Outpoint = b.Inputs[0].Outpoint }), ReasonDuplicateInput},
		{"one output spent twice with different keys", edit(func(b *Body) { b.Inputs[1].Outpoint = b.Inputs[0].Outpoint }), ReasonDuplicateInput},
		{"inputs overflow", edit(func(b *Body) { b.Inputs[0].Amount = math.MaxUint64 }), ReasonOverflow},
		{"outputs overflow", edit(func(b *Body) { b.Outputs[0].Amount = math.MaxUint64 }), ReasonOverflow},
		{"the sum with the fee overflows to the sum of the inputs", edit(func(b *Body) { b.Outputs[0].Amount, b.Fee = 100, math.MaxUint64-36 }), ReasonOverflow},
		{"outputs exceed inputs", edit(func(b *Body) { b.Fee-- }), ReasonUnbalanced},
		{"inputs exceed outputs by 1", edit(func(b *Body) { b.Fee++ }), ReasonUnbalanced},
		{"first signature broken", poke(len(good)-128, good[len(good)-128]^1), ReasonBadSignature},
		{"last signature broken", poke(len(good)-1, good[len(good)-1]^1), ReasonBadSignature},
		{"signed for another expiry", poke(40, good[40]^1), ReasonBadSignature},
		{"signatures swapped", append(append(bytes.Clone(good[:len(good)-128]), good[len(good)-64:]...), good[len(good)-128:len(good)-64]...), ReasonBadSignature},
	} {
		t.Run(c.name, func(t *testing.T) {
			scheme := sig.NewEd25519()
			tx, err := VerifyTx(scheme, testNet, c.raw)
			if got := refusalOf(err); got != c.want || (err == nil) != (c.want == ReasonNone) || (tx.Tx() == nil) != (err != nil) {
				t.Fatalf("submitted: %v, want %q", err, c.want)
			}
			if len(c.raw) == 0 || len(c.raw) > MaxTxBytes {
				return // a payload cannot contain such an entry
			}
			payload := EncodePayload([][]byte{good, c.raw})
			_, err = CheckPayload(nil, scheme, testNet, payload)
			if got := refusalOf(err); got != c.want || (err == nil) != (c.want == ReasonNone) {
				t.Errorf("in a batch: %v, want %q", err, c.want)
			}
			if err != nil && !strings.Contains(err.Error(), "entry 1") {
				t.Errorf("the error does not name the entry: %v", err)
			}
		})
	}
}

func TestIDCoversSignatures(t *testing.T) {
	good := sampleTx(t)
	raw := bytes.Clone(good.Encode())
	raw[len(raw)-1] ^= 1
	other, err := DecodeTx(raw)
	if err != nil {
		t.Fatal(err)
	}
	if other.ID() == good.ID() {
		t.Error("a copy with a broken signature has the same id")
	}
	if other.SigningDigest() != good.SigningDigest() {
		t.Error("the signed digest depends on a signature")
	}
}

func TestMalformedPayloadsAreRefused(t *testing.T) {
	raw := sampleTx(t).Encode()
	good := EncodePayload([][]byte{raw, raw})
	if p, err := DecodePayload(nil, good); err != nil || len(p.Txs) != 2 || len(good) != PayloadSize(2, 2*len(raw)) {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		"empty":                           {},
		"no entries":                      {PayloadVersion, 0, 0, 0, 0},
		"version 2":                       append([]byte{2}, good[1:]...),
		"too many entries":                {PayloadVersion, 0xff, 0xff, 0xff, 0xff},
		"one entry too few":               append([]byte{PayloadVersion, 0, 0, 0, 3}, good[5:]...),
		"one entry too many":              append([]byte{PayloadVersion, 0, 0, 0, 1}, good[5:]...),
		"unknown kind":                    append(append(bytes.Clone(good[:5]), 9), good[6:]...),
		"a kind that is not in the table": EncodePayload([][]byte{raw}, RawNotice{KindEvidence, []byte("content of an entry whose kind is not in the table, long enough for an entry")}),
		"cut short":                       good[:len(good)-1],
		"one byte too many":               append(bytes.Clone(good), 0),
		"too long":                        make([]byte, MaxPayloadBytes+1),
	} {
		if _, err := DecodePayload(nil, b); err == nil {
			t.Errorf("%s: decoded", name)
		}
	}
}

// mark is a notice for tests: a text, wrong if it begins with x.
type mark string

func (m mark) Encode() []byte { return []byte(m) }

func (m mark) Check(sig.Scheme) error {
	if m[0] == 'x' {
		return errors.New("the mark is wrong")
	}
	return nil
}

func (m mark) Execute(s *BlockState) error {
	s.Channels.Freeze(Freeze{Source: 3, Why: string(m)})
	return nil
}

// TestNotices: entries other than transactions are decoded by the table of kinds and come before the transactions.
func TestNotices(t *testing.T) {
	raw := pay(t, 0, 10, []Outpoint{genesisOut(0, 0)}, 0, Output{addressOf(1), 10}).Encode()
	kinds := Kinds{{ID: KindEvidence, Name: "mark", MaxBytes: 80, Decode: func(content []byte) (Notice, error) {
		if len(content) < 60 {
			return nil, errors.New("too short")
		}
		return mark(content), nil
	}}}
	text := func(first string) []byte { return []byte(first + strings.Repeat(".", 59)) }
	notice := func(content []byte) RawNotice { return RawNotice{KindEvidence, content} }
	good := EncodePayload([][]byte{raw}, notice(text("a")), notice(text("b")))
	if size := notice(text("a")); len(good) != PayloadSize(1, len(raw))+2*size.Size() {
		t.Errorf("the payload has %d bytes", len(good))
	}
	p, err := CheckPayload(kinds, ideal, testNet, good)
	if err != nil || p.Len() != 3 || len(p.Notices) != 2 || string(p.Notices[1].Encode()) != string(text("b")) || len(p.Txs) != 1 {
		t.Fatalf("%+v, %v", p, err)
	}
	made, err := NewPayload(kinds, p.Txs, []RawNotice{notice(text("a")), notice(text("b"))})
	if err != nil || !reflect.DeepEqual(made, p) || made.Txs[0] != p.Txs[0] {
		t.Errorf("made of its parts: %+v, %v", made, err)
	}
	if p, err = CheckPayload(kinds, ideal, testNet, EncodePayload(nil, notice(text("a")))); err != nil || p.Len() != 1 {
		t.Errorf("a notice alone: %v", err)
	}
	behind := append(bytes.Clone(EncodePayload([][]byte{raw})), EncodePayload(nil, notice(text("a")))[payloadHead:]...)
	behind[4] = 2
	for name, n := range map[string]RawNotice{
		"malformed": notice([]byte("short")), "too long": notice(make([]byte, 81)), "unknown": {KindCancel, text("a")},
	} {
		if _, err := NewPayload(kinds, p.Txs, []RawNotice{n}); err == nil {
			t.Errorf("%s: NewPayload accepts it", name)
		}
	}
	for name, b := range map[string][]byte{
		"fails its check":     EncodePayload(nil, notice(text("x"))),
		"after a transaction": behind,
		"malformed":           EncodePayload([][]byte{raw}, notice([]byte("short"))),
		"too long":            EncodePayload(nil, notice(make([]byte, 81))),
	} {
		if _, err := CheckPayload(kinds, ideal, testNet, b); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func FuzzDecodePayload(f *testing.F) {
	raw := sampleTx(f).Encode()
	f.Add(EncodePayload([][]byte{raw}))
	f.Add(EncodePayload([][]byte{raw, raw}))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := DecodePayload(nil, b)
		if err != nil {
			return
		}
		raws := make([][]byte, len(p.Txs))
		for i, tx := range p.Txs {
			raws[i] = tx.Encode()
		}
		if !bytes.Equal(EncodePayload(raws), b) {
			t.Fatalf("%x decodes, but is not the canonical encoding of the result", b)
		}
	})
}

func FuzzDecodeTx(f *testing.F) {
	f.Add(sampleTx(f).Encode())
	f.Add(pay(f, 1, 5, []Outpoint{{}}, 0, Output{addressOf(2), 5}).Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		tx, err := DecodeTx(b)
		if err != nil {
			if refusalOf(err) == ReasonNone {
				t.Fatalf("not a refusal: %v", err)
			}
			return
		}
		again := tx.Body.append(nil)
		for i := range tx.Signatures {
			again = append(again, tx.Signatures[i][:]...)
		}
		if !bytes.Equal(again, b) {
			t.Fatalf("%x decodes, but is not the canonical encoding of the result", b)
		}
		tx.Check(testNet)
		if len(tx.SigItems()) != len(tx.Signatures) {
			t.Fatal("the number of signatures to verify differs from the number of signatures")
		}
	})
}

func FuzzDecodeHeaderAndReceipt(f *testing.F) {
	h := Header{Height: 3, Last: true}
	r := Receipt{Verdict: VerdictRejected, Reason: ReasonExpired}
	f.Add(h.Encode())
	f.Add(r.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, err := DecodeHeader(b); err == nil && !bytes.Equal(h.Encode(), b) {
			t.Fatalf("%x decodes to a header, but is not its canonical encoding", b)
		}
		if r, err := DecodeReceipt(b); err == nil && !bytes.Equal(r.Encode(), b) {
			t.Fatalf("%x decodes to a receipt, but is not its canonical encoding", b)
		}
	})
}
