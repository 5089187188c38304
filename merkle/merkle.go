// Package merkle has binary hash trees over lists of digests, and proofs that a digest is at a given index of a list.
//
// The tree has the shape of RFC 6962, section 2.1: leaves are paired from the left, and a node without a partner is
// moved up unchanged, so no leaf is ever duplicated. Leaves, inner nodes and roots are hashed with different first
// bytes (0, 1 and 2), so that none can be used in place of another; tagged digests of package digest never have these
// first bytes. The root also covers the number of leaves: a proof is valid for one list length, one index and one
// leaf only. The root of an empty list is the zero Digest.
package merkle

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/bits"

	"bdtnode/internal/digest"
	"bdtnode/internal/wire"
)

// MaxDepth is the greatest number of siblings in a proof: a list has at most 2^32-1 leaves.
const MaxDepth = 32

// Proof is the path from a leaf to the root: the sibling at each level that has one, lowest level first.
type Proof struct{ Path []digest.Digest }

// Root returns the root over leaves in their order, the zero Digest if there are none. It does not change leaves. It
// panics if there are more than 2^32-1 leaves.
func Root(leaves []digest.Digest) digest.Digest {
	if len(leaves) == 0 {
		return digest.Digest{}
	}
	level := hashLeaves(leaves)
	for len(level) > 1 {
		level = ascend(level)
	}
	return rootOf(len(leaves), level[0])
}

// Prove returns the proof for leaves[i]. It panics if i is out of range.
func Prove(leaves []digest.Digest, i int) Proof {
	if i < 0 || i >= len(leaves) {
		panic(fmt.Sprintf("merkle: proof of leaf %d in a list of %d leaves", i, len(leaves)))
	}
	var p Proof
	for level := hashLeaves(leaves); len(level) > 1; level, i = ascend(level), i/2 {
		if sibling := i ^ 1; sibling < len(level) {
			p.Path = append(p.Path, level[sibling])
		}
	}
	return p
}

// Verify reports whether leaf is at index of a list of count leaves under root.
func (p Proof) Verify(root, leaf digest.Digest, index, count int) bool {
	if index < 0 || index >= count || uint64(count) > 1<<MaxDepth-1 {
		return false
	}
	node, path := hashLeaf(leaf), p.Path
	for width := count; width > 1; width, index = (width+1)/2, index/2 {
		sibling := index ^ 1
		if sibling >= width {
			continue
		}
		if len(path) == 0 {
			return false
		}
		if sibling < index {
			node = hashNode(path[0], node)
		} else {
			node = hashNode(node, path[0])
		}
		path = path[1:]
	}
	return len(path) == 0 && rootOf(count, node) == root
}

// Append encodes the proof: number of siblings 1 byte, then each sibling 32.
func (p Proof) Append(b []byte) []byte {
	if len(p.Path) > MaxDepth {
		panic(fmt.Sprintf("merkle: a path of %d siblings, at most %d", len(p.Path), MaxDepth))
	}
	b = append(b, byte(len(p.Path)))
	for i := range p.Path {
		b = append(b, p.Path[i][:]...)
	}
	return b
}

// ReadProof decodes a proof that Append encoded. It is an error if it has more than MaxDepth siblings.
func ReadProof(r *wire.Reader) Proof {
	n := int(r.U8())
	if n > MaxDepth {
		r.Fail("a path of %d siblings, at most %d", n, MaxDepth)
		return Proof{}
	}
	raw := r.Raw(n * digest.Size)
	if len(raw) == 0 {
		return Proof{}
	}
	p := Proof{Path: make([]digest.Digest, n)}
	for i := range p.Path {
		copy(p.Path[i][:], raw[i*digest.Size:])
	}
	return p
}

// hashLeaves returns the lowest level of the tree.
func hashLeaves(leaves []digest.Digest) []digest.Digest {
	if bits.Len(uint(len(leaves))) > MaxDepth {
		panic(fmt.Sprintf("merkle: %d leaves, at most 2^%d-1 are allowed", len(leaves), MaxDepth))
	}
	level := make([]digest.Digest, len(leaves))
	for i := range leaves {
		level[i] = hashLeaf(leaves[i])
	}
	return level
}

// ascend computes the next higher level, in place.
func ascend(level []digest.Digest) []digest.Digest {
	half := len(level) / 2
	for i := range half {
		level[i] = hashNode(level[2*i], level[2*i+1])
	}
	if len(level)%2 == 1 {
		level[half] = level[len(level)-1]
		half++
	}
	return level[:half]
}

func hashLeaf(leaf digest.Digest) digest.Digest {
	var b [1 + digest.Size]byte
	copy(b[1:], leaf[:])
	return sha256.Sum256(b[:])
}

func hashNode(left, right digest.Digest) digest.Digest {
	var b [1 + 2*digest.Size]byte
	b[0] = 1
	copy(b[1:], left[:])
	copy(b[1+digest.Size:], right[:])
	return sha256.Sum256(b[:])
}

func rootOf(count int, top digest.Digest) digest.Digest {
	var b [1 + 4 + digest.Size]byte
	b[0] = 2
	binary.BigEndian.PutUint32(b[1:], uint32(count))
	copy(b[5:], top[:])
	return sha256.Sum256(b[:])
}
