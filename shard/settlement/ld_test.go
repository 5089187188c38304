package settlement

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/ledger"
	"bdtnode/merkle"
	"bdtnode/protocols"
	"bdtnode/protocols/certify"
)

// replicas is the number of replicas of each shard. Two of them certify a header.
const replicas = 4

func replica(s uint16, i int) sig.Signer { return ideal.Signer(1_000 + uint64(s)*replicas + uint64(i)) }

func testNetwork(t testing.TB) *Network {
	t.Helper()
	var committees []*protocols.Committee
	for s := range uint16(shards) {
		var keys []sig.PublicKey
		for i := range replicas {
			keys = append(keys, replica(s, i).Public())
		}
		c, err := protocols.NewCommittee(network, s, keys)
		if err != nil {
			t.Fatal(err)
		}
		committees = append(committees, c)
	}
	return NetworkOf(committees)
}

// certifyLD returns a certificate of a header by some replicas of a shard.
func certifyLD(n *Network, h *ledger.Header, s uint16, who ...int) protocols.Certificate {
	d := h.Digest()
	tally := protocols.NewTally(d)
	for _, i := range who {
		tally.Add(protocols.Index(i), replica(s, i).Sign(certify.Statement(n.Committee(s), h.Height, d)))
	}
	return tally.Certificate()
}

// anLD returns an LD from shard 0 to shard 2, of a block that sends to shard 1 too.
func anLD(t testing.TB, n *Network) *LD {
	t.Helper()
	w := newWorld(Standard(), 4)
	tx := transfer(masks{0b011, 0b100}, txExpiry, coin(0))
	w.watch(tx)
	b, err := w.do(event{shard: 0, txs: []*ledger.Tx{tx}})
	if err != nil {
		t.Fatal(err)
	}
	out, ok, err := w.states[0].Outgoing(2, 1)
	if err != nil || !ok {
		t.Fatal(err)
	}
	h, ok, err := w.states[0].Header(out.Height)
	if err != nil || !ok || h != b.Header {
		t.Fatal(err)
	}
	return NewLD(out, h, certifyLD(n, &h, 0, 1, 3))
}

func TestLDVerifies(t *testing.T) {
	n := testNetwork(t)
	l := anLD(t, n)
	if err := l.Verify(ideal, n, nil); err != nil {
		t.Fatal(err)
	}
	enc := l.Encode()
	got, err := DecodeLD(enc)
	if err != nil || !bytes.Equal(got.Encode(), enc) || got.Digest() != l.Digest() {
		t.Fatalf("decoded %+v, %v", got, err)
	}
	if err := got.Verify(ideal, n, nil); err != nil {
		t.Error(err)
	}
	proof, err := got.Check(n)
	if err != nil || len(proof) != 2 || len(got.Txs()) != 1 {
		t.Errorf("%d signatures of %d transactions to check, %v", len(proof), len(got.Txs()), err)
	}
	other := *l
	other.Certificate = certifyLD(n, &l.Header, 0, 0, 2, 3)
	if err := other.Verify(ideal, n, nil); err != nil || other.Digest() != l.Digest() || bytes.Equal(other.Encode(), enc) {
		t.Errorf("the same LD certified by other replicas: %v", err)
	}
}

