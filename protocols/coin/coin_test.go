package coin

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/gtank/ristretto255"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
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

func committee(t testing.TB, n int) *protocols.Committee {
	t.Helper()
	keys := make([]sig.PublicKey, n)
	for i := range keys {
		keys[i] = sig.NewIdeal(1).Signer(uint64(i)).Public()
	}
	c, err := protocols.NewCommittee(digest.Of("test"), 1, keys)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Any f+1 shares give the same value, which is the one the dealt secret gives.
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
		// Interpolate the secret itself, which only the test can.
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
			t.Errorf("n=%d: the value is not the secret's", c.n)
		}
		other := []byte("b statement")
		v, err := d.Combine(other, sharesOf(holder, other, 0, 1, 2))
		if err != nil || v == first {
			t.Errorf("another statement gives the same value (%v)", err)
		}
	}
}

// A share verifies for its replica and statement, and with any bit changed for none.
func TestOnlyTrueSharesVerify(t *testing.T) {
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
	// A proof of a true statement about another point: right proof, wrong share.
	other := secrets[2].Share(statement)
	mixed := s
	copy(mixed[:32], other[:32])
	if d.Verify(1, statement, mixed) {
		t.Error("another replica's point verifies with this one's proof")
	}
	// Scalars that are not reduced are another encoding of the same proof.
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

// Who holds a key cannot prove a wrong share: the challenge covers the share itself, so it cannot be chosen to fit
// a proof that was made before.
func TestProofCannotComeBeforeTheShare(t *testing.T) {
	d, secrets := deal(t, 4, 2)
	statement := []byte("s")
	honest := secrets[0].Share(statement)
	h := base(statement)
	k := hashScalar("test", []byte("nonce"))
	a := ristretto255.NewIdentityElement().ScalarBaseMult(k)
	b := ristretto255.NewIdentityElement().ScalarBaseMult(hashScalar("test", []byte("b"))) // anything
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

// Keys that do not come from one dealing with this threshold are refused, and so are degenerate ones.
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
			t.Errorf("a foreign key %d passes", i)
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
		t.Error("a key that is no point passes")
	}
	for _, c := range []struct{ n, threshold int }{{4, 0}, {4, 5}, {protocols.MaxReplicas + 1, 3}} {
		if _, _, err := Deal(rand.Reader, c.n, c.threshold); err == nil {
			t.Errorf("deals to %d with threshold %d", c.n, c.threshold)
		}
	}
	if _, _, err := Deal(bytes.NewReader(nil), 4, 2); err == nil {
		t.Error("deals without randomness")
	}
}

// No verb prints a secret.
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
		t.Errorf("a secret does not survive its bytes: %v", err)
	}
	for _, bad := range [][]byte{nil, make([]byte, 32), bytes.Repeat([]byte{0xff}, 32), make([]byte, 33)} {
		if _, err := NewSecret(1, bad); err == nil {
			t.Errorf("%x passes for a secret", bad)
		}
	}
}

// The leader is uniform: each of n is within 5 standard deviations of its share.
func TestLeaderIsUnbiased(t *testing.T) {
	const tosses = 40_000
	for _, n := range []int{4, 5, 7, 16, 100} {
		counts := make([]int, n)
		for k := range tosses {
			counts[Value(digest.Of("test", wire.AppendU32(nil, uint32(k)))).Leader(n)]++
		}
		mean := float64(tosses) / float64(n)
		for i, c := range counts {
			if d := float64(c) - mean; d*d > 25*mean {
				t.Errorf("replica %d of %d leads %d of %d times", i, n, c, tosses)
			}
		}
	}
	// A value whose words are all beyond the last multiple of n is drawn again.
	var top Value
	for k := range top {
		top[k] = 0xff
	}
	if l := top.Leader(7); l >= 7 {
		t.Errorf("leader %d of 7", l)
	}
}

