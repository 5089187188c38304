package ledger

import "bytes"

// Distinct lists copies of the distinct encodings among raws, and the place of each of raws in that list. A decoded
// transaction keeps the bytes of its encoding: without the copy it would keep all of a request's body in memory.
func Distinct(raws [][]byte) (distinct [][]byte, index []int) {
	seen := make(map[string]int, len(raws))
	index = make([]int, len(raws))
	for i, raw := range raws {
		k, ok := seen[string(raw)]
		if !ok {
			k = len(distinct)
			seen[string(raw)] = k
			distinct = append(distinct, bytes.Clone(raw))
		}
		index[i] = k
	}
	return distinct, index
}
