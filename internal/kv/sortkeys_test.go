package kv

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestSortByKey compares the order with that of bytes.Compare, for keys with long common beginnings, keys that are the
// beginning of others, and lists that are short or long enough for each way of sorting.
func TestSortByKey(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		letters := rapid.SampledFrom([]int{1, 2, 256}).Draw(t, "letters")
		longest := rapid.SampledFrom([]int{3, 9, 20, 67}).Draw(t, "longest")
		same := rapid.Bool().Draw(t, "same length")
		keys := make([][]byte, rapid.SampledFrom([]int{1, 2, 50, radixLeast, 3 * radixLeast}).Draw(t, "keys"))
		list := make([]sortItem, len(keys))
		for i := range keys {
			n := longest
			if !same {
				n = r.IntN(longest + 1)
			}
			keys[i] = make([]byte, n)
			for k := range keys[i] {
				keys[i][k] = byte(r.IntN(letters))
			}
			list[i].n = uint32(i)
		}
		sortByKey(list, func(n uint32) []byte { return keys[n] })
		got := make([][]byte, len(list))
		for i := range list {
			got[i] = keys[list[i].n]
		}
		slices.SortFunc(keys, bytes.Compare)
		if !slices.EqualFunc(got, keys, bytes.Equal) {
			t.Fatalf("%x, want %x", got, keys)
		}
	})
}
