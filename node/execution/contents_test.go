package execution

import (
	"math/rand/v2"
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/ledger"
)

func key(i int) digest.Digest { return digest.Of("key", []byte{byte(i >> 8), byte(i)}) }

// TestContentsAreBounded: after any puts and drops, the sizes of the kept contents are their count of bytes, which is at
// most the limit.
func TestContentsAreBounded(t *testing.T) {
	const limit, keys = 1000, 60
	c, r := newContents(limit), rand.New(rand.NewPCG(1, 1))
	sizes := make(map[int]int)
	for range 5000 {
		k := r.IntN(keys)
		switch {
		case r.IntN(4) == 0:
			c.drop(key(k))
		default:
			if !c.Has(key(k)) {
				sizes[k] = r.IntN(limit / 2)
			}
			c.put(key(k), content{size: sizes[k]})
			if !c.Has(key(k)) {
				t.Fatal("a content smaller than the limit is not kept")
			}
		}
		sum := 0
		for k := range keys {
			if c.Has(key(k)) {
				sum += sizes[k]
			}
		}
		if sum != c.bytes || sum > limit {
			t.Fatalf("%d bytes are kept and %d counted, at most %d are allowed", sum, c.bytes, limit)
		}
	}
}

// TestLeastRecentlyUsedIsDropped: of full contents the one goes that was unused for the longest time; get is a use. The
// second put under a digest changes nothing. A content above the limit is not kept.
func TestLeastRecentlyUsedIsDropped(t *testing.T) {
	c := newContents(30)
	first := &ledger.Payload{}
	c.put(key(0), content{payload: first, size: 10})
	c.put(key(1), content{size: 10})
	c.put(key(2), content{size: 10})
	c.put(key(0), content{payload: &ledger.Payload{}, size: 25})
	if c.get(key(0)).payload != first || c.bytes != 30 {
		t.Errorf("a second put changes a content: %d bytes", c.bytes)
	}
	c.put(key(3), content{size: 10})
	for k, want := range []bool{true, false, true, true} {
		if c.Has(key(k)) != want {
			t.Errorf("content %d is kept: %v, want %v", k, !want, want)
		}
	}
	c.put(key(4), content{size: 31})
	if c.Has(key(4)) || c.bytes != 0 {
		t.Errorf("a content above the limit leaves %d bytes", c.bytes)
	}
}
