package replica

import (
	"testing"
	"time"

	"bdtnode/internal/kv"
	"bdtnode/protocols"
	"bdtnode/protocols/certify"
	"bdtnode/protocols/lanes"
)

// TestCatchUp: a replica that learns from f+1 peers of more certified blocks first waits for them to arrive unasked.
// Then it fetches them, executes them, and asks all peers to repeat messages that it could not use before.
func TestCatchUp(t *testing.T) {
	b := newBench(t, 4, 5, "")
	store := kv.NewMem()
	core := b.restore(t, 1, nil, store)
	b.run(t, core, store, core.Start(t0))
	now := t0
	tick := func() []protocols.Send {
		now = core.Wake()
		return b.run(t, core, store, core.Tick(now))
	}
	core.Handle(now, unverified(2, &Position{Certified: 5}))
	if core.Wake() != 0 && core.Wake() < t0.Add(checkGap) || core.catchup.lagging {
		t.Error("one peer's word counts")
	}
	now = now.Add(checkGap)
	core.Handle(now, unverified(3, b.vote(3, 5)))
	if !core.catchup.lagging {
		t.Fatal("the word of f+1 does not count")
	}
	if w := core.Wake(); w != t0.Add(stall) {
		t.Fatalf("looks again after %v", w.Sub(t0))
	}
	asked := tick()
	r := sent[*Request](asked)
	if len(r) != 1 || r[0].From != 1 || asked[0].To != 2 && asked[0].To != 3 {
		t.Fatalf("asks %v", asked)
	}
	now = now.Add(checkGap)
	asked = b.run(t, core, store, core.Handle(now, unverified(protocols.Index(asked[0].To), b.history(1, 3))))
	if st := core.Status(); st.Committed != 3 || st.Certified != 3 {
		t.Errorf("committed %d, certified %d of 3", st.Committed, st.Certified)
	}
	if r := sent[*Request](asked); len(r) != 1 || r[0].From != 4 {
		t.Fatalf("asks %v for the rest", asked)
	}
	now = now.Add(checkGap)
	sends := b.run(t, core, store, core.Handle(now, unverified(protocols.Index(asked[0].To), b.history(2, 5)))) // the first two are known
	for w := core.Wake(); w != 0; w = core.Wake() {
		sends = append(sends, tick()...)
	}
	if st := core.Status(); st.Committed != 5 || st.Certified != 5 || core.catchup.lagging {
		t.Errorf("committed %d, certified %d of 5", st.Committed, st.Certified)
	}
	if p := sent[*Position](sends); len(p) != 1 || !p[0].Again || p[0].Certified != 5 {
		t.Errorf("asks for everything again: %v", p)
	}
	if core.Wake() != 0 {
		t.Error("no rest when all is done")
	}
	served, err := ReadHistory(b.c, store, b.headers, HistoryRange{From: 2})
	if err != nil || len(served.Items) != 4 {
		t.Errorf("what was fetched is served on: %d, %v", len(served.Items), err)
	}
}

// TestFallenBehind: a replica is not behind while it reaches each height within a second of the others. It is behind
// after that, or at once if many blocks lack, until it keeps up again.
func TestFallenBehind(t *testing.T) {
	type look struct {
		at          time.Duration
		others, own uint64
		behind      bool
	}
	for name, looks := range map[string][]look{
		"a block ahead at each look": {
			{0, 1, 0, false}, {500 * time.Millisecond, 2, 1, false}, {time.Second, 3, 2, false}, {1500 * time.Millisecond, 4, 3, false},
		},
		"long idle": {
			{0, 1, 1, false}, {time.Hour, 2, 1, false}, {time.Hour + time.Millisecond, 2, 2, false}, {2 * time.Hour, 3, 2, false},
		},
		"no progress": {
			{0, 1, 0, false}, {usualLag - 1, 5, 0, false}, {usualLag, 5, 0, true}, {2 * usualLag, 5, 5, false},
		},
		"progress that is too slow": {
			{0, 20, 0, false}, {usualLag, 30, 10, true}, {2 * usualLag, 40, 20, true}, {2*usualLag + time.Millisecond, 40, 21, true},
			{3*usualLag - 1, 45, 40, false}, {3 * usualLag, 45, 44, false},
		},
		"far away": {{0, usualGap + 1, 0, true}, {1, usualGap + 1, 1, false}},
	} {
		var p pace
		for _, l := range looks {
			now := t0.Add(l.at)
			p.compare(now, l.others, l.own)
			if got := p.slow(now, l.others, l.own); got != l.behind {
				t.Errorf("%s, after %v: others %d, own %d: behind %v, want %v", name, l.at, l.others, l.own, got, l.behind)
			}
		}
	}
}

