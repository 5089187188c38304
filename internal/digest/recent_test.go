package digest

import (
	"fmt"
	"testing"
)

// TestRecent: the newest digests are remembered, each once, and no more than the bound.
func TestRecent(t *testing.T) {
	const most = 4
	of := func(i int) Digest { return Of("test", fmt.Append(nil, i)) }
	r := NewRecent(most)
	for i := range 3 * most {
		r.Add(of(i))
		r.Add(of(i)) // has no effect
		if want := min(i+1, most); r.Len() != want {
			t.Fatalf("%d digests after %d, want %d", r.Len(), i+1, want)
		}
		for k := range i + 1 {
			if want := k > i-most; r.Has(of(k)) != want {
				t.Fatalf("digest %d of %d is remembered: %v", k, i+1, !want)
			}
		}
	}
}
