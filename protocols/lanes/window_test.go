package lanes

import (
	"testing"

	"bdtnode/protocols"
)

// sized makes n batches of a lane with payloads of MaxPayload bytes on top of a position.
func (b *bench) sized(lane protocols.Index, on Tip, n int) []*Batch {
	var out []*Batch
	for range n {
		x := NewBatch(b.c, b.scheme.Signer(uint64(lane)), Header{Lane: lane, Seq: on.Seq + 1, Parent: on.Digest, Count: 1}, make([]byte, MaxPayload))
		out, on = append(out, x), x.Tip()
	}
	return out
}

// TestWindowOfBytes: a receiver stores and acknowledges at most twice the byte window of the owner above the ordered
// position, votes for no cut that reaches further, and requests the refused batches when half of that is ordered.
func TestWindowOfBytes(t *testing.T) {
	b := newBench(t, 4)
	cfg := b.config(1)
	cfg.Window = 2 * MaxPayload
	m := New(cfg)
	a := b.sized(3, Tip{}, 8)
	for _, x := range a {
		m.HandleBatch(t0, 3, x)
	}
	if top := m.lanes[3].tip; top != a[3].Tip() || m.Holds(3, a[4].Digest()) {
		t.Errorf("acknowledged up to %d, and the next one held: %v", top.Seq, m.Holds(3, a[4].Digest()))
	}
	origin := b.cut(nil)
	inside, outside := b.cut(map[protocols.Index]Tip{3: a[3].Tip()}), b.cut(map[protocols.Index]Tip{3: a[4].Tip()})
	if _, v := m.CheckCut(t0, origin, inside, 0); v != Votable {
		t.Errorf("verdict %d inside the window", v)
	}
	m.CheckCut(t0, inside, outside, 0) // names the next batch, so it is requested and accepted
	m.HandleBatch(t0, 3, a[4])
	if _, v := m.CheckCut(t0, inside, outside, 0); v != Missing {
		t.Errorf("verdict %d on a cut beyond the window, though its parent is inside", v)
	}
	if m.ackedIn(3, 5) == a[4].Digest() {
		t.Error("a batch beyond the window is acknowledged")
	}
	if st := m.Ordered(t0, b.cut(map[protocols.Index]Tip{3: a[0].Tip()})); len(sent[*Fetch](st)) != 0 {
		t.Error("requests all refused batches each time that a few are ordered")
	}
	st := m.Ordered(t0, b.cut(map[protocols.Index]Tip{3: a[2].Tip()}))
	if f := sent[*Fetch](st); len(f) != 1 || f[0].After != 5 {
		t.Errorf("requests the refused batches with %v", f)
	}
	for _, x := range a[5:] {
		m.HandleBatch(t0, 3, x)
	}
	if top := m.lanes[3].tip; top != a[6].Tip() {
		t.Errorf("acknowledged up to %d after the window moved", top.Seq)
	}
}

// TestForksAreBounded: of the batches of an owner that forks its lane, with their ancestors, no more bytes are stored than
// the bound.
func TestForksAreBounded(t *testing.T) {
	b := newBench(t, 4)
	cfg := b.config(1)
	cfg.Window = 2 * MaxPayload
	m, stored := New(cfg), 0
	give := func(x *Batch) {
		for _, r := range m.HandleBatch(t0, 3, x).Persist {
			if len(r.Value) > MaxPayload {
				stored++
			}
		}
	}
	now := t0
	for fork := range 6 {
		a := b.sized(3, b.batch(3, Tip{}, string(rune('a'+fork))).Tip(), 4)
		for k := len(a) - 1; k >= 0; k-- { // newest first: their parents are requested
			give(a[k])
			now = now.Add(fetchGrace)
			m.Tick(now)
		}
	}
	if stored > 4 {
		t.Errorf("%d MiB are stored, the window is 2", stored)
	}
	// Below the ordered position one header for each number is stored without a request, and no more bytes than above it.
	m.Ordered(now, b.cut(map[protocols.Index]Tip{3: {Seq: 500, Digest: b.batch(3, Tip{}, "z").Digest()}}))
	stored = 0
	for fork := range 3 {
		for _, x := range b.sized(3, b.batch(3, Tip{}, string(rune('p'+fork))).Tip(), 9) {
			give(x)
		}
	}
	if stored > 4 {
		t.Errorf("%d MiB of ordered batches are stored without a request, the limit is 4", stored)
	}
}

// TestFreezeRecordsNumber: a replica that restarts with a ledger from before a freeze executes the blocks up to the freeze as
// before, and drops the later batches of the lane.
func TestFreezeRecordsNumber(t *testing.T) {
	b := newBench(t, 4)
	m, d := b.machine(1), disk{}
	a, z := b.chain(3, Tip{}, 2, "a"), b.chain(3, Tip{}, 4, "z")
	for _, x := range append(append([]*Batch{}, a...), z...) {
		d.keep(m.HandleBatch(t0, 3, x))
	}
	cuts := []Cut{
		b.cut(nil), b.cut(map[protocols.Index]Tip{3: a[0].Tip()}), b.cut(map[protocols.Index]Tip{3: a[1].Tip()}),
		b.cut(map[protocols.Index]Tip{3: z[2].Tip()}), b.cut(map[protocols.Index]Tip{3: z[3].Tip()}),
	}
	want := []int{1, 1, 0, 0}
	run := func(m *Machine, from int) {
		t.Helper()
		d.keep(m.Ordered(t0, cuts[4]))
		for k := from; k < 4; k++ {
			st, refs, complete := m.Content(t0, cuts[k], cuts[k+1], protocols.Set{})
			d.keep(st)
			if !complete || len(refs) != want[k] {
				t.Errorf("from block %d: block %d has %d batches, want %d, complete %v", from+1, k+1, len(refs), want[k], complete)
			}
		}
	}
	run(m, 0)
	for from := range 4 {
		again, err := Restore(b.config(1), cuts[from], d.stored)
		if err != nil {
			t.Fatal(err)
		}
		run(again, from)
		if cut, _ := again.ProposableCut(t0, cuts[4]); cut[3] != z[3].Tip() {
			t.Error("the tip of a frozen lane changes")
		}
	}
	for k := range d {
		if k[:3] == "l/m" {
			d[k] = d[k][:1]
		}
	}
	if _, err := Restore(b.config(1), cuts[0], d.stored); err == nil {
		t.Error("Restore accepts a mark without a number")
	}
}

// TestLostOwnBatchesAreOrdered: own batches that a replica lost and fetched again after they were ordered do not count
// against its window, and its lane continues after them.
func TestLostOwnBatchesAreOrdered(t *testing.T) {
	b := newBench(t, 4)
	m := b.machine(1)
	prev, last := b.cut(nil), Tip{}
	for _, x := range b.sized(1, Tip{}, 20) {
		cut := b.cut(map[protocols.Index]Tip{1: x.Tip()})
		m.Ordered(t0, cut)
		m.Content(t0, prev, cut, protocols.Set{})
		m.HandleBatch(t0, 2, x)
		m.Executed(cut)
		prev, last = cut, x.Tip()
	}
	if !m.HasRoom() {
		t.Fatal("no room although nothing is uncommitted")
	}
	if _, next := m.Append(t0, []byte("x"), 1); next.Seq != last.Seq+1 || next.Parent != last.Digest {
		t.Errorf("the lane continues with number %d", next.Seq)
	}
	if w := m.lanes[1].bytes; w.held != 1 || w.behind != 0 || w.acked != 1 {
		t.Errorf("byte counts %+v", w)
	}
}