// The ideal coin keeps the rules of the real one: no value from fewer shares, or from any that is not true.
func TestIdealKeepsTheRules(t *testing.T) {
	c := NewIdeal(3, 2)
	statement := []byte("s")
	good := sharesOf(c.Holder, statement, 0, 3)
	v, err := c.Combine(statement, good)
	if err != nil {
		t.Fatal(err)
	}
	if w, err := c.Combine(statement, sharesOf(c.Holder, statement, 1, 2)); err != nil || w != v {
		t.Errorf("other shares give another value (%v)", err)
	}
	if _, err := c.Combine(statement, sharesOf(c.Holder, statement, 0)); err == nil {
		t.Error("one share gives a value")
	}
	if _, err := c.Combine([]byte("t"), good); err == nil {
		t.Error("shares of another statement give a value")
	}
	forged := sharesOf(NewIdeal(4, 2).Holder, statement, 0, 3)
	if _, err := c.Combine(statement, forged); err == nil || c.Verify(0, statement, forged.Shares[0]) {
		t.Error("another coin's shares count")
	}
}

// counting counts the calls that reach a scheme.
type counting struct {
	Scheme
	verified, combined int
}

func (c *counting) Verify(i protocols.Index, statement []byte, s Share) bool {
	c.verified++
	return c.Scheme.Verify(i, statement, s)
}

func (c *counting) Combine(statement []byte, s *Shares) (Value, error) {
	c.combined++
	return c.Scheme.Combine(statement, s)
}

// The cache asks once for what holds, every time for what does not, and mixes nothing up.
func TestCacheAnswersAsTheScheme(t *testing.T) {
	d, secrets := deal(t, 4, 2)
	under := &counting{Scheme: d}
	c, err := NewCached(under, 16)
	if err != nil {
		t.Fatal(err)
	}
	statement := []byte("s")
	s := secrets[0].Share(statement)
	forged := s
	forged[40] ^= 1
	for range 3 {
		if !c.Verify(0, statement, s) || c.Verify(0, statement, forged) || c.Verify(1, statement, s) || c.Verify(0, []byte("t"), s) {
			t.Fatal("the cache answers otherwise than the scheme")
		}
	}
	if under.verified != 1+3*3 {
		t.Errorf("%d shares were verified, want 10", under.verified)
	}
	holder := func(i protocols.Index) Holder { return secrets[i] }
	want, err := d.Combine(statement, sharesOf(holder, statement, 0, 1))
	if err != nil {
		t.Fatal(err)
	}
	for _, from := range [][]protocols.Index{{0, 1}, {2, 3}, {1, 3}} {
		if v, err := c.Combine(statement, sharesOf(holder, statement, from...)); err != nil || v != want {
			t.Errorf("shares of %v give %x (%v)", from, v, err)
		}
	}
	if _, err := c.Combine(statement, sharesOf(holder, statement, 1)); err == nil {
		t.Error("one share gives a value from the cache")
	}
	if under.combined != 2 {
		t.Errorf("%d times combined, want 2", under.combined)
	}
}

// A toss is known with the threshold's share of distinct replicas, not before, and proves its leader to others.
func TestTossKnowsAtTheThreshold(t *testing.T) {
	c := committee(t, 7)
	ideal := NewIdeal(1, c.WeakQuorum())
	name := Name{Epoch: 1, Kind: 2, Index: 3, Round: 4}
	statement := name.Statement(c)
	toss := NewToss(c, ideal, name)
	for range 5 {
		if toss.Add(4, ideal.Holder(4).Share(statement)) || toss.Known() {
			t.Fatal("one replica's share, sent again, makes the coin known")
		}
	}
	toss.Add(2, ideal.Holder(2).Share(statement))
	if !toss.Add(6, ideal.Holder(6).Share(statement)) || !toss.Known() {
		t.Fatal("three shares of seven do not make the coin known")
	}
	if toss.Add(1, ideal.Holder(1).Share(statement)) {
		t.Error("the coin becomes known twice")
	}
	proof := toss.Proof()
	relay := &Relay{name, proof}
	check, err := relay.Check(c)
	if err != nil {
		t.Fatal(err)
	}
	for i := range protocols.Index(7) {
		k := check.Electing(i)
		if err := k.Verify(ideal); (err == nil) != (i == toss.Leader()) {
			t.Errorf("electing %d: %v", i, err)
		}
	}
	other := NewToss(c, ideal, name)
	if !other.Learn(&proof) || other.Leader() != toss.Leader() {
		t.Error("who learns the relayed shares knows another leader")
	}
	proof.Shares = proof.Shares[:2]
	proof.Holders.Remove(6)
	if _, err := NewCheck(c, name, &proof); err == nil {
		t.Error("too few relayed shares pass")
	}
	stranger := sharesOf(ideal.Holder, statement, 1, 2, 200)
	if _, err := NewCheck(c, name, stranger); err == nil {
		t.Error("a stranger's share passes")
	}
	forged := sharesOf(NewIdeal(2, 3).Holder, statement, 1, 2, 3)
	k, err := NewCheck(c, name, forged)
	if err != nil {
		t.Fatal(err)
	}
	if k.Verify(ideal) == nil {
		t.Error("forged shares verify")
	}
}