// TestNothingToFetch: a peer without an answer is not asked again at once.
func TestNothingToFetch(t *testing.T) {
	b := newBench(t, 4, 5, "")
	store := kv.NewMem()
	core := b.restore(t, 1, nil, store)
	core.Start(t0)
	core.Handle(t0, unverified(2, b.vote(2, 5)))
	core.Handle(t0.Add(checkGap), unverified(3, b.vote(3, 5)))
	asked, now := asks(t, core)
	if st := core.Handle(now.Add(2*checkGap), unverified(asked, &History{})); len(sent[*Request](st.Sends)) != 0 {
		t.Error("asks at once")
	}
	if !core.catchup.lagging || core.Wake() < now.Add(stall) {
		t.Errorf("asks again after %v, behind: %v", core.Wake().Sub(now), core.catchup.lagging)
	}
}

// TestFetchedLater: after a crash, peers have nothing to serve until they have executed their certified blocks again,
// and they send no message when they are done. They are asked until they have the blocks.
func TestFetchedLater(t *testing.T) {
	b := newBench(t, 4, 5, "")
	store := kv.NewMem()
	core := b.restore(t, 1, nil, store)
	core.Start(t0)
	for i := range protocols.Index(4) {
		if i != 1 {
			core.Handle(t0, unverified(i, &Position{Certified: 5}))
		}
	}
	now := t0
	for asked := 0; asked < 12; {
		w := core.Wake()
		if w == 0 || w > now.Add(answerWait) {
			t.Fatalf("asks no more after %d answers without a block", asked)
		}
		now = max(now, w)
		for _, s := range core.Tick(now).Sends {
			if _, ok := s.Message.(*Request); ok {
				asked++
				core.Handle(now, unverified(protocols.Index(s.To), &History{}))
			}
		}
	}
}

// TestNothingFromWhoWasNotAsked: a peer that keeps sending empty Histories without a Request does not keep a replica
// from asking others.
func TestNothingFromWhoWasNotAsked(t *testing.T) {
	b := newBench(t, 4, 5, "")
	store := kv.NewMem()
	core := b.restore(t, 1, nil, store)
	core.Start(t0)
	core.Handle(t0, unverified(2, b.vote(2, 5)))
	core.Handle(t0.Add(checkGap), unverified(3, b.vote(3, 5)))
	for now := t0.Add(2 * checkGap); now < t0.Add(2*stall); now = now.Add(checkGap) {
		if len(sent[*Request](core.Handle(now, unverified(0, &History{})).Sends)) > 0 {
			if len(sent[*Request](core.Handle(now.Add(checkGap), unverified(0, &History{})).Sends)) > 0 {
				t.Error("asks again before who was asked had time to answer")
			}
			return
		}
	}
	t.Error("asks nobody")
}

