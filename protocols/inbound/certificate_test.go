package inbound

import (
	"bytes"
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/protocols"
	"bdtnode/protocols/committeetest"
	"bdtnode/protocols/lanes"
)

const t0 protocols.Time = 1_000_000_000_000

// bench has the keys of a shard. It makes LDs of shard 1 and the signatures of replicas on them.
type bench struct {
	c      *protocols.Committee
	scheme *sig.Ideal
}

func newBench(t testing.TB, n int) *bench {
	t.Helper()
	b := &bench{scheme: sig.NewIdeal(1)}
	b.c = committeetest.Ideal(t, b.scheme, 0, n, digest.Of("network"), 0)
	return b
}

func (b *bench) machine(i protocols.Index) *Machine {
	return New(Config{Committee: b.c, Self: i, Signer: b.scheme.Signer(uint64(i)), Shards: 3})
}

func ld(number uint64, previous digest.Digest, salt string) *LD {
	return &LD{Source: 1, Number: number, Previous: previous, Digest: digest.Of("test-ld", []byte(salt)), Raw: []byte(salt)}
}

func (b *bench) sign(i protocols.Index, t lanes.Tip) *SIGN {
	return &SIGN{Source: 1, Tip: t, Signature: b.scheme.Signer(uint64(i)).Sign(statement(b.c, 1, t))}
}

func (b *bench) certificate(t lanes.Tip, signers ...protocols.Index) *TipCertificate {
	tally := protocols.NewTally(t.Digest)
	for _, i := range signers {
		tally.Add(i, b.sign(i, t).Signature)
	}
	return &TipCertificate{Source: 1, Tip: t, Certificate: tally.Certificate()}
}

func (b *bench) proved(x *TipCertificate) bool {
	got, err := DecodeTipCertificate(x.Append(nil))
	if err != nil || !bytes.Equal(got.Append(nil), x.Append(nil)) {
		return false
	}
	checks, err := got.SignatureChecks(b.c)
	return err == nil && b.scheme.VerifyAll(checks)
}

// TestCertificate: f+1 SIGN, counted by signer, make a certificate that verifies. Certificate gives the highest one, and
// none for an ordered position.
func TestCertificate(t *testing.T) {
	for n := 4; n <= 8; n++ {
		b := newBench(t, n)
		m := b.machine(0)
		first, second := ld(1, digest.Digest{}, "1"), ld(2, digest.Of("test-ld", []byte("1")), "2")
		m.HandleLD(t0, first)
		for i := 1; i < b.c.WeakQuorum(); i++ {
			if certified, ordered := m.Pending(1); certified != 0 || ordered != 0 || m.Certificate(1) != nil {
				t.Fatalf("n=%d: certified by %d", n, i)
			}
			m.HandleSIGN(protocols.Index(i), b.sign(protocols.Index(i), first.Tip()))
			m.HandleSIGN(1, b.sign(1, first.Tip())) // again
		}
		if x := m.Certificate(1); x == nil || x.Tip != first.Tip() || len(x.Certificate.Signatures) != b.c.WeakQuorum() || !b.proved(x) {
			t.Fatalf("n=%d: after f+1 SIGN the certificate is %+v", n, x)
		}
		for i := range b.c.N() - 1 {
			m.HandleSIGN(protocols.Index(i+1), b.sign(protocols.Index(i+1), second.Tip()))
		}
		if x := m.Certificate(1); x == nil || x.Tip != second.Tip() || len(x.Certificate.Signatures) != b.c.WeakQuorum() || !b.proved(x) {
			t.Errorf("n=%d: the highest certificate is %+v", n, x)
		}
		m.Ordered(t0, lanes.Cut{{}, second.Tip(), {}})
		if certified, ordered := m.Pending(1); certified != 2 || ordered != 2 || m.Certificate(1) != nil {
			t.Errorf("n=%d: an ordered position is pending", n)
		}
	}
}

// TestHandleCertificate: with a certificate alone, an LD can be voted for and proposed. If the LD is not held, it is
// fetched from one of its signers.
func TestHandleCertificate(t *testing.T) {
	b := newBench(t, 4)
	m := b.machine(0)
	x := ld(3, digest.Of("test-ld", []byte("2")), "3")
	origin := make(lanes.Cut, 3)
	cut := lanes.Cut{{}, x.Tip(), {}}
	if m.CheckCut(t0, origin, cut, 2) == lanes.Votable {
		t.Fatal("an LD without signatures can be voted for")
	}
	m = b.machine(0)
	st := m.HandleCertificate(t0, b.certificate(x.Tip(), 2, 3))
	if len(st.Out) != 1 || m.CheckCut(t0, origin, cut, 1) != lanes.Votable || m.ProposableCut(t0, origin)[1] != x.Tip() {
		t.Error("a certified LD cannot be voted for, or cannot be proposed")
	}
	asked := m.Tick(t0.Add(fetchGrace)).Sends
	if len(asked) != 1 || asked[0].To != 2 || asked[0].Message.(*FetchLD).Tip != x.Tip() {
		t.Errorf("fetches %+v", asked)
	}
	if st := m.HandleCertificate(t0, b.certificate(x.Tip(), 2, 3)); len(st.Out) != 0 {
		t.Error("the second certificate makes an output")
	}
	far := lanes.Tip{Seq: Window + 1, Digest: x.Digest}
	if st := m.HandleCertificate(t0, b.certificate(far, 2, 3)); len(st.Out) != 0 {
		t.Error("a certificate beyond the window makes an output")
	}
}

// TestCertificateIsProved: certificates with too few signers, for another position or source, or malformed are refused.
func TestCertificateIsProved(t *testing.T) {
	b := newBench(t, 4)
	tip := ld(1, digest.Digest{}, "1").Tip()
	if !b.proved(b.certificate(tip, 1, 3)) {
		t.Fatal("a good certificate is refused")
	}
	for name, spoil := range map[string]func(*TipCertificate){
		"too few":         func(x *TipCertificate) { *x = *b.certificate(tip, 1) },
		"another number":  func(x *TipCertificate) { x.Tip.Seq++ },
		"another LD":      func(x *TipCertificate) { x.Tip.Digest[0] ^= 1 },
		"another source":  func(x *TipCertificate) { x.Source = 2 },
		"its own shard":   func(x *TipCertificate) { x.Source = 0 },
		"a bad signature": func(x *TipCertificate) { x.Certificate.Signatures[1][0] ^= 1 },
		"wrong signer":    func(x *TipCertificate) { x.Certificate.Signers.Remove(3); x.Certificate.Signers.Add(2) },
		"the origin":      func(x *TipCertificate) { x.Tip = lanes.Tip{} },
		"not a replica":   func(x *TipCertificate) { x.Certificate.Signers.Remove(3); x.Certificate.Signers.Add(4) },
	} {
		x := b.certificate(tip, 1, 3)
		spoil(x)
		if b.proved(x) {
			t.Errorf("%s: accepted", name)
		}
	}
}

func FuzzTipCertificate(f *testing.F) {
	b := newBench(f, 4)
	f.Add(b.certificate(ld(1, digest.Digest{}, "1").Tip(), 1, 3).Append(nil))
	f.Fuzz(func(t *testing.T, raw []byte) {
		x, err := DecodeTipCertificate(raw)
		if err != nil {
			return
		}
		if !bytes.Equal(x.Append(nil), raw) {
			t.Errorf("%x encodes to %x", raw, x.Append(nil))
		}
		_, _ = x.SignatureChecks(b.c)
	})
}
