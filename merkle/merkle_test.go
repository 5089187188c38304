package merkle

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"testing"

	"pgregory.net/rapid"

	"bdtnode/internal/digest"
	"bdtnode/internal/wire"
)

func leavesOf(n int) []digest.Digest {
	leaves := make([]digest.Digest, n)
	for i := range leaves {
		leaves[i] = digest.Of("test", binary.BigEndian.AppendUint32(nil, uint32(i)))
	}
	return leaves
}

// reference is the tree hash as RFC 6962, section 2.1, defines it, over leaves that are digests.
func reference(leaves []digest.Digest) digest.Digest {
	if len(leaves) == 1 {
		return sha256.Sum256(append([]byte{0}, leaves[0][:]...))
	}
	k := 1
	for 2*k < len(leaves) {
		k *= 2
	}
	l, r := reference(leaves[:k]), reference(leaves[k:])
	return sha256.Sum256(append(append([]byte{1}, l[:]...), r[:]...))
}

func TestRootHasTheShapeOfRFC6962(t *testing.T) {
	if !Root(nil).IsZero() {
		t.Error("the empty list has a root")
	}
	for n := 1; n <= 70; n++ {
		leaves := leavesOf(n)
		top := reference(leaves)
		want := digest.Digest(sha256.Sum256(append(binary.BigEndian.AppendUint32([]byte{2}, uint32(n)), top[:]...)))
		if got := Root(leaves); got != want {
			t.Fatalf("%d leaves: root %s, want %s", n, got, want)
		}
		if got := Root(leaves); got != want {
			t.Fatalf("%d leaves: computing the root changed the leaves", n)
		}
	}
}

func TestRootMatchesRecordedValues(t *testing.T) {
	for n, want := range map[int]string{
		1: "199bca2259add66dba428d46d0310bce900cfdf7b0041b6f2bb8eb138d16fb01",
		5: "4fdae0222790b712d65c16f27194350e3db3228daf5b2bc96a82cae4ddbf6058",
	} {
		if got := Root(leavesOf(n)).String(); got != want {
			t.Errorf("root of %d leaves is %s, recorded is %s", n, got, want)
		}
	}
}

// TestProofIsValidForOneIndexOnly tries every proof of lists up to 18 leaves with every leaf, index and length.
func TestProofIsValidForOneIndexOnly(t *testing.T) {
	const limit = 18
	for n := 1; n <= limit; n++ {
		leaves := leavesOf(n)
		root := Root(leaves)
		for i := range n {
			p := Prove(leaves, i)
			for count := -1; count <= limit+2; count++ {
				for index := -1; index <= count; index++ {
					for k, leaf := range leaves {
						want := count == n && index == i && k == i
						if got := p.Verify(root, leaf, index, count); got != want {
							t.Fatalf("proof of leaf %d of %d verifies leaf %d at %d of %d: %v", i, n, k, index, count, got)
						}
					}
				}
			}
		}
	}
}

func TestChangedProofDoesNotVerify(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 400).Draw(t, "n")
		i := rapid.IntRange(0, n-1).Draw(t, "i")
		leaves := leavesOf(n)
		root, p := Root(leaves), Prove(leaves, i)
		if !p.Verify(root, leaves[i], i, n) {
			t.Fatal("a valid proof does not verify")
		}
		other := Proof{Path: append([]digest.Digest(nil), p.Path...)}
		switch k := rapid.IntRange(0, 3).Draw(t, "how"); {
		case k == 0:
			other.Path = append(other.Path, digest.Digest{})
		case len(p.Path) == 0:
			return
		case k == 1:
			other.Path = other.Path[:len(other.Path)-1]
		case k == 2:
			other.Path[rapid.IntRange(0, len(p.Path)-1).Draw(t, "at")][rapid.IntRange(0, 31).Draw(t, "byte")] ^= 1
		default:
			other.Path = other.Path[1:]
		}
		if other.Verify(root, leaves[i], i, n) {
			t.Fatal("a changed proof verifies")
		}
	})
}

// TestInnerNodeIsNotALeaf tries to pass an inner node as a leaf. This second-preimage attack works on trees that hash
// leaves and nodes alike.
func TestInnerNodeIsNotALeaf(t *testing.T) {
	leaves := leavesOf(4)
	left := hashNode(hashLeaf(leaves[0]), hashLeaf(leaves[1]))
	right := hashNode(hashLeaf(leaves[2]), hashLeaf(leaves[3]))
	if Root([]digest.Digest{left, right}) == Root(leaves) {
		t.Error("two inner nodes as leaves have the root of the four below them")
	}
	p := Proof{Path: []digest.Digest{right}}
	for count := 1; count < 8; count++ {
		for index := range count {
			if p.Verify(Root(leaves), left, index, count) {
				t.Errorf("an inner node verifies as leaf %d of %d", index, count)
			}
		}
	}
}

func FuzzReadProof(f *testing.F) {
	for _, n := range []int{1, 2, 9} {
		f.Add(Prove(leavesOf(n), n-1).Append(nil))
	}
	f.Add([]byte{33})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := wire.NewReader(b)
		p := ReadProof(r)
		if r.Done() != nil {
			return
		}
		if len(p.Path) > MaxDepth {
			t.Fatalf("a path of %d siblings was decoded", len(p.Path))
		}
		if again := p.Append(nil); !bytes.Equal(again, b) {
			t.Fatalf("%x decodes to a proof that encodes as %x", b, again)
		}
		p.Verify(digest.Digest{1}, digest.Digest{2}, 3, 1000)
	})
}

func BenchmarkRoot(b *testing.B) {
	leaves := leavesOf(1000)
	for b.Loop() {
		Root(leaves)
	}
}
