package inbound

import (
	"slices"
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/protocols"
)

// TestChannelView: the view of a channel has its positions, the missing numbers, and the replicas that signed the next LD.
func TestChannelView(t *testing.T) {
	b := newBench(t, 4)
	m := b.machine(0)
	var list []*LD
	previous := digest.Digest{}
	for n := uint64(1); n <= 9; n++ {
		list = append(list, ld(n, previous, string(rune('a'+n))))
		previous = list[n-1].Digest
	}
	for _, n := range []int{1, 2, 5, 6, 9} {
		m.HandleLD(0, list[n-1])
	}
	m.HandleSIGN(2, b.sign(2, list[0].Tip()))
	all := m.Inspect()
	if len(all) != 2 || all[0].Source != 1 || all[1].Source != 2 {
		t.Fatalf("%+v", all)
	}
	v := all[0]
	if v.Signed != 2 || v.Highest != 9 || v.Held != 5 || v.Top != 1 || v.Ordered != 0 || v.Executed != 0 || v.Bytes == 0 {
		t.Errorf("%+v", v)
	}
	if !slices.Equal(v.Gaps, []Gap{{3, 4}, {7, 8}}) || !slices.Equal(v.SignedBy, []protocols.Index{0, 2}) {
		t.Errorf("%+v", v)
	}
	// Every second number is missing: the list of ranges is bounded.
	m = b.machine(0)
	for n := uint64(2); n <= 2*maxGaps+20; n += 2 {
		m.HandleLD(0, ld(n, digest.Of("x"), string(rune(n))))
	}
	if v := m.Inspect()[0]; len(v.Gaps) != maxGaps {
		t.Errorf("%d ranges", len(v.Gaps))
	}
}
