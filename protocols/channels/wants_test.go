package channels

import (
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/protocols"
	"bdtnode/protocols/lanes"
)

// TestNamedWithAnotherNumber: a cut that names an LD with a number that is not its own does not keep the LD from being
// asked for when a cut names it rightly.
func TestNamedWithAnotherNumber(t *testing.T) {
	b := newBench(t, 4)
	m := b.machine(1)
	first := ld(1, digest.Digest{}, "first")
	origin, wrong, right := make(lanes.Cut, 3), make(lanes.Cut, 3), make(lanes.Cut, 3)
	wrong[1], right[1] = lanes.Tip{Seq: 5, Digest: first.Digest}, first.Tip()
	if v := m.Check(t0, origin, wrong, 2); v == lanes.Votable {
		t.Fatal("an LD that is not here can be voted for")
	}
	m.Tick(t0.Add(fetchGrace))
	if _, complete := m.Content(t0.Add(fetchGrace), origin, right, protocols.Set{}); complete {
		t.Fatal("complete without an LD")
	}
	asked := m.Tick(t0.Add(fetchGrace)).Sends
	if len(asked) != 1 || asked[0].Message.(*FetchLD).Tip != first.Tip() {
		t.Errorf("asks for %v, want %v", asked, first.Tip())
	}
}

// TestFetchOfAWindow: LDs are given to whoever asks, as many as a block may order and not a whole channel at once.
func TestFetchOfAWindow(t *testing.T) {
	b := newBench(t, 4)
	m := b.machine(1)
	tip := lanes.Tip{Seq: 10_000, Digest: digest.Of("test-ld")}
	for after, want := range map[uint64]int{9_999: 1, 10_000 - Window: 1, 10_000 - Window - 1: 0, 0: 0} {
		if st := m.HandleFetchLD(2, &FetchLD{Source: 1, Tip: tip, After: after}); len(st.Sends) != want {
			t.Errorf("above %d: %d answers, want %d", after, len(st.Sends), want)
		}
	}
	if st := m.HandleFetchLD(2, &FetchLD{Source: 9, Tip: tip, After: 9_999}); len(st.Sends) != 0 {
		t.Error("answers for a channel that there is not")
	}
}
