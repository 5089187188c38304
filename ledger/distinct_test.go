package ledger

import (
	"slices"
	"testing"
)

// Nothing that is kept of a request keeps the request's bytes.
func TestDistinct(t *testing.T) {
	body := []byte("one two one one")
	distinct, index := Distinct([][]byte{body[0:3], body[4:7], body[8:11], body[12:15]})
	clear(body)
	if len(distinct) != 2 || string(distinct[0]) != "one" || string(distinct[1]) != "two" || !slices.Equal(index, []int{0, 1, 0, 0}) {
		t.Errorf("%q, %v", distinct, index)
	}
}