// Whatever decodes encodes to the same bytes, and replicas come in ascending order.
func FuzzShares(f *testing.F) {
	ideal := NewIdeal(1, 2)
	f.Add(sharesOf(ideal.Holder, []byte("s"), 0, 3, 255).Append(nil))
	f.Add([]byte{0, 0})
	one := make([]byte, ShareSize)
	for _, order := range [][2]byte{{3, 1}, {2, 2}} {
		f.Add(append(append(append([]byte{0, 2, 0, order[0]}, one...), 0, order[1]), one...))
	}
	f.Add(append([]byte{0, 1, 1, 0}, make([]byte, ShareSize)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := wire.NewReader(b)
		s := ReadShares(r)
		if err := r.Done(); err != nil {
			if !errors.Is(err, wire.ErrMalformed) {
				t.Fatalf("error %v does not say that the encoding is malformed", err)
			}
			return
		}
		if !bytes.Equal(s.Append(nil), b) {
			t.Fatalf("%x encodes as %x", b, s.Append(nil))
		}
		if s.Holders.Len() != len(s.Shares) {
			t.Fatalf("%d holders of %d shares", s.Holders.Len(), len(s.Shares))
		}
	})
}

// No share that a peer can send makes the scheme panic, and only the true one verifies.
func FuzzVerify(f *testing.F) {
	d, secrets := deal(f, 4, 2)
	statement := []byte("s")
	true0 := secrets[0].Share(statement)
	f.Add(true0[:])
	f.Add(make([]byte, ShareSize))
	f.Fuzz(func(t *testing.T, b []byte) {
		var s Share
		copy(s[:], b)
		if d.Verify(0, statement, s) != (s == true0) {
			t.Fatalf("share %x", s)
		}
	})
}

// Messages have one encoding.
func TestMessagesRoundTrip(t *testing.T) {
	name := Name{Epoch: 1, Kind: 2, Index: 3, Round: 4}
	ideal := NewIdeal(1, 2)
	release := &Release{name, ideal.Holder(1).Share([]byte("s"))}
	r := wire.NewReader(release.Append(nil))
	if again := ReadRelease(r); r.Done() != nil || *again != *release {
		t.Error("a Release does not survive its encoding")
	}
	relay := &Relay{name, *sharesOf(ideal.Holder, []byte("s"), 1, 3)}
	r = wire.NewReader(relay.Append(nil))
	again := ReadRelay(r)
	if r.Done() != nil || again.Name != name || !bytes.Equal(again.Append(nil), relay.Append(nil)) {
		t.Error("a Relay does not survive its encoding")
	}
	c := committee(t, 4)
	seen := map[string]bool{}
	for _, n := range []Name{name, {2, 2, 3, 4}, {1, 3, 3, 4}, {1, 2, 4, 4}, {1, 2, 3, 5}} {
		seen[string(n.Statement(c))] = true
	}
	if len(seen) != 5 {
		t.Error("two names have one statement")
	}
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
