package merkle

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"bdtnode/internal/digest"
)

// subset returns the indexes of the bits of mask, and the leaves there.
func subset(leaves []digest.Digest, mask int) (at []int, some []digest.Digest) {
	for i := range leaves {
		if mask>>i&1 == 1 {
			at, some = append(at, i), append(some, leaves[i])
		}
	}
	return at, some
}

// TestSetProofIsValidForOneSetOnly tries the proof of every subset of lists up to 7 leaves with every subset of every
// length, with and without its own leaves.
func TestSetProofIsValidForOneSetOnly(t *testing.T) {
	const limit = 7
	checked := 0
	for n := 1; n <= limit; n++ {
		leaves := leavesOf(n)
		root := Root(leaves)
		for mask := 1; mask < 1<<n; mask++ {
			at, own := subset(leaves, mask)
			p := ProveSet(leaves, at)
			for count := 1; count <= limit+1; count++ {
				all := leavesOf(count)
				for other := range 1 << count {
					indexes, some := subset(all, other)
					want := count == n && other == mask
					if got := p.VerifySet(root, some, indexes, count); got != want {
						t.Fatalf("proof of %v of %d verifies for %v of %d: %v", at, n, indexes, count, got)
					}
					if len(indexes) == len(at) && p.VerifySet(root, own, indexes, count) != want {
						t.Fatalf("proof of %v of %d verifies its leaves at %v of %d: %v", at, n, indexes, count, !want)
					}
					checked++
				}
			}
		}
	}
	if checked < 100_000 {
		t.Fatalf("only %d sets were checked", checked)
	}
}

// TestSetProofOfOneLeafIsTheProofOfThatLeaf: both kinds of proof are the same for one leaf.
func TestSetProofOfOneLeafIsTheProofOfThatLeaf(t *testing.T) {
	for n := 1; n <= 40; n++ {
		leaves := leavesOf(n)
		root := Root(leaves)
		for i := range n {
			one, set := Prove(leaves, i), ProveSet(leaves, []int{i})
			if !slices.Equal(one.Path, set.Path) {
				t.Fatalf("leaf %d of %d has two proofs", i, n)
			}
			if siblings, ok := Siblings([]int{i}, n); !ok || siblings != len(one.Path) || !one.VerifySet(root, leaves[i:i+1], []int{i}, n) {
				t.Fatalf("leaf %d of %d: the proof does not verify", i, n)
			}
		}
	}
}

// TestNoProofOfBadSets: no proof is valid for indexes that are no ascending set within the list.
func TestNoProofOfBadSets(t *testing.T) {
	leaves := leavesOf(4)
	root := Root(leaves)
	for _, at := range [][]int{{}, {-1}, {4}, {1, 1}, {2, 1}, {0, 4}, {-1, 2}} {
		some := make([]digest.Digest, len(at))
		for siblings := range 6 {
			if (Proof{Path: make([]digest.Digest, siblings)}).VerifySet(root, some, at, 4) {
				t.Errorf("a proof of %v verifies", at)
			}
		}
		if _, ok := Siblings(at, 4); ok {
			t.Errorf("a proof of %v has a length", at)
		}
	}
	for _, count := range []int{-1, 0, 1 << MaxDepth} {
		if (Proof{}).VerifySet(digest.Digest{}, leaves[:1], []int{0}, count) {
			t.Errorf("a proof in a list of %d leaves verifies", count)
		}
	}
}

// TestChangedSetProofDoesNotVerify changes, adds, removes and exchanges siblings and leaves.
func TestChangedSetProofDoesNotVerify(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 300).Draw(t, "n")
		leaves := leavesOf(n)
		root := Root(leaves)
		at := rapid.SliceOfNDistinct(rapid.IntRange(0, n-1), 1, min(n, 8), rapid.ID[int]).Draw(t, "at")
		slices.Sort(at)
		some := make([]digest.Digest, len(at))
		for k, i := range at {
			some[k] = leaves[i]
		}
		p := ProveSet(leaves, at)
		if siblings, ok := Siblings(at, n); !ok || siblings != len(p.Path) || !p.VerifySet(root, some, at, n) {
			t.Fatal("a valid proof does not verify")
		}
		p.Path = append(slices.Clone(p.Path), digest.Digest{})
		if p.VerifySet(root, some, at, n) {
			t.Fatal("a proof with one more sibling verifies")
		}
		p.Path = p.Path[:len(p.Path)-1]
		flat := append(slices.Clone(p.Path), some...)
		k := rapid.IntRange(0, len(flat)-1).Draw(t, "changed")
		flat[k][rapid.IntRange(0, 31).Draw(t, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		if (Proof{Path: flat[:len(p.Path)]}).VerifySet(root, flat[len(p.Path):], at, n) {
			t.Fatal("a changed proof verifies")
		}
		if len(p.Path) > 1 {
			q := slices.Clone(p.Path)
			q[0], q[len(q)-1] = q[len(q)-1], q[0]
			if (Proof{Path: q}).VerifySet(root, some, at, n) {
				t.Fatal("a proof with two siblings exchanged verifies")
			}
		}
	})
}

// FuzzVerifySet: no input makes a proof of other leaves valid, and none makes VerifySet panic.
func FuzzVerifySet(f *testing.F) {
	leaves := leavesOf(9)
	root := Root(leaves)
	var flat []byte
	for _, d := range ProveSet(leaves, []int{2, 5}).Path {
		flat = append(flat, d[:]...)
	}
	f.Add(flat, 2, 5, 9)
	f.Add([]byte{}, -1, 1<<31, 1<<32)
	f.Fuzz(func(t *testing.T, b []byte, first, second, count int) {
		p := Proof{Path: make([]digest.Digest, len(b)/digest.Size)}
		for i := range p.Path {
			copy(p.Path[i][:], b[i*digest.Size:])
		}
		valid := p.VerifySet(root, []digest.Digest{leaves[2], leaves[5]}, []int{first, second}, count)
		if valid && (first != 2 || second != 5 || count != 9) {
			t.Fatalf("a proof of leaves 2 and 5 of 9 verifies for %d and %d of %d", first, second, count)
		}
		if p.VerifySet(root, []digest.Digest{{1}, {2}}, []int{first, second}, count) {
			t.Fatal("a proof of leaves that are not in the list verifies")
		}
	})
}
