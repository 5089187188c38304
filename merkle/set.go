package merkle

import (
	"fmt"
	"slices"

	"bdtnode/internal/digest"
)

// ProveSet returns one proof for the leaves at several indexes, which are ascending. A sibling that follows from other
// leaves of the set is not in it. For one index it is the proof of [Prove]. It panics if at is empty, not ascending, or
// out of range.
func ProveSet(leaves []digest.Digest, at []int) Proof {
	if !validSet(at, len(leaves)) {
		panic(fmt.Sprintf("merkle: proof of leaves %v in a list of %d leaves", at, len(leaves)))
	}
	var p Proof
	level := hashLeaves(leaves)
	climb(at, len(leaves), func(_, _, sibling int) {
		if sibling >= 0 {
			p.Path = append(p.Path, level[sibling])
		}
	}, func() { level = ascend(level) })
	return p
}

// VerifySet reports whether leaves[k] is at index at[k] of a list of count leaves under root, for every k. The indexes must
// be ascending.
func (p Proof) VerifySet(root digest.Digest, leaves []digest.Digest, at []int, count int) bool {
	if siblings, ok := Siblings(at, count); !ok || len(leaves) != len(at) || len(p.Path) != siblings {
		return false
	}
	nodes, path := hashLeaves(leaves), p.Path
	climb(at, count, func(to, from, sibling int) {
		switch {
		case sibling == joined:
			nodes[to] = hashNode(nodes[from], nodes[from+1])
		case sibling == without:
			nodes[to] = nodes[from]
		case sibling%2 == 0:
			nodes[to], path = hashNode(path[0], nodes[from]), path[1:]
		default:
			nodes[to], path = hashNode(nodes[from], path[0]), path[1:]
		}
	}, func() {})
	return rootOf(count, nodes[0]) == root
}

// Siblings is the number of siblings in the proof of the leaves at these indexes of a list of count leaves: no proof of
// another length verifies. ok is false if there is no such proof, because at is empty, not ascending, or out of range.
func Siblings(at []int, count int) (n int, ok bool) {
	if !validSet(at, count) {
		return 0, false
	}
	climb(at, count, func(_, _, sibling int) {
		if sibling >= 0 {
			n++
		}
	}, func() {})
	return n, true
}

func validSet(at []int, count int) bool {
	if len(at) == 0 || at[0] < 0 || at[len(at)-1] >= count || uint64(count) > 1<<MaxDepth-1 {
		return false
	}
	for k := 1; k < len(at); k++ {
		if at[k] <= at[k-1] {
			return false
		}
	}
	return true
}

// Values of climb for a sibling that is no index.
const (
	without = -1 // the node has no partner and moves up unchanged
	joined  = -2 // the partner is the next known node
)

// climb goes from leaves at ascending indexes to the top. The known nodes of a level are numbered from 0, from the left.
// For each known node of the next level, climb calls node with its number, the number of its first known child, and the
// index in the level of the sibling that this child needs, or without, or joined. After each level it calls next.
func climb(at []int, count int, node func(to, from, sibling int), next func()) {
	at = slices.Clone(at)
	for width := count; width > 1; width = (width + 1) / 2 {
		to := 0
		for from := 0; from < len(at); from++ {
			child, sibling := from, at[from]^1
			switch {
			case sibling >= width:
				sibling = without
			case from+1 < len(at) && at[from+1] == sibling:
				sibling = joined
				from++
			}
			node(to, child, sibling)
			at[to] = at[child] / 2
			to++
		}
		at = at[:to]
		next()
	}
}
