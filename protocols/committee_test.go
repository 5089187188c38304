package protocols

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/internal/wire"
)

// committee makes n replicas with ideal keys.
func committee(t testing.TB, n int) (*Committee, *sig.Ideal) {
	t.Helper()
	scheme := sig.NewIdeal(1)
	keys := make([]sig.PublicKey, n)
	for i := range keys {
		keys[i] = scheme.Signer(uint64(i)).Public()
	}
	c, err := NewCommittee(digest.Of("test", nil), 3, keys)
	if err != nil {
		t.Fatal(err)
	}
	return c, scheme
}

func TestThresholds(t *testing.T) {
	for _, x := range []struct{ n, f, quorum, weak int }{
		{4, 1, 3, 2}, {5, 1, 4, 2}, {6, 1, 5, 2}, {7, 2, 5, 3}, {10, 3, 7, 4}, {100, 33, 67, 34},
	} {
		c, _ := committee(t, x.n)
		if c.F() != x.f || c.Quorum() != x.quorum || c.WeakQuorum() != x.weak {
			t.Errorf("n=%d: f %d, quorum %d, weak %d, want %d, %d, %d", x.n, c.F(), c.Quorum(), c.WeakQuorum(), x.f, x.quorum, x.weak)
		}
	}
	for n := MinReplicas; n <= MaxReplicas; n++ {
		c, _ := committee(t, n)
		switch {
		case 3*c.F() >= n:
			t.Errorf("n=%d: f=%d is a third or more", n, c.F())
		case 2*c.Quorum()-n <= c.F():
			t.Errorf("n=%d: two quorums may share Byzantine replicas only", n)
		case c.N()-c.F() < c.Quorum():
			t.Errorf("n=%d: the honest replicas are no quorum", n)
		case c.WeakQuorum() <= c.F():
			t.Errorf("n=%d: a weak quorum may have no honest replica", n)
		}
	}
}

func TestCommitteeRefused(t *testing.T) {
	scheme := sig.NewIdeal(1)
	keys := func(n int) (out []sig.PublicKey) {
		for i := range n {
			out = append(out, scheme.Signer(uint64(i)).Public())
		}
		return out
	}
	twice := keys(4)
	twice[3] = twice[0]
	for name, k := range map[string][]sig.PublicKey{"three": keys(3), "too many": keys(MaxReplicas + 1), "a key twice": twice, "none": nil} {
		if _, err := NewCommittee(digest.Digest{}, 0, k); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestStatementBindsEverything(t *testing.T) {
	c, scheme := committee(t, 4)
	keys := make([]sig.PublicKey, 4)
	for i := range keys {
		keys[i] = scheme.Signer(uint64(i)).Public()
	}
	otherNetwork, err := NewCommittee(digest.Of("other", nil), 3, keys)
	if err != nil {
		t.Fatal(err)
	}
	otherShard, err := NewCommittee(c.Network(), 4, keys)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]string)
	for name, s := range map[string][]byte{
		"base":            c.Statement("bdt/x/1", []byte("ab")),
		"another kind":    c.Statement("bdt/y/1", []byte("ab")),
		"another version": c.Statement("bdt/x/2", []byte("ab")),
		"another network": otherNetwork.Statement("bdt/x/1", []byte("ab")),
		"another shard":   otherShard.Statement("bdt/x/1", []byte("ab")),
		"other fields":    c.Statement("bdt/x/1", []byte("ac")),
	} {
		if old, dup := seen[string(s)]; dup {
			t.Errorf("%s and %s have one statement", name, old)
		}
		seen[string(s)] = name
	}
}

func TestSet(t *testing.T) {
	var s Set
	for _, i := range []Index{99, 0, 64, 63} {
		if !s.Add(i) || s.Add(i) || !s.Has(i) {
			t.Errorf("adding %d", i)
		}
	}
	if got := fmt.Sprint(s.Members()); got != "[0 63 64 99]" || s.Len() != 4 {
		t.Errorf("members %s, %d", got, s.Len())
	}
	s.Remove(64)
	s.Remove(5)
	if s.Has(64) || s.Len() != 3 {
		t.Error("removing")
	}
}

// TestTallyCountsSigners: a tally counts distinct signers, not messages.
func TestTallyCountsSigners(t *testing.T) {
	c, scheme := committee(t, 4)
	m := c.Statement("bdt/x/1")
	tally := NewTally(digest.Of("x"))
	for range 5 {
		tally.Add(2, scheme.Signer(2).Sign(m))
	}
	if tally.Len() != 1 {
		t.Fatalf("one signer counts %d times", tally.Len())
	}
	if tally.Add(2, sig.Signature{}) || !tally.Add(0, scheme.Signer(0).Sign(m)) || !tally.Add(3, scheme.Signer(3).Sign(m)) {
		t.Fatal("first and later signatures are confused")
	}
	cert := tally.Certificate()
	checks, err := c.SignatureChecks(&cert, c.Quorum(), m)
	if err != nil || !scheme.VerifyAll(checks) || len(checks) != 3 {
		t.Fatalf("certificate of three: %v", err)
	}
	if _, err := c.SignatureChecks(&cert, 4, m); err == nil {
		t.Error("a certificate below the threshold passes")
	}
	if checks, err := c.SignatureChecks(&cert, 3, c.Statement("bdt/y/1")); err == nil && scheme.VerifyAll(checks) {
		t.Error("a certificate proves another statement")
	}
	var outsider Certificate
	outsider.Signers.Add(4)
	outsider.Signatures = []sig.Signature{{}}
	if _, err := c.SignatureChecks(&outsider, 1, m); err == nil {
		t.Error("a certificate with a signer outside the committee passes")
	}
}

func TestCertificateRefused(t *testing.T) {
	one := func(b []byte, i uint16) []byte {
		return append(wire.AppendU16(b, i), make([]byte, sig.SignatureSize)...)
	}
	for name, b := range map[string][]byte{
		"a signer twice":   one(one(wire.AppendU16(nil, 2), 1), 1),
		"out of order":     one(one(wire.AppendU16(nil, 2), 2), 1),
		"beyond the limit": one(wire.AppendU16(nil, 1), MaxReplicas),
		"count too large":  one(wire.AppendU16(nil, 2), 1),
		"bytes left over":  append(one(wire.AppendU16(nil, 1), 1), 0),
		"empty":            nil,
	} {
		r := wire.NewReader(b)
		ReadCertificate(r)
		if err := r.Done(); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzCertificate(f *testing.F) {
	var c Certificate
	f.Add(c.Append(nil))
	c.Signers.Add(1)
	c.Signers.Add(90)
	c.Signatures = []sig.Signature{{1}, {2}}
	f.Add(c.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := wire.NewReader(b)
		c := ReadCertificate(r)
		if r.Done() == nil && !bytes.Equal(c.Append(nil), b) {
			t.Errorf("%x decodes and encodes to %x", b, c.Append(nil))
		}
	})
}

func TestEarliest(t *testing.T) {
	for _, x := range []struct {
		in   []Time
		want Time
	}{{nil, 0}, {[]Time{0, 0}, 0}, {[]Time{0, 5, 3, 0}, 3}} {
		if got := Earliest(x.in...); got != x.want {
			t.Errorf("the earliest of %v is %d", x.in, got)
		}
	}
}
