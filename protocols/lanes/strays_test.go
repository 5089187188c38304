package lanes

import (
	"fmt"
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/protocols"
)

// TestCutBeyondTheWindow: what a replica that is ahead proposes, beyond the window of one that is behind, is not refused
// by that one: it can be voted for when the commit that moved the window has come.
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
	cut, _ := ahead.View(t0, first)
	if cut[1] != a[len(a)-1].Tip() {
		t.Fatalf("proposes up to %d, want %d", cut[1].Seq, len(a))
	}
	if _, v := behind.CheckCut(t0, first, cut, 0); v != Missing {
		t.Errorf("verdict %d beyond the window", v)
	}
	if st := behind.Tick(t0.Add(fetchGrace)); len(sent[*Fetch](st)) != 0 {
		t.Error("asks for what it cannot take")
	}
	st := behind.Ordered(t0, first)
	if !grew(st) {
		t.Error("the window moved and nobody looks at the cut again")
	}
	if f := sent[*Fetch](st); len(f) != 1 || f[0].After != maxGrowth {
		t.Errorf("what was refused is asked for by %v", f)
	}
	for _, x := range a[maxGrowth:] {
		behind.HandleBatch(t0, 1, x)
	}
	if _, v := behind.CheckCut(t0, first, cut, 0); v != Votable {
		t.Errorf("verdict %d after the window moved", v)
	}
}

// TestWrongNumberDoesNotHideARightOne: a leader who names a header under another number, which nobody can give, does not
// keep a replica from asking for the header.
func TestWrongNumberDoesNotHideARightOne(t *testing.T) {
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
	t.Error("it is not asked for")
}

// TestWrongLaneDoesNotHideARightOne: nor does one who names it in another lane.
func TestWrongLaneDoesNotHideARightOne(t *testing.T) {
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
	t.Error("it is not asked for")
}

// TestFetchOfNoPosition: who asks for a header under another number gets nothing, and nobody gets more than a cut may name.
func TestFetchOfNoPosition(t *testing.T) {
	b := newBench(t, 4)
	m := b.machine(1)
	a := b.chain(2, Tip{}, maxGrowth, "")
	for _, x := range a {
		m.HandleBatch(t0, 2, x)
	}
	if st := m.HandleFetch(t0, 3, &Fetch{Lane: 2, Tip: Tip{1 << 40, a[1].Digest()}, After: 1}); len(st.Sends) > 0 {
		t.Errorf("answers with %v", st.Sends[0].Message)
	}
	m.Ordered(t0, b.cut(map[protocols.Index]Tip{2: a[9].Tip()}))
	last := b.chain(2, a[maxGrowth-1].Tip(), 10, "")
	for _, x := range last {
		m.HandleBatch(t0, 2, x)
	}
	if c := sent[*Chain](m.HandleFetch(t0, 3, &Fetch{Lane: 2, Tip: last[9].Tip()})); len(c) != 1 || c[0].Tip.Seq-c[0].After != maxGrowth {
		t.Errorf("answers with %v", c)
	}
}

// TestTreeOfHeaders: an owner who signs two headers for each number, each on top of a chain of its own, makes a replica
// keep about as many headers as there are numbers, not their square.
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
		for w := m.Wake(); w != 0; w = m.Wake() { // the owner gives all it is asked for
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
