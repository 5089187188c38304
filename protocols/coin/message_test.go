package coin

import (
	"bytes"
	"testing"

	"bdtnode/protocols"
)

// TestReleaseIsProved: a Release proves the share of its sender for its toss alone.
func TestReleaseIsProved(t *testing.T) {
	c := committee(t, 4)
	ideal := NewIdeal(1, c.WeakQuorum())
	name := Name{Epoch: 1, Kind: 2, Index: 3, Round: 4}
	good := Release{name, ideal.Holder(2).Share(name.Statement(c))}
	for what, x := range map[string]struct {
		m    Release
		from protocols.Index
		ok   bool
	}{
		"the share of the sender":  {good, 2, true},
		"of another replica":       {good, 1, false},
		"of another round":         {Release{Name{1, 2, 3, 5}, good.Share}, 2, false},
		"of another epoch":         {Release{Name{2, 2, 3, 4}, good.Share}, 2, false},
		"of an agreement's twin":   {Release{Name{1, 2, 4, 4}, good.Share}, 2, false},
		"of another kind":          {Release{Name{1, 3, 3, 4}, good.Share}, 2, false},
		"with a bit flipped":       {Release{name, func() Share { s := good.Share; s[7] ^= 1; return s }()}, 2, false},
		"of another coin":          {Release{name, NewIdeal(2, 2).Holder(2).Share(name.Statement(c))}, 2, false},
		"of the same toss, shared": {Release{name, ideal.Holder(3).Share(name.Statement(c))}, 2, false},
	} {
		check := x.m.Check(c, x.from)
		if err := check.Verify(ideal); (err == nil) != x.ok {
			t.Errorf("a share %s: %v", what, err)
		}
	}
}

// TestRelayNeedsTheThreshold: a Relay is refused unless it has exactly f+1 shares of replicas of the shard.
func TestRelayNeedsTheThreshold(t *testing.T) {
	c := committee(t, 7)
	ideal := NewIdeal(1, c.WeakQuorum())
	name := Name{Epoch: 1, Round: 1}
	statement := name.Statement(c)
	for count := 0; count <= 7; count++ {
		var from []protocols.Index
		for i := range protocols.Index(count) {
			from = append(from, i)
		}
		relay := &Relay{name, *sharesOf(ideal.Holder, statement, from...)}
		check, err := relay.Check(c)
		if (err == nil) != (count == c.WeakQuorum()) {
			t.Errorf("%d shares: %v", count, err)
		}
		if err == nil && check.Verify(ideal) != nil {
			t.Errorf("%d valid shares do not verify", count)
		}
	}
}

// TestLearnNeedsVerifiedShares: a toss panics on shares that do not combine, since its caller must verify them before.
func TestLearnNeedsVerifiedShares(t *testing.T) {
	c := committee(t, 4)
	ideal := NewIdeal(1, c.WeakQuorum())
	name := Name{Epoch: 1, Round: 1}
	toss := NewToss(c, ideal, name)
	defer func() {
		if recover() == nil || toss.Known() {
			t.Error("one share makes the coin known")
		}
	}()
	toss.Learn(sharesOf(ideal.Holder, name.Statement(c), 1))
}

// TestReleased: before the coin is known, the set has the replicas whose share was added; then those of the proof.
func TestReleased(t *testing.T) {
	c := committee(t, 7)
	ideal := NewIdeal(1, c.WeakQuorum())
	name := Name{Epoch: 1, Round: 1}
	toss := NewToss(c, ideal, name)
	var want protocols.Set
	for _, i := range []protocols.Index{5, 0, 3} {
		if toss.Released() != want {
			t.Errorf("released %v, want %v", toss.Released(), want)
		}
		toss.Add(i, ideal.Holder(i).Share(name.Statement(c)))
		want.Add(i)
	}
	toss.Add(6, ideal.Holder(6).Share(name.Statement(c)))
	if !toss.Known() || toss.Released() != want || toss.Proof().Holders != want {
		t.Errorf("known %v, released %v, want %v", toss.Known(), toss.Released(), want)
	}
}

// FuzzMessages: bytes that decode as a Release or Relay encode to the same bytes, and their checks do not panic.
func FuzzMessages(f *testing.F) {
	c := committee(f, 4)
	ideal := NewIdeal(1, c.WeakQuorum())
	name := Name{Epoch: 1, Kind: 2, Index: 3, Round: 4}
	f.Add((&Release{name, ideal.Holder(1).Share([]byte("s"))}).Append(nil))
	f.Add((&Relay{name, *sharesOf(ideal.Holder, []byte("s"), 1, 3)}).Append(nil))
	f.Add((&Relay{name, *sharesOf(ideal.Holder, []byte("s"), 1, 99)}).Append(nil))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if m, err := DecodeRelease(raw); err == nil {
			if !bytes.Equal(m.Append(nil), raw) {
				t.Errorf("the Release %x encodes to %x", raw, m.Append(nil))
			}
			check := m.Check(c, 1)
			_ = check.Verify(ideal)
		}
		if m, err := DecodeRelay(raw); err == nil {
			if !bytes.Equal(m.Append(nil), raw) {
				t.Errorf("the Relay %x encodes to %x", raw, m.Append(nil))
			}
			if check, err := m.Check(c); err == nil {
				_ = check.Verify(ideal)
			}
		}
	})
}

// TestDealRefused: a coin is not dealt with an impossible threshold, to too many replicas, or without enough randomness.
func TestDealRefused(t *testing.T) {
	random := func(n int) *bytes.Reader { return bytes.NewReader(bytes.Repeat([]byte{7}, n)) }
	for name, x := range map[string]struct{ bytes, n, threshold int }{
		"threshold 0":          {1 << 12, 4, 0},
		"threshold above n":    {1 << 12, 4, 5},
		"too many replicas":    {1 << 12, protocols.MaxReplicas + 1, 2},
		"randomness too short": {2*64 - 1, 4, 2},
	} {
		if _, _, err := Deal(random(x.bytes), x.n, x.threshold); err == nil {
			t.Errorf("%s: a coin is dealt", name)
		}
	}
	if public, secrets, err := Deal(random(2*64), 4, 2); err != nil || len(public) != 4 || len(secrets) != 4 {
		t.Errorf("%d keys and %d secrets for 4 replicas: %v", len(public), len(secrets), err)
	}
}
