package lanes

import (
	"testing"

	"bdtnode/protocols"
)

// TestHorizonOfBytes: a lane whose window of bytes is full has nothing verified but what a cut names.
func TestHorizonOfBytes(t *testing.T) {
	b := newBench(t, 4)
	cfg := b.config(1)
	cfg.Window = 2 * MaxPayload
	m := New(cfg)
	a := b.sized(3, Tip{}, 6)
	sees := func(x *Batch) protocols.Relevance {
		h := m.Horizon()
		return h.Sees(3, x)
	}
	for _, x := range a[:4] {
		if sees(x) != protocols.Useful {
			t.Errorf("number %d is of no use", x.Seq)
		}
		m.HandleBatch(t0, 3, x)
	}
	if got := sees(a[4]); got != protocols.Ahead {
		t.Errorf("beyond the window of bytes: %d", got)
	}
	origin := b.cut(nil)
	m.CheckCut(t0, origin, b.cut(map[protocols.Index]Tip{3: a[4].Tip()}), 0)
	if got := sees(a[4]); got != protocols.Useful {
		t.Errorf("named by a cut: %d", got)
	}
	m.HandleAhead(3, 6)
	m.Ordered(t0, b.cut(map[protocols.Index]Tip{3: a[0].Tip()}))
	if f := sent[*Fetch](m.Ordered(t0, b.cut(map[protocols.Index]Tip{3: a[2].Tip()}))); len(f) != 1 {
		t.Error("what was dropped is not asked for")
	}
	if f := sent[*Fetch](m.HandleAhead(3, 6)); len(f) != 1 {
		t.Error("what was dropped, and would be taken by now, is not asked for at once")
	}
	m.Executed(b.cut(map[protocols.Index]Tip{3: a[2].Tip()}))
	if sees(a[2]) != protocols.Useless {
		t.Error("what is executed is verified")
	}
}