// TestAForgedLDIsRefused tries every change that a party other than the source can make to an LD.
func TestAForgedLDIsRefused(t *testing.T) {
	n := testNetwork(t)
	for name, c := range map[string]struct {
		forge func(l *LD)
		why   string
	}{
		"no signatures":                {func(l *LD) { l.Certificate = protocols.Certificate{} }, "0 signers"},
		"f signatures":                 {func(l *LD) { l.Certificate = certifyLD(n, &l.Header, 0, 2) }, "1 signers"},
		"signatures of another shard":  {func(l *LD) { l.Certificate = certifyLD(n, &l.Header, 1, 0, 1, 2, 3) }, "does not verify"},
		"signatures on another header": {func(l *LD) { h := l.Header; h.TimeMS++; l.Certificate = certifyLD(n, &h, 0, 0, 1) }, "does not verify"},
		"one bad signature":            {func(l *LD) { l.Certificate.Signatures[1][5]++ }, "does not verify"},
		"another header":               {func(l *LD) { l.Header.TimeMS++ }, "does not verify"},
		"another network":              {func(l *LD) { l.Header.Network = digest.Of("another") }, "network"},
		"header of another shard":      {func(l *LD) { l.Header.Shard = 1 }, "its header is of shard 1"},
		"another index":                {func(l *LD) { l.Index-- }, "outbox root"},
		"another count":                {func(l *LD) { l.Count++ }, "outbox root"},
		"no path":                      {func(l *LD) { l.Path.Path = nil }, "outbox root"},
		"another number":               {altered(func(d *ledger.Delivery) { d.Number++; d.Previous = digest.Of("x") }), "outbox root"},
		"another previous delivery":    {altered(func(d *ledger.Delivery) { d.Previous = digest.Of("x") }), "outbox root"},
		"more applied":                 {altered(func(d *ledger.Delivery) { d.Applied++ }), "outbox root"},
		"to another shard":             {altered(func(d *ledger.Delivery) { d.Destination = 1 }), "outbox root"},
		"to an unknown shard":          {altered(func(d *ledger.Delivery) { d.Destination = shards }), "the network has 3 shards"},
		"from an unknown shard":        {altered(func(d *ledger.Delivery) { d.Source = shards }), "the network has 3 shards"},
		"without entries":              {altered(func(d *ledger.Delivery) { d.Entries = nil }), "outbox root"},
		"an entry twice":               {altered(func(d *ledger.Delivery) { d.Entries = append(d.Entries, d.Entries[0]) }), "outbox root"},
		"REJECTED for SPENT": {altered(func(d *ledger.Delivery) {
			d.Entries[0].Verdict, d.Entries[0].Reason = ledger.VerdictRejected, ledger.ReasonConsumed
		}), "outbox root"},
		"another transaction":                {altered(func(d *ledger.Delivery) { d.Entries[0].Tx = transfer(masks{0b001, 0b100}, txExpiry, coin(1)) }), "outbox root"},
		"another signature of a transaction": {altered(func(d *ledger.Delivery) { d.Entries[0].Tx = resigned(d.Entries[0].Tx) }), "outbox root"},
	} {
		t.Run(name, func(t *testing.T) {
			l := anLD(t, n)
			c.forge(l)
			err := l.Verify(ideal, n, nil)
			var evidence *Evidence
			if err == nil || errors.As(err, &evidence) || !strings.Contains(err.Error(), c.why) {
				t.Errorf("%v, want an error with %q", err, c.why)
			}
		})
	}
}

func altered(change func(d *ledger.Delivery)) func(l *LD) {
	return func(l *LD) {
		d := *l.Delivery
		d.Entries = slices.Clone(d.Entries)
		change(&d)
		l.Delivery = ledger.NewDelivery(d)
	}
}

// verifies counts the signatures that are verified.
type verifies struct {
	sig.Scheme
	count int
}

func (v *verifies) VerifyAll(items []sig.Check) bool {
	v.count += len(items)
	return v.Scheme.VerifyAll(items)
}

// TestTransactionsOfALDAreVerifiedOnce: of an LD with transactions that the replica verified, only the certificate is verified,
// also if it is another one.
func TestTransactionsOfALDAreVerifiedOnce(t *testing.T) {
	n, known, scheme := testNetwork(t), ledger.NewKnownTxs(shards), &verifies{Scheme: ideal}
	l := anLD(t, n)
	for i, want := range []int{2 + 2, 2, 2} {
		scheme.count = 0
		if err := l.Verify(scheme, n, known); err != nil || scheme.count != want {
			t.Errorf("copy %d: %d signatures, want %d; %v", i, scheme.count, want, err)
		}
		l.Certificate = certifyLD(n, &l.Header, 0, 0, 2)
	}
	l.Certificate.Signatures[0][0]++
	if err := l.Verify(scheme, n, known); err == nil {
		t.Error("a bad certificate verifies, since the transactions are known")
	}
}

// resigned returns the transaction with its last signature changed.
func resigned(tx *ledger.Tx) *ledger.Tx {
	raw := bytes.Clone(tx.Encode())
	raw[len(raw)-1] ^= 1
	bad, err := ledger.DecodeTx(raw)
	if err != nil {
		panic(err)
	}
	return bad
}

