package netup

import (
	"strings"
	"testing"
	"time"
)

// TestLinksOff: a round trip may differ from the matrix by a tenth, in both directions. A link without a delay has no
// difference.
func TestLinksOff(t *testing.T) {
	a, b := &Replica{Index: 1}, &Replica{Shard: 2, Index: 3}
	link := func(want, got float64) Link {
		return Link{a, b, time.Duration(want * float64(time.Millisecond)), time.Duration(got * float64(time.Millisecond))}
	}
	good := []Link{link(100, 100.1), link(100, 109.9), link(100, 90.1), link(0, 5)}
	if err := refuse(good); err != nil {
		t.Error(err)
	}
	for _, bad := range []Link{link(100, 110.1), link(100, 89.9), link(20, 23)} {
		err := refuse(append(good[:len(good):len(good)], bad))
		if err == nil || !strings.Contains(err.Error(), "from replica 1 of shard 0 to replica 3 of shard 2") {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}