// TestHistoryThatDoesNotFollow: a History that does not follow the own blocks changes nothing, nor does one without a
// Request.
func TestHistoryThatDoesNotFollow(t *testing.T) {
	b := newBench(t, 4, 5, "")
	store := kv.NewMem()
	core := b.restore(t, 1, nil, store)
	core.Start(t0)
	b.run(t, core, store, core.Handle(t0, unverified(2, b.history(1, 5))))
	core.Handle(t0, unverified(2, b.vote(2, 5)))
	core.Handle(t0.Add(checkGap), unverified(3, b.vote(3, 5)))
	asked, now := asks(t, core)
	b.run(t, core, store, core.Handle(now, unverified(asked, b.history(3, 5))))
	if st := core.Status(); st.Committed != 0 || st.Certified != 0 {
		t.Errorf("committed %d, certified %d", st.Committed, st.Certified)
	}
}

// TestAskedAgain: a peer that asks for all messages again gets them, at most once in againGap.
func TestAskedAgain(t *testing.T) {
	b := newBench(t, 4, 2, "")
	store := kv.NewMem()
	core := b.restore(t, 1, nil, store)
	b.run(t, core, store, core.Start(t0))
	st, _, _ := core.Append(t0, [][]byte{[]byte("x")}) // something to send again
	b.run(t, core, store, st)
	given := func(st Step) bool {
		for _, r := range st.Reads {
			if _, ok := r.Range.(lanes.BatchRange); ok && r.To == 2 {
				return true
			}
		}
		return false
	}
	ask := &Position{Again: true}
	if !given(core.Handle(t0, unverified(2, ask))) {
		t.Fatal("not given at first")
	}
	if given(core.Handle(t0.Add(1), unverified(2, ask))) {
		t.Error("given twice at once")
	}
	due := t0.Add(againGap)
	for w := core.Wake(); w != 0 && w < due; w = core.Wake() {
		if given(core.Tick(w)) {
			t.Error("given early")
		}
	}
	if w := core.Wake(); w != due {
		t.Fatalf("forgotten: wakes in %v", w.Sub(t0))
	}
	if !given(core.Tick(due)) {
		t.Error("not given when due")
	}
	if given(core.Tick(due.Add(againGap))) {
		t.Error("given once more than it was asked for")
	}
}

// TestRestoredVOTEs: headers executed above the certified height are signed again, so that they are certified in the
// end also after a crash of all replicas.
func TestRestoredVOTEs(t *testing.T) {
	b := newBench(t, 4, 5, "")
	store := kv.NewMem()
	core := b.restore(t, 1, nil, store)
	b.run(t, core, store, core.Start(t0))
	for _, i := range []protocols.Index{0, 2} {
		core.Handle(t0, unverified(i, b.vote(i, 2)))
	}
	asked, now := asks(t, core)
	b.run(t, core, store, core.Handle(now, unverified(asked, b.history(1, 2))))
	var batch kv.Batch // blocks 3 to 5 are committed, and their VOTEs were lost
	for _, x := range b.blocks[2:] {
		batch.Set(append([]byte("h/b"), 0, 0, 0, 0, 0, 0, 0, byte(x.Height)), x.Append(nil))
	}
	if err := store.Apply(&batch, true); err != nil {
		t.Fatal(err)
	}
	again := b.restore(t, 1, b.headers[:4], store)
	again.Start(t0)
	got := sent[*certify.VOTE](again.Connected(3).Sends)
	if len(got) != 2 || got[0].Height != 3 || got[1].Height != 4 {
		t.Errorf("sends %d VOTEs again", len(got))
	}
	if _, err := Restore(b.config(1), lying{b.headers[:2]}, store); err == nil {
		t.Error("restored on a ledger that lacks a header")
	}
}

// lying is a ledger whose height is beyond its headers.
type lying struct{ state }

func (lying) Height() uint64 { return 4 }

// asks advances the time until the core asks a peer for certified blocks.
func asks(t *testing.T, core *Core) (asked protocols.Index, now protocols.Time) {
	t.Helper()
	for range 100 {
		if now = core.Wake(); now == 0 {
			break
		}
		for _, s := range core.Tick(now).Sends {
			if _, ok := s.Message.(*Request); ok {
				return protocols.Index(s.To), now
			}
		}
	}
	t.Fatal("asks nobody")
	return 0, 0
}
