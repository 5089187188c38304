package coin

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/gtank/ristretto255"

	"bdtnode/internal/digest"
	"bdtnode/internal/wire"
	"bdtnode/protocols"
)

func deal(t testing.TB, n, threshold int) (*DH, []*Secret) {
	t.Helper()
	public, secrets, err := Deal(rand.Reader, n, threshold)
	if err != nil {
		t.Fatal(err)
	}
	d, err := NewDH(public, threshold)
	if err != nil {
		t.Fatal(err)
	}
	return d, secrets
}

func sharesOf(holder func(i protocols.Index) Holder, statement []byte, from ...protocols.Index) *Shares {
	var s Shares
	for _, i := range from {
		s.Holders.Add(i)
	}
	for _, i := range s.Holders.Members() {
		s.Shares = append(s.Shares, holder(i).Share(statement))
	}
	return &s
}

// TestAnyThresholdOfSharesGivesOneValue: any f+1 shares give the same value, and it is the value of the dealt secret.
func TestAnyThresholdOfSharesGivesOneValue(t *testing.T) {
	for _, c := range []struct{ n, threshold int }{{4, 2}, {7, 3}, {5, 2}} {
		d, secrets := deal(t, c.n, c.threshold)
		holder := func(i protocols.Index) Holder { return secrets[i] }
		statement := []byte("a statement")
		var first Value
		sets := 0
		for mask := range 1 << c.n {
			var from []protocols.Index
			for i := range c.n {
				if mask&(1<<i) != 0 {
					from = append(from, protocols.Index(i))
				}
			}
			v, err := d.Combine(statement, sharesOf(holder, statement, from...))
			if len(from) < c.threshold {
				if err == nil {
					t.Fatalf("%d of %d shares give a value", len(from), c.threshold)
				}
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			if sets++; sets == 1 {
				first = v
			}
			if v != first {
				t.Fatalf("n=%d: shares of %v give another value", c.n, from)
			}
		}
		// Interpolate the secret itself. Only the test can do that, since it holds all keys.
		x := ristretto255.NewScalar()
		for i := 1; i <= c.threshold; i++ {
			w := small(1)
			for j := 1; j <= c.threshold; j++ {
				if j != i {
					inverse := ristretto255.NewScalar().Subtract(small(j), small(i))
					w.Multiply(w, small(j)).Multiply(w, inverse.Invert(inverse))
				}
			}
			x.Add(x, w.Multiply(w, secrets[i-1].scalar))
		}
		point := ristretto255.NewIdentityElement().ScalarMult(x, base(statement))
		if want := Value(digest.Of("bdt/coin-value/1", wire.AppendBytes(nil, statement), point.Bytes())); first != want {
			t.Errorf("n=%d: the value differs from that of the secret", c.n)
		}
		other := []byte("b statement")
		v, err := d.Combine(other, sharesOf(holder, other, 0, 1, 2))
		if err != nil || v == first {
			t.Errorf("another statement gives the same value (%v)", err)
		}
	}
}

// TestOnlyCorrectSharesVerify: a share verifies for its replica and its statement only, and not with any bit changed.
func TestOnlyCorrectSharesVerify(t *testing.T) {
	d, secrets := deal(t, 4, 2)
	statement := []byte("a statement")
	s := secrets[1].Share(statement)
	if !d.Verify(1, statement, s) {
		t.Fatal("a share does not verify")
	}
	if s != secrets[1].Share(statement) {
		t.Error("the same statement gives two shares")
	}
	if d.Verify(2, statement, s) || d.Verify(1, []byte("other"), s) || d.Verify(9, statement, s) {
		t.Error("a share verifies for another replica or statement")
	}
	if d.Verify(1, statement, Share{}) {
		t.Error("the zero share verifies")
	}
	for bit := range 8 * ShareSize {
		forged := s
		forged[bit/8] ^= 1 << (bit % 8)
		if d.Verify(1, statement, forged) {
			t.Errorf("a share with bit %d changed verifies", bit)
		}
	}
	// The proof of this share does not verify with the point of another replica's share.
	other := secrets[2].Share(statement)
	mixed := s
	copy(mixed[:32], other[:32])
	if d.Verify(1, statement, mixed) {
		t.Error("the point of another replica verifies with the proof of this one")
	}
	// A scalar that is not reduced would be a second encoding of the same proof.
	order, err := hex.DecodeString("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010")
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int{32, 64} {
		raised, carry := s, 0
		for k := range 32 {
			sum := int(raised[at+k]) + int(order[k]) + carry
			raised[at+k], carry = byte(sum), sum>>8
		}
		if d.Verify(1, statement, raised) {
			t.Errorf("a share with an unreduced scalar at %d verifies", at)
		}
	}
}

// TestProofCoversShare: a replica that holds a key cannot prove a wrong share. The challenge covers the share itself, so
// the share cannot be computed to fit a proof that was made before it.
func TestProofCoversShare(t *testing.T) {
	d, secrets := deal(t, 4, 2)
	statement := []byte("s")
	honest := secrets[0].Share(statement)
	h := base(statement)
	k := hashScalar("test", []byte("nonce"))
	a := ristretto255.NewIdentityElement().ScalarBaseMult(k)
	b := ristretto255.NewIdentityElement().ScalarBaseMult(hashScalar("test", []byte("b"))) // any point
	for _, claimed := range [][]byte{nil, honest[:32], make([]byte, 32)} {
		c := challenge(0, statement, d.public[0], claimed, a, b)
		z := ristretto255.NewScalar().Multiply(c, secrets[0].scalar)
		z.Add(z, k)
		point := ristretto255.NewIdentityElement().ScalarMult(z, h)
		point.Subtract(point, b).ScalarMult(ristretto255.NewScalar().Invert(c), point)
		var forged Share
		copy(forged[:32], point.Bytes())
		copy(forged[32:64], c.Bytes())
		copy(forged[64:], z.Bytes())
		if d.Verify(0, statement, forged) {
			t.Error("a share that was computed from its proof verifies")
		}
	}
}

// TestInconsistentKeysAreRefused: keys that do not come from one dealing with this threshold are refused, and so is the
// identity.
func TestInconsistentKeysAreRefused(t *testing.T) {
	public, _, err := Deal(rand.Reader, 7, 3)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewDH(public, 3); err != nil {
		t.Fatal(err)
	}
	if _, err := NewDH(public, 2); err == nil {
		t.Error("keys dealt with threshold 3 pass for threshold 2")
	}
	others, _, err := Deal(rand.Reader, 7, 3)
	if err != nil {
		t.Fatal(err)
	}
	for i := range public {
		mixed := append([]PublicKey(nil), public...)
		mixed[i] = others[i]
		if _, err := NewDH(mixed, 3); err == nil {
			t.Errorf("key %d of another dealing passes", i)
		}
	}
	swapped := append([]PublicKey(nil), public...)
	swapped[0], swapped[1] = swapped[1], swapped[0]
	if _, err := NewDH(swapped, 3); err == nil {
		t.Error("keys in another order pass")
	}
	if _, err := NewDH(make([]PublicKey, 4), 2); err == nil {
		t.Error("identity keys pass")
	}
	bad := append([]PublicKey(nil), public...)
	bad[2][0] ^= 1
	if _, err := NewDH(bad, 3); err == nil {
		t.Error("a key that is not a group element passes")
	}
	for _, c := range []struct{ n, threshold int }{{4, 0}, {4, 5}, {protocols.MaxReplicas + 1, 3}} {
		if _, _, err := Deal(rand.Reader, c.n, c.threshold); err == nil {
			t.Errorf("Deal accepts %d replicas with threshold %d", c.n, c.threshold)
		}
	}
	if _, _, err := Deal(bytes.NewReader(nil), 4, 2); err == nil {
		t.Error("Deal works without randomness")
	}
}

// TestSecretsAreRedacted: no formatting verb prints a secret.
func TestSecretsAreRedacted(t *testing.T) {
	_, secrets := deal(t, 4, 2)
	s := secrets[1]
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%b", "%t"} {
		for _, v := range []any{s, *s, struct{ S *Secret }{s}, []*Secret{s}} {
			out := strings.ToLower(fmt.Sprintf(verb, v))
			if strings.Contains(out, hex.EncodeToString(s.Bytes())) || strings.Contains(out, fmt.Sprint(s.Bytes()[:6])[1:8]) {
				t.Errorf("%s of %T prints the secret: %s", verb, v, out)
			}
		}
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		if out := fmt.Sprintf(verb, s); out != s.String() {
			t.Errorf("%s prints %s", verb, out)
		}
	}
	again, err := NewSecret(1, s.Bytes())
	if err != nil || !again.Equal(s) || again.Public() != s.Public() || again.Equal(secrets[2]) {
		t.Errorf("a secret differs after Bytes and NewSecret: %v", err)
	}
	for _, bad := range [][]byte{nil, make([]byte, 32), bytes.Repeat([]byte{0xff}, 32), make([]byte, 33)} {
		if _, err := NewSecret(1, bad); err == nil {
			t.Errorf("%x is accepted as a secret", bad)
		}
	}
}

// FuzzVerify: no share that a peer can send makes the scheme panic, and only the correct share verifies.
func FuzzVerify(f *testing.F) {
	d, secrets := deal(f, 4, 2)
	statement := []byte("s")
	correct := secrets[0].Share(statement)
	f.Add(correct[:])
	f.Add(make([]byte, ShareSize))
	f.Fuzz(func(t *testing.T, b []byte) {
		var s Share
		copy(s[:], b)
		if d.Verify(0, statement, s) != (s == correct) {
			t.Fatalf("share %x", s)
		}
	})
}

func BenchmarkShare(b *testing.B) {
	_, secrets := deal(b, 4, 2)
	for b.Loop() {
		secrets[0].Share([]byte("s"))
	}
}

func BenchmarkVerify(b *testing.B) {
	d, secrets := deal(b, 4, 2)
	s := secrets[0].Share([]byte("s"))
	for b.Loop() {
		d.Verify(0, []byte("s"), s)
	}
}
