package lanes

import (
	"testing"

	"bdtnode/protocols"
)

// TestHorizonOfBytes: if the byte window of a lane is full, only batches that a cut names are useful.
func TestHorizonOfBytes(t *testing.T) {
	b := newBench(t, 4)
	cfg := b.config(1)
	cfg.Window = 2 * MaxPayload
	m := New(cfg)
	a := b.sized(3, Tip{}, 6)
	sees := func(x *Batch) protocols.Relevance {
		h := m.Horizon()
		return h.Relevance(3, x)
	}
	for _, x := range a[:4] {
		if sees(x) != protocols.Useful {
			t.Errorf("number %d is not useful", x.Seq)
		}
		m.HandleBatch(t0, 3, x)
	}
	if got := sees(a[4]); got != protocols.Ahead {
		t.Errorf("relevance %d beyond the byte window", got)
	}
	origin := b.cut(nil)
	m.CheckCut(t0, origin, b.cut(map[protocols.Index]Tip{3: a[4].Tip()}), 0)
	if got := sees(a[4]); got != protocols.Useful {
		t.Errorf("relevance %d of a batch that a cut names", got)
	}
	m.HandleAhead(3, 6)
	m.Ordered(t0, b.cut(map[protocols.Index]Tip{3: a[0].Tip()}))
	if f := sent[*Fetch](m.Ordered(t0, b.cut(map[protocols.Index]Tip{3: a[2].Tip()}))); len(f) != 1 {
		t.Error("a dropped batch is not requested")
	}
	if f := sent[*Fetch](m.HandleAhead(3, 6)); len(f) != 1 {
		t.Error("a dropped batch for which there is room now is not requested at once")
	}
	m.Executed(b.cut(map[protocols.Index]Tip{3: a[2].Tip()}))
	if sees(a[2]) != protocols.Useless {
		t.Error("an executed batch is not useless")
	}
}
