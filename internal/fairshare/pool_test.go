package fairshare

import (
	"testing"

	"pgregory.net/rapid"
)

// TestShares: one party alone gets three quarters, the next one three quarters of the rest, and a new one always finds
// something.
func TestShares(t *testing.T) {
	p := NewPool[string](100, 1)
	take := func(party string) (n int) {
		for p.Take(party, 1) {
			n++
		}
		return n
	}
	if a, b, c := take("a"), take("b"), take("c"); a != 75 || b != 18 || c < 1 {
		t.Errorf("%d, %d and %d", a, b, c)
	}
}

// TestPoolAccounts: the free part and the parts of all parties add up to the amount. A party gets more exactly if its
// share allows it, or if it then has the least amount at most, as long as there is so much.
func TestPoolAccounts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const amount = 50
		least := rapid.Int64Range(0, amount).Draw(t, "least")
		p, held := NewPool[int](amount, least), make(map[int]int64)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			party, n := rapid.IntRange(0, 3).Draw(t, "party"), rapid.Int64Range(1, 20).Draw(t, "n")
			if rapid.Bool().Draw(t, "give") {
				n = min(n, held[party])
				p.Give(party, n)
				held[party] -= n
			} else {
				fits := n <= p.Free()
				after := p.Free() - n
				want := fits && (held[party]+n <= least || held[party]+n <= 3*after)
				if got := p.Take(party, n); got != want {
					t.Fatalf("taking %d with %d held, %d free and a least of %d: %v", n, held[party], p.Free(), least, got)
				}
				if want {
					held[party] += n
				}
			}
			sum, parties := p.Free(), 0
			for _, h := range held {
				if sum += h; h > 0 {
					parties++
				}
			}
			if sum != amount || p.Parties() != parties {
				t.Fatalf("free and held add up to %d of %d, %d of %d parties", sum, amount, p.Parties(), parties)
			}
		}
	})
}

func TestGivingMoreThanHeldPanics(t *testing.T) {
	p := NewPool[string](10, 1)
	p.Take("a", 2)
	defer func() {
		if recover() == nil {
			t.Error("a party returned more than it holds")
		}
	}()
	p.Give("a", 3)
}
