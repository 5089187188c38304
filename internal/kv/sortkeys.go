package kv

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
)

// sortItem is an entry in a list that is being sorted by key: its number, and eight bytes of its key.
type sortItem struct {
	head uint64
	n    uint32
}

// radixLeast is the length of lists from which a radix sort takes less time than comparisons.
const radixLeast = 256

// sortByKey sorts a list by the keys of its entries. It compares eight bytes at a time, and the next eight only among
// keys with equal ones. That reads much less memory than a comparison of whole keys.
func sortByKey(list []sortItem, key func(n uint32) []byte) {
	var spare []sortItem
	if len(list) >= radixLeast {
		spare = make([]sortItem, len(list))
	}
	sortFrom(list, spare, 0, key)
}

// sortFrom sorts a list of entries whose keys are equal in the first from bytes.
func sortFrom(list, spare []sortItem, from int, key func(n uint32) []byte) {
	whole := true // whether all keys have these eight bytes
	for i := range list {
		k := key(list[i].n)
		if len(k) >= from+8 {
			list[i].head = binary.BigEndian.Uint64(k[from:])
			continue
		}
		var head [8]byte
		copy(head[:], k[min(from, len(k)):])
		list[i].head, whole = binary.BigEndian.Uint64(head[:]), false
	}
	if len(list) < radixLeast {
		slices.SortFunc(list, func(a, b sortItem) int { return cmp.Compare(a.head, b.head) })
	} else {
		radixSort(list, spare[:len(list)])
	}
	for len(list) > 1 {
		n := 1
		for n < len(list) && list[n].head == list[0].head {
			n++
		}
		switch {
		case n == 1:
		case whole:
			sortFrom(list[:n], spare, from+8, key)
		default:
			slices.SortFunc(list[:n], func(a, b sortItem) int { return bytes.Compare(key(a.n), key(b.n)) })
		}
		list = list[n:]
	}
}

// radixSort sorts a list by head, from the lowest byte of it to the highest. spare is memory of the same length.
func radixSort(list, spare []sortItem) {
	var counts [8][256]int
	for i := range list {
		for h, b := list[i].head, 0; b < 8; h, b = h>>8, b+1 {
			counts[b][byte(h)]++
		}
	}
	from, to := list, spare
	for b := range counts {
		c := &counts[b]
		if c[byte(list[0].head>>(8*b))] == len(list) {
			continue // all have the same byte
		}
		sum := 0
		for v, n := range c {
			c[v], sum = sum, sum+n
		}
		for i := range from {
			v := byte(from[i].head >> (8 * b))
			to[c[v]] = from[i]
			c[v]++
		}
		from, to = to, from
	}
	if &from[0] != &list[0] {
		copy(list, from)
	}
}
