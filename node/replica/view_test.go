package replica

import (
	"testing"

	"bdtnode/internal/kv"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/bolt"
)

// TestViewOfAWaitingBlock: the view has the height of the first committed block that waits for knowledge of the signatures of
// its batches.
func TestViewOfAWaitingBlock(t *testing.T) {
	core := newBench(t, 4, 0, "").restore(t, 1, nil, kv.NewMem())
	if v := Inspect(core, t0); v.Unknown != 0 {
		t.Errorf("block %d waits", v.Unknown)
	}
	core.Vouching.waiting = []*bdt.Delivery{{Block: &bolt.Block{Height: 11}}, {Block: &bolt.Block{Height: 12}}}
	if v := Inspect(core, t0); v.Unknown != 11 {
		t.Errorf("block %d waits, want 11", v.Unknown)
	}
}
