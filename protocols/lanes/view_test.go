package lanes

import (
	"slices"
	"testing"

	"bdtnode/protocols"
)

// TestLaneViews: the view of a lane has its positions, its open bytes, and the state of a lane whose owner signed two
// headers for one number.
func TestLaneViews(t *testing.T) {
	b := newBench(t, 4)
	m := b.machine(1)
	chain := b.chain(2, Tip{}, 3, "payload")
	for _, x := range chain {
		m.HandleBatch(0, 2, x)
	}
	m.HandleCertificate(0, b.certificate(2, chain[1].Tip()))
	m.Ordered(0, b.cut(map[protocols.Index]Tip{2: chain[0].Tip()}))
	v := m.Inspect(0)[2]
	if v.Lane != 2 || v.Tip != 3 || v.Highest != 3 || v.Certified != 2 || v.Ordered != 1 || v.Executed != 0 || !v.Held || v.Forked || v.Frozen {
		t.Errorf("%+v", v)
	}
	if v.OpenBytes != 2*len("payload") || v.Behind != len("payload") || v.Window != WindowBytes {
		t.Errorf("%+v", v)
	}
	m.HandleBatch(0, 2, b.chain(2, chain[1].Tip(), 1, "another")[0])
	if v := m.Inspect(0)[2]; !v.Forked {
		t.Errorf("two headers for a number: %+v", v)
	}
	gap := b.chain(3, Tip{}, 2, "x")
	m.HandleBatch(0, 3, gap[1])
	if v := m.Inspect(0)[3]; v.Highest != 2 || v.Tip != 0 || v.Wanted != 1 {
		t.Errorf("a missing batch: %+v", v)
	}
}

// TestOwnLaneView: the view of the own lane has the acknowledgements of its first uncertified batch, and the reason why it
// takes no further batch.
func TestOwnLaneView(t *testing.T) {
	b := newBench(t, 4)
	m := b.machine(1)
	_, first := m.Append(0, []byte("a"), 1)
	m.HandleAck(0, 3, b.ack(3, 1, first.Tip()))
	v := m.Inspect(0)[1]
	if !slices.Equal(v.AckedBy, []protocols.Index{1, 3}) || v.Full != "" {
		t.Errorf("%+v", v)
	}
	for m.HasRoom() {
		m.Append(0, []byte("a"), 1)
	}
	if v := m.Inspect(0)[1]; v.Full != FullHeaders || v.Tip != WindowHeaders {
		t.Errorf("%+v", v)
	}
	small := b.config(1)
	small.Window = 10
	m = New(small)
	m.Append(0, make([]byte, 10), 1)
	if v := m.Inspect(0)[1]; m.HasRoom() || v.Full != FullBytes {
		t.Errorf("%+v", v)
	}
}
