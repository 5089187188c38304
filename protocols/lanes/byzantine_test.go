package lanes

import (
	"fmt"
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/protocols"
)

// TestCutBeyondTheWindow: a replica that is behind does not refuse the proposal of a replica that is ahead when it is beyond
// the window of the first one. It can vote for it after the commit that moves the window.
func TestCutBeyondTheWindow(t *testing.T) {
	b := newBench(t, 4)
	ahead, behind := b.machine(0), b.machine(2)
	a := b.chain(1, Tip{}, maxGrowth+88, "a")
	first := b.cut(map[protocols.Index]Tip{1: a[99].Tip()})
	for _, m := range []*Machine{ahead, behind} {
		for _, x := range a[:maxGrowth] {
			m.HandleBatch(t0, 1, x)
		}
	}
	ahead.Ordered(t0, first)
	for _, m := range []*Machine{ahead, behind} {
		for _, x := range a[maxGrowth:] {
			m.HandleBatch(t0, 1, x)
		}
	}
	cut, _ := ahead.ProposableCut(t0, first)
	if cut[1] != a[len(a)-1].Tip() {
		t.Fatalf("proposes up to %d, want %d", cut[1].Seq, len(a))
	}
	if _, v := behind.CheckCut(t0, first, cut, 0); v != Missing {
		t.Errorf("verdict %d beyond the window", v)
	}
	if st := behind.Tick(t0.Add(fetchGrace)); len(sent[*Fetch](st)) != 0 {
		t.Error("requests batches that it cannot store")
	}
	st := behind.Ordered(t0, first)
	if !grew(st) {
		t.Error("no output after the window moved, so the cut is not checked again")
	}
	if f := sent[*Fetch](st); len(f) != 1 || f[0].After != maxGrowth {
		t.Errorf("the refused batches are requested by %v", f)
	}
	for _, x := range a[maxGrowth:] {
		behind.HandleBatch(t0, 1, x)
	}
	if _, v := behind.CheckCut(t0, first, cut, 0); v != Votable {
		t.Errorf("verdict %d after the window moved", v)
	}
}

// TestWrongNumberDoesNotBlockFetch: a leader that names a header under a wrong number, for which no peer has an answer, does
// not prevent a replica from requesting the header under its right number.
func TestWrongNumberDoesNotBlockFetch(t *testing.T) {
	b := newBench(t, 4)
	m := b.machine(1)
	right := b.chain(2, Tip{}, 1, "")[0].Tip()
	m.CheckCut(t0, b.cut(nil), b.cut(map[protocols.Index]Tip{2: {Seq: 3, Digest: right.Digest}}), 3)
	m.CheckCut(t0, b.cut(nil), b.cut(map[protocols.Index]Tip{2: right}), 3)
	for _, f := range sent[*Fetch](m.Tick(t0.Add(fetchGrace))) {
		if f.Tip == right {
			return
		}
	}
	t.Error("the right position is not requested")
}

// TestWrongLaneDoesNotBlockFetch: the same for a header that the leader names in a wrong lane.
func TestWrongLaneDoesNotBlockFetch(t *testing.T) {
	b := newBench(t, 4)
	m := b.machine(1)
	right := b.chain(2, Tip{}, 1, "")[0].Tip()
	m.CheckCut(t0, b.cut(nil), b.cut(map[protocols.Index]Tip{0: right}), 3)
	m.CheckCut(t0, b.cut(nil), b.cut(map[protocols.Index]Tip{2: right}), 3)
	for _, f := range sent[*Fetch](m.Tick(t0.Add(fetchGrace))) {
		if f.Lane == 2 && f.Tip == right {
			return
		}
	}
	t.Error("the right position is not requested")
}

// TestFetchBounds: a request for a header under a wrong number gets no answer, and no answer has more batches than a cut
// may add to a lane.
func TestFetchBounds(t *testing.T) {
	b := newBench(t, 4)
	m := b.machine(1)
	a := b.chain(2, Tip{}, maxGrowth, "")
	for _, x := range a {
		m.HandleBatch(t0, 2, x)
	}
	if st := m.HandleFetch(t0, 3, &Fetch{Lane: 2, Tip: Tip{1 << 40, a[1].Digest()}, After: 1}); len(st.Sends)+len(st.Reads) > 0 {
		t.Errorf("answers with %v", st)
	}
	m.Ordered(t0, b.cut(map[protocols.Index]Tip{2: a[9].Tip()}))
	last := b.chain(2, a[maxGrowth-1].Tip(), 10, "")
	for _, x := range last {
		m.HandleBatch(t0, 2, x)
	}
	if c := chains(m.HandleFetch(t0, 3, &Fetch{Lane: 2, Tip: last[9].Tip()})); len(c) != 1 || c[0].Tip.Seq-c[0].After != maxGrowth {
		t.Errorf("answers with %v", c)
	}
}

// TestTreeOfHeaders: an owner signs two headers for each number, each on top of a separate chain. The number of headers that
// a replica keeps grows with the number of positions, not with its square.
func TestTreeOfHeaders(t *testing.T) {
	b := newBench(t, 4)
	m := b.machine(1)
	const numbers = 24
	all := make(map[digest.Digest]*Batch)
	kept := func() int { return len(m.lanes[3].entries) }
	now := t0
	for s := 2; s <= numbers; s++ {
		for k := range 2 {
			chain := b.chain(3, Tip{}, s, fmt.Sprint(s, k))
			for _, x := range chain {
				all[x.Digest()] = x
			}
			m.HandleBatch(now, 3, chain[s-1])
		}
		for w := m.Wake(); w != 0; w = m.Wake() { // the owner answers every request
			now = w
			for _, f := range sent[*Fetch](m.Tick(now)) {
				if x := all[f.Tip.Digest]; x != nil {
					m.HandleBatch(now, 3, x)
				}
			}
		}
	}
	if kept() > 4*numbers {
		t.Errorf("%d headers are kept for %d numbers", kept(), numbers)
	}
}
