package lanes

import (
	"bytes"
	"encoding/hex"
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/internal/wire"
	"bdtnode/protocols"
)

// TestEncodings checks digests and encodings against fixed values. They are signed and stored, so they must never change
// within a version.
func TestEncodings(t *testing.T) {
	b := newBench(t, 4)
	x := b.batch(2, Tip{}, "payload")
	y := b.batch(2, x.Tip(), "payload")
	y.Certificate = b.certificate(2, x.Tip())
	for _, c := range []struct {
		name string
		got  []byte
		want string
	}{
		{"header", x.Header.append(nil), "0002" + "0000000000000001" + zeros(32) + hex.EncodeToString(sum("bdt/lane-payload/1", "payload")) + "00000007" + "00000001" + "0000000000000000"},
		{"ack", b.ack(1, 2, x.Tip()).Append(nil)[:42], "0002" + "0000000000000001" + x.Digest().String()},
		{"fetch", (&Fetch{Lane: 1, Tip: Tip{3, digest.Digest{7}}, After: 2}).Append(nil), "0001" + "0000000000000003" + "07" + zeros(31) + "0000000000000002"},
		{"cut", Cut{{}, {1, digest.Digest{9}}}.Append(nil), "0002" + zeros(40) + "0000000000000001" + "09" + zeros(31)},
	} {
		if got := hex.EncodeToString(c.got); got != c.want {
			t.Errorf("%s is %s, want %s", c.name, got, c.want)
		}
	}
	network := b.c.Network()
	pre := append(append([]byte(nil), network[:]...), 0, 0)
	if want := digest.Of("bdt/lane-header/1", pre, x.Header.append(nil)); x.Digest() != want {
		t.Error("the digest of a header does not cover network, shard and header")
	}
	for _, m := range []*Batch{x, y} {
		got, err := DecodeBatch(b.c, m.Append(nil))
		if err != nil || got.Digest() != m.Digest() || !bytes.Equal(got.Append(nil), m.Append(nil)) || !bytes.Equal(got.Stored(), m.Stored()) {
			t.Errorf("a batch decodes to another: %v", err)
		}
		checks, err := got.SignatureChecks(b.c)
		if err != nil || !b.scheme.VerifyAll(checks) {
			t.Errorf("a decoded batch does not verify: %v", err)
		}
		back, err := DecodeStored(b.c, m.Stored())
		if err != nil || back.Digest() != m.Digest() {
			t.Errorf("a stored batch decodes to another: %v", err)
		}
	}
}

func zeros(n int) string { return hex.EncodeToString(make([]byte, n)) }

func sum(tag, s string) []byte {
	d := digest.Of(tag, []byte(s))
	return d[:]
}

// TestStatelessChecks: errors that need no state to detect are found before a message reaches the machine.
func TestStatelessChecks(t *testing.T) {
	b := newBench(t, 4)
	good := b.batch(2, Tip{}, "payload")
	ok := func(checks []sig.Check, err error) bool { return err == nil && b.scheme.VerifyAll(checks) }
	if !ok(good.SignatureChecks(b.c)) {
		t.Fatal("a good batch is refused")
	}
	cert := b.certificate(2, good.Tip())
	few := *cert
	few.Certificate = protocols.Certificate{Signatures: cert.Certificate.Signatures[:2]}
	few.Certificate.Signers.Add(0)
	few.Certificate.Signers.Add(1)
	moved := *cert
	moved.Tip.Seq++
	batch := func(spoil func(*Batch)) func() bool {
		return func() bool {
			x := *good
			spoil(&x)
			raw := append(append(x.Header.append(nil), x.Signature[:]...), wire.AppendBytes(nil, x.Payload)...)
			raw = wire.AppendBool(raw, x.Certificate != nil)
			if x.Certificate != nil {
				raw = x.Certificate.append(raw)
			}
			y, err := DecodeBatch(b.c, raw)
			return err == nil && ok(y.SignatureChecks(b.c))
		}
	}
	for name, passes := range map[string]func() bool{
		"another lane":                          batch(func(x *Batch) { x.Lane = 1 }),
		"a lane that does not exist":            batch(func(x *Batch) { x.Lane = 4 }),
		"another payload":                       batch(func(x *Batch) { x.Payload = []byte("payloae") }),
		"a longer payload":                      batch(func(x *Batch) { x.Payload = []byte("payload!") }),
		"another signature":                     batch(func(x *Batch) { x.Signature[0] ^= 1 }),
		"number 0":                              batch(func(x *Batch) { x.Seq = 0 }),
		"number 1 with a parent":                batch(func(x *Batch) { x.Parent[0] = 1 }),
		"number 2 without a parent":             batch(func(x *Batch) { x.Seq = 2 }),
		"no entries":                            batch(func(x *Batch) { x.Count = 0 }),
		"too many entries":                      batch(func(x *Batch) { x.Count = MaxCount + 1 }),
		"a certificate of another lane":         batch(func(x *Batch) { x.Certificate = b.certificate(1, good.Tip()) }),
		"a certificate of n-f-1":                func() bool { return ok(few.SignatureChecks(b.c)) },
		"a certificate of another tip":          func() bool { return ok(moved.SignatureChecks(b.c)) },
		"an ack signed by another replica":      func() bool { return ok(b.ack(1, 2, good.Tip()).SignatureChecks(b.c, 0)) },
		"an ack for a lane that does not exist": func() bool { return ok(b.ack(1, 4, good.Tip()).SignatureChecks(b.c, 1)) },
		"a fetch of no batch": func() bool {
			return ok((&Fetch{Lane: 1, Tip: good.Tip(), After: 1}).SignatureChecks(b.c))
		},
		"a conflict with an invalid signature": func() bool {
			x := &Conflict{good.SignedHeader}
			x.Signature[5] ^= 1
			return ok(x.SignatureChecks(b.c))
		},
	} {
		if passes() {
			t.Errorf("%s: accepted", name)
		}
	}
	if !batch(func(*Batch) {})() {
		t.Error("the unchanged batch is refused")
	}
}

func TestExtends(t *testing.T) {
	x, y := digest.Digest{1}, digest.Digest{2}
	for _, c := range []struct {
		name string
		a, b Cut
		want bool
	}{
		{"one lane grew", Cut{{1, x}, {}}, Cut{{}, {}}, true},
		{"none grew", Cut{{1, x}, {}}, Cut{{1, x}, {}}, true},
		{"one grew, one shrank", Cut{{2, x}, {}}, Cut{{1, x}, {1, x}}, false},
		{"another digest at one number", Cut{{1, y}, {1, x}}, Cut{{1, x}, {}}, false},
		{"another number of lanes", Cut{{1, x}}, Cut{{}, {}}, false},
	} {
		if c.a.Extends(c.b) != c.want {
			t.Errorf("%s: %v", c.name, !c.want)
		}
	}
}

func FuzzCut(f *testing.F) {
	f.Add(Cut{{}, {1, digest.Digest{9}}}.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := wire.NewReader(b)
		if c := ReadCut(r); r.Done() == nil && !bytes.Equal(c.Append(nil), b) {
			t.Errorf("%x encodes to %x", b, c.Append(nil))
		}
	})
}
