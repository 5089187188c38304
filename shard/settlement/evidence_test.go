package settlement

import (
	"bytes"
	"reflect"
	"slices"
	"strings"
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/ledger"
)

// certified returns anLD with a changed delivery, certified by its source.
func certified(t testing.TB, n *Network, change func(d *ledger.Delivery)) *LD {
	t.Helper()
	l := anLD(t, n)
	altered(change)(l)
	l.Header.Outbox = rootOf(l)
	l.Certificate = certifyLD(n, &l.Header, 0, 0, 1)
	return l
}

// proofs returns evidence of each kind against shard 0, for shard 2.
func proofs(t testing.TB, n *Network) map[string]*Evidence {
	t.Helper()
	broken := certified(t, n, func(d *ledger.Delivery) { d.Entries = append(d.Entries, d.Entries[0]) })
	unsigned := certified(t, n, func(d *ledger.Delivery) { d.Entries[0].Tx = resigned(d.Entries[0].Tx) })
	return map[string]*Evidence{
		"two LDs under one number":            Contradict(n, anLD(t, n), certified(t, n, func(d *ledger.Delivery) { d.Entries = nil })),
		"two LDs, one of which breaks a rule": Contradict(n, anLD(t, n), broken),
		"a delivery that breaks a rule":       {LD: broken, Why: broken.Delivery.Check(network, home), network: n},
		"a transaction with a bad signature":  {LD: unsigned, Why: errBadSignature, network: n},
	}
}

// TestEvidenceFreezes: evidence is an entry of a batch, and each replica verifies it. Executing it freezes the
// channel of its source once and permanently, and the proof is kept.
func TestEvidenceFreezes(t *testing.T) {
	n := testNetwork(t)
	for name, e := range proofs(t, n) {
		t.Run(name, func(t *testing.T) {
			raw := ledger.EncodePayload(nil, ledger.RawNotice{Kind: ledger.KindEvidence, Content: e.Encode()})
			p, err := ledger.CheckPayload(n.Kinds(2), ideal, network, raw)
			if err != nil || len(p.Notices) != 1 || !bytes.Equal(p.Notices[0].Encode(), e.Encode()) {
				t.Fatalf("%+v, %v", p, err)
			}
			again, err := ledger.DecodePayload(n.Kinds(2), raw) // decoded as when read from the store, without a check
			if err != nil {
				t.Fatal(err)
			}
			w := newWorld(Standard(), 4)
			w.byzantine = true
			b := w.must(t, event{shard: 2, notices: p.Notices})
			wantFrozen(t, b, 0, e.LD.Delivery.Number, e.Why.Error())
			if b.Frozen[0].Proof != string(e.Encode()) || b.Frozen[0].Delivery != e.LD.Digest() {
				t.Error("the proof is not kept")
			}
			other := newWorld(Standard(), 4)
			other.byzantine = true
			if x := other.must(t, event{shard: 2, notices: again.Notices}); x.HeaderDigest != b.HeaderDigest || !reflect.DeepEqual(x.Frozen, b.Frozen) {
				t.Errorf("another replica has %+v, this one %+v", x.Frozen, b.Frozen)
			}
			if empty := newWorld(Standard(), 4); empty.must(t, event{shard: 2}).HeaderDigest == b.HeaderDigest {
				t.Error("the header does not depend on the frozen channel")
			}
			w.states[2] = w.open(2)
			if kept, err := w.states[2].Frozen(); err != nil || !slices.Equal(kept, b.Frozen) {
				t.Errorf("kept %+v, %v", kept, err)
			}
			for at, want := range map[uint64]int{b.Header.Height - 1: 0, b.Header.Height: 1, b.Header.Height + 1: 0} {
				if of, err := w.states[2].Freezes(at, at); err != nil || len(of) != want || want > 0 && of[0] != b.Frozen[0] {
					t.Errorf("block %d froze %+v, %v", at, of, err)
				}
			}
			if b := w.must(t, event{shard: 2, notices: again.Notices}); len(b.Frozen) > 0 {
				t.Errorf("frozen a second time: %+v", b.Frozen)
			}
			b = w.must(t, event{shard: 2, txs: []*ledger.Tx{transfer(masks{0b100, 0b001}, txExpiry, coin(1))}})
			if len(b.LeftOut) != 1 || b.LeftOut[0].Refusal.Reason != ledger.ReasonShardBusy {
				t.Errorf("a transaction that involves the frozen shard: %+v", b)
			}
		})
	}
}

// TestForgedEvidence: evidence that proves nothing makes the batch malformed.
func TestForgedEvidence(t *testing.T) {
	n := testNetwork(t)
	good := anLD(t, n)
	again := anLD(t, n)
	again.Certificate = certifyLD(n, &again.Header, 0, 0, 2)
	uncertified := certified(t, n, func(d *ledger.Delivery) { d.Entries = nil })
	uncertified.Certificate.Signatures[0][5]++
	forged := certified(t, n, func(d *ledger.Delivery) { d.Entries[0].Tx = resigned(d.Entries[0].Tx) })
	forged.Certificate.Signatures[1][5]++
	foreign := certified(t, n, func(d *ledger.Delivery) { d.Entries = nil })
	foreign.Header.Network = digest.Of("another")
	later := certified(t, n, func(d *ledger.Delivery) { d.Number++; d.Previous = good.Digest() })
	two := Contradict(n, good, certified(t, n, func(d *ledger.Delivery) { d.Entries = nil })).Encode()
	for name, c := range map[string]struct {
		content []byte
		why     string
	}{
		"an honest LD":                     {(&Evidence{LD: good}).Encode(), "breaks no rule"},
		"a bad certificate":                {(&Evidence{LD: forged}).Encode(), "does not verify"},
		"one LD of two not certified":      {(&Evidence{LD: good, Other: uncertified}).Encode(), "does not verify"},
		"one LD of two of another network": {(&Evidence{LD: good, Other: foreign}).Encode(), "network"},
		"one LD certified twice":           {(&Evidence{LD: good, Other: again}).Encode(), "do not contradict"},
		"LDs with consecutive numbers":     {(&Evidence{LD: good, Other: later}).Encode(), "do not contradict"},
		"another version":                  {append([]byte{3}, two[1:]...), "version 3"},
		"cut short":                        {two[:len(two)-1], "malformed"},
		"one byte too many":                {append(bytes.Clone(two), 0), "malformed"},
		"longer than MaxEvidenceBytes":     {make([]byte, MaxEvidenceBytes+1), "at most"},
	} {
		raw := ledger.EncodePayload(nil, ledger.RawNotice{Kind: ledger.KindEvidence, Content: c.content})
		if _, err := ledger.CheckPayload(n.Kinds(2), ideal, network, raw); err == nil || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: %v, want an error with %q", name, err, c.why)
		}
	}
	raw := ledger.EncodePayload(nil, ledger.RawNotice{Kind: ledger.KindEvidence, Content: two})
	if _, err := ledger.CheckPayload(n.Kinds(1), ideal, network, raw); err == nil || !strings.Contains(err.Error(), "this is shard 1") {
		t.Errorf("in a shard that is not the destination: %v", err)
	}
}

func FuzzDecodeEvidence(f *testing.F) {
	n := testNetwork(f)
	for _, e := range proofs(f, n) {
		f.Add(e.Encode())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := DecodeEvidence(n, 2, b)
		if err == nil && !bytes.Equal(e.Encode(), b) {
			t.Errorf("%x decodes, but is not the canonical encoding of the result", b)
		}
	})
}
