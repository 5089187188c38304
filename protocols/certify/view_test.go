package certify

import (
	"slices"
	"testing"

	"bdtnode/protocols"
)

// TestView: the view has the first heights without a certificate, with the replicas whose VOTEs are here, and is bounded.
func TestView(t *testing.T) {
	b := newBench(t, 4)
	m := b.machine(5, 5)
	m.Executed(6, header(6))
	m.HandleVOTE(3, b.vote(3, 7, header(7)))
	v := m.Inspect()
	if v.Executed != 6 || v.Certified != 5 || len(v.Heights) != 2 || v.Highest[3] != 7 {
		t.Fatalf("%+v", v)
	}
	if h := v.Heights[0]; h.Height != 6 || !h.Own || h.Done || h.Needed != 1 || len(h.VotedBy) != 1 || len(h.Missing) != 3 {
		t.Errorf("%+v", h)
	}
	if h := v.Heights[1]; h.Height != 7 || h.Own || !slices.Equal(h.VotedBy, []protocols.Index{3}) || !slices.Equal(h.Missing, []protocols.Index{0, 1, 2}) {
		t.Errorf("%+v", h)
	}
	for h := uint64(7); h < 100; h++ {
		m.Executed(h, header(h))
	}
	if v := m.Inspect(); len(v.Heights) > maxHeightViews {
		t.Errorf("%d heights", len(v.Heights))
	}
}
