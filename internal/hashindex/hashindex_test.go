package hashindex

import (
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestMatchesModel: an index finds the entries that a map has under each hash. Few hashes with many equal lower bits make
// long runs of full slots, which also go over the end of the slots.
func TestMatchesModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hash := rapid.Custom(func(t *rapid.T) uint32 {
			return rapid.SampledFrom([]uint32{0, 1, 2, 14, 15, 30, 31}).Draw(t, "low") | rapid.Uint32Range(0, 2).Draw(t, "high")<<30
		})
		x := New(rapid.IntRange(0, 40).Draw(t, "space"))
		if rapid.Bool().Draw(t, "zero") {
			x = Index{}
		}
		model := make(map[uint32]map[uint32]bool) // numbers by hash
		hashOf := make(map[uint32]uint32)
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			numbers := slices.Sorted(maps.Keys(hashOf))
			step := rapid.IntRange(0, 9).Draw(t, "step")
			switch {
			case step == 0 && rapid.IntRange(0, 9).Draw(t, "clear") == 0:
				x.Clear()
				clear(model)
				clear(hashOf)
			case step < 4 && len(numbers) > 0:
				n := rapid.SampledFrom(numbers).Draw(t, "removed")
				x.Remove(hashOf[n], n)
				delete(model[hashOf[n]], n)
				delete(hashOf, n)
			case step == 4 && len(numbers) > 0:
				n, to := rapid.SampledFrom(numbers).Draw(t, "renumbered"), rapid.Uint32Range(1000, 2000).Draw(t, "to")
				if _, taken := hashOf[to]; taken {
					continue
				}
				h := hashOf[n]
				x.Renumber(h, n, to)
				delete(model[h], n)
				delete(hashOf, n)
				model[h][to], hashOf[to] = true, h
			default:
				h, n := hash.Draw(t, "hash"), rapid.Uint32Range(0, 999).Draw(t, "n")
				if _, taken := hashOf[n]; taken {
					continue
				}
				x.Add(h, n)
				if model[h] == nil {
					model[h] = make(map[uint32]bool)
				}
				model[h][n], hashOf[n] = true, h
			}
			if x.Len() != len(hashOf) {
				t.Fatalf("%d entries, want %d", x.Len(), len(hashOf))
			}
			h := hash.Draw(t, "sought")
			got := make(map[uint32]bool)
			for p := x.First(h); ; {
				n, ok := x.Next(h, &p)
				if !ok {
					break
				}
				if got[n] {
					t.Fatalf("entry %d is found twice", n)
				}
				got[n] = true
			}
			if !maps.Equal(got, model[h]) {
				t.Fatalf("hash %d: found %v, want %v", h, got, model[h])
			}
		}
	})
}

// TestMissingEntryPanics: an entry that is not there cannot be removed or renumbered.
func TestMissingEntryPanics(t *testing.T) {
	for name, change := range map[string]func(x *Index){
		"remove":   func(x *Index) { x.Remove(7, 4) },
		"renumber": func(x *Index) { x.Renumber(8, 3, 5) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			x := New(1)
			x.Add(7, 3)
			change(&x)
		})
	}
}
