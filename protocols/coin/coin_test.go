package coin

import (
	"bytes"
	"errors"
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/internal/wire"
	"bdtnode/protocols"
	"bdtnode/protocols/committeetest"
)

func committee(t testing.TB, n int) *protocols.Committee {
	t.Helper()
	return committeetest.Ideal(t, sig.NewIdeal(1), 0, n, digest.Of("test"), 1)
}

// TestLeaderIsUnbiased: the leader is uniform. The number of tosses that each of n replicas leads is within 5 standard
// deviations of the mean.
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

// TestIdealFollowsRules: the ideal coin follows the rules of the real one. It gives no value from fewer shares than the
// threshold, or if one of the shares is invalid.
func TestIdealFollowsRules(t *testing.T) {
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
		t.Error("shares of another coin are accepted")
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

// TestCachedMatchesScheme: the cache calls the scheme once for a valid share and every time for an invalid one, and gives
// the same results as the scheme.
func TestCachedMatchesScheme(t *testing.T) {
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
			t.Fatal("the result of the cache differs from that of the scheme")
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
		t.Errorf("the scheme combined %d times, want 2", under.combined)
	}
}

// TestTossThreshold: a toss is known when the threshold number of distinct replicas gave shares, not before. Its proof
// convinces others of the leader.
func TestTossThreshold(t *testing.T) {
	c := committee(t, 7)
	ideal := NewIdeal(1, c.WeakQuorum())
	name := Name{Epoch: 1, Kind: 2, Index: 3, Round: 4}
	statement := name.Statement(c)
	toss := NewToss(c, ideal, name)
	for range 5 {
		if toss.Add(4, ideal.Holder(4).Share(statement)) || toss.Known() {
			t.Fatal("the share of one replica, added again, makes the coin known")
		}
	}
	toss.Add(2, ideal.Holder(2).Share(statement))
	if !toss.Add(6, ideal.Holder(6).Share(statement)) || !toss.Known() {
		t.Fatal("f+1 = 3 shares do not make the coin known")
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
		t.Error("a toss that learns the relayed shares has another leader")
	}
	proof.Shares = proof.Shares[:2]
	proof.Holders.Remove(6)
	if _, err := NewCheck(c, name, &proof); err == nil {
		t.Error("too few relayed shares pass")
	}
	outsider := sharesOf(ideal.Holder, statement, 1, 2, 90)
	if _, err := NewCheck(c, name, outsider); err == nil {
		t.Error("the share of a replica outside the committee passes")
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

// FuzzShares: if bytes decode, the result encodes to the same bytes, and holders are in ascending order.
func FuzzShares(f *testing.F) {
	ideal := NewIdeal(1, 2)
	f.Add(sharesOf(ideal.Holder, []byte("s"), 0, 3, 99).Append(nil))
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
				t.Fatalf("error %v is not wire.ErrMalformed", err)
			}
			return
		}
		if !bytes.Equal(s.Append(nil), b) {
			t.Fatalf("%x encodes as %x", b, s.Append(nil))
		}
		if s.Holders.Len() != len(s.Shares) {
			t.Fatalf("%d holders for %d shares", s.Holders.Len(), len(s.Shares))
		}
	})
}

// TestMessagesRoundTrip: a message decodes to itself, and distinct names have distinct statements.
func TestMessagesRoundTrip(t *testing.T) {
	name := Name{Epoch: 1, Kind: 2, Index: 3, Round: 4}
	ideal := NewIdeal(1, 2)
	release := &Release{name, ideal.Holder(1).Share([]byte("s"))}
	if again, err := DecodeRelease(release.Append(nil)); err != nil || *again != *release {
		t.Error("a Release decodes to another")
	}
	relay := &Relay{name, *sharesOf(ideal.Holder, []byte("s"), 1, 3)}
	again, err := DecodeRelay(relay.Append(nil))
	if err != nil || again.Name != name || !bytes.Equal(again.Append(nil), relay.Append(nil)) {
		t.Error("a Relay decodes to another")
	}
	c := committee(t, 4)
	seen := map[string]bool{}
	for _, n := range []Name{name, {2, 2, 3, 4}, {1, 3, 3, 4}, {1, 2, 4, 4}, {1, 2, 3, 5}} {
		seen[string(n.Statement(c))] = true
	}
	if len(seen) != 5 {
		t.Error("two names have the same statement")
	}
}