// TestLDThatBreaksARuleIsEvidence lets the source certify LDs that break a rule. Without a valid certificate, such an
// LD is not evidence.
func TestLDThatBreaksARuleIsEvidence(t *testing.T) {
	n := testNetwork(t)
	foreign := ledger.Body{Network: digest.Of("another"), ExpiryMS: 1, Inputs: []ledger.Input{{Key: person(0, 0).Public(), Amount: 1}},
		Outputs: []ledger.Output{{Address: address(2, 0), Amount: 1}}}
	alien, err := foreign.Sign(person(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	set := func(tx *ledger.Tx) func(d *ledger.Delivery) {
		return func(d *ledger.Delivery) { d.Entries[0].Tx = tx }
	}
	for name, c := range map[string]struct {
		change func(d *ledger.Delivery)
		why    string
	}{
		"a verdict of a shard without inputs":  {set(transfer(masks{0b010, 0b100}, txExpiry, coin(0))), "has none of its inputs"},
		"sent to a shard that is not involved": {set(transfer(masks{0b001, 0b010}, txExpiry, coin(0))), "is not involved in it"},
		"a transaction inside the source":      {set(transfer(masks{0b001, 0b001}, txExpiry, coin(0))), "is not involved in it"},
		"a transaction of another network":     {set(alien), "wrong_network"},
		"a second verdict":                     {func(d *ledger.Delivery) { d.Entries = append(d.Entries, d.Entries[0]) }, "a second verdict"},
		"a bad client signature":               {func(d *ledger.Delivery) { d.Entries[0].Tx = resigned(d.Entries[0].Tx) }, "bad signature"},
	} {
		t.Run(name, func(t *testing.T) {
			l := anLD(t, n)
			altered(c.change)(l)
			l.Header.Outbox = rootOf(l)
			l.Certificate = certifyLD(n, &l.Header, 0, 0, 1)
			var evidence *Evidence
			if err := l.Verify(ideal, n, nil); !errors.As(err, &evidence) || evidence.LD != l || !strings.Contains(err.Error(), c.why) {
				t.Errorf("%v, want evidence with %q", err, c.why)
			}
			known := ledger.NewKnownTxs(shards)
			known.AddOwn(anLD(t, n).Txs()...)
			for range 2 { // what the replica knows makes no difference, and a bad LD makes nothing known
				if err := l.Verify(ideal, n, known); !errors.As(err, &evidence) || !strings.Contains(err.Error(), c.why) {
					t.Errorf("with known transactions: %v, want evidence with %q", err, c.why)
				}
			}
			l.Certificate.Signatures[0][0]++
			if err := l.Verify(ideal, n, nil); err == nil || errors.As(err, new(*Evidence)) {
				t.Errorf("with a bad certificate: %v", err)
			}
		})
	}
}

func TestTwoLDsUnderOneNumberContradict(t *testing.T) {
	n := testNetwork(t)
	a, again, b, later := anLD(t, n), anLD(t, n), anLD(t, n), anLD(t, n)
	again.Certificate = certifyLD(n, &again.Header, 0, 0, 2)
	altered(func(d *ledger.Delivery) { d.Applied++ })(b)
	altered(func(d *ledger.Delivery) { d.Number++; d.Previous = a.Digest() })(later)
	if e := Contradict(nil, a, again); e != nil {
		t.Errorf("one LD certified twice: %v", e)
	}
	if e := Contradict(nil, a, later); e != nil {
		t.Errorf("LDs with consecutive numbers: %v", e)
	}
	if e := Contradict(nil, a, b); e == nil || e.LD != a || e.Other != b || !strings.Contains(e.Error(), "same number") {
		t.Errorf("two LDs under one number: %v", e)
	}
}

// rootOf returns the outbox root of a block whose only delivery is that of the LD, and makes the LD's path fit it.
func rootOf(l *LD) digest.Digest {
	l.Index, l.Count, l.Path.Path = 0, 1, nil
	return merkle.Root([]digest.Digest{l.Digest()})
}

func TestLongestLDFits(t *testing.T) {
	head := ledger.HeaderSize + 2 + protocols.MaxReplicas*(2+sig.SignatureSize) + 1 + 4 + 4 + 1 + 32*digest.Size
	if most := head + ledger.MaxDeliveryBytes; most > MaxLDBytes {
		t.Errorf("the longest LD has %d bytes, MaxLDBytes is %d", most, MaxLDBytes)
	}
	if _, err := DecodeLD(make([]byte, MaxLDBytes+1)); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("too long: %v", err)
	}
}

func FuzzDecodeLD(f *testing.F) {
	n := testNetwork(f)
	l := anLD(f, n)
	f.Add(l.Encode())
	altered(func(d *ledger.Delivery) { d.Entries = nil })(l)
	f.Add(l.Encode())
	f.Add([]byte{LDVersion})
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := DecodeLD(b)
		if err != nil {
			return
		}
		if !bytes.Equal(l.Encode(), b) {
			t.Errorf("%x decodes, but is not the canonical encoding of the result", b)
		}
		if err := l.Verify(ideal, n, nil); err == nil && l.Delivery.Source != 0 {
			t.Errorf("an LD that nobody signed verifies: %x", b)
		}
	})
}
