package lanes

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"bdtnode/protocols"
)

// TestCheckCut: a replica may vote for a cut if every new tip is certified, or held with all headers back to the tip of the
// parent and no other header acknowledged at their numbers.
func TestCheckCut(t *testing.T) {
	b := newBench(t, 4)
	a, z := b.chain(3, Tip{}, 4, "a"), b.chain(3, Tip{}, 4, "z")
	far := b.chain(3, Tip{}, maxGrowth+1, "far")
	skips := b.batch(3, Tip{2, a[0].Digest()}, "") // numbered 3, but its parent has number 1
	get := func(xs ...*Batch) func(*Machine) {
		return func(m *Machine) {
			for _, x := range xs {
				m.HandleBatch(t0, 3, x)
			}
		}
	}
	certify := func(x *Batch) func(*Machine) {
		return func(m *Machine) { m.HandleCertificate(t0, b.certificate(3, x.Tip())) }
	}
	for _, x := range []struct {
		name        string
		inputs      []func(*Machine)
		parent, tip Tip
		want        Verdict
		conflict    *Batch // sent to the leader
		fetch       *Batch // is requested
	}{
		{"no change", nil, a[0].Tip(), a[0].Tip(), Votable, nil, nil},
		{"held", []func(*Machine){get(a[0], a[1])}, Tip{}, a[1].Tip(), Votable, nil, nil},
		{"held and not acknowledged", []func(*Machine){get(a[1])}, a[0].Tip(), a[1].Tip(), Votable, nil, a[0]}, // a[0] is content of the parent
		{"not held", nil, Tip{}, a[0].Tip(), Missing, nil, a[0]},
		{"a gap", []func(*Machine){get(a[0], a[2])}, Tip{}, a[2].Tip(), Missing, nil, a[1]},
		{"certified, not held", []func(*Machine){certify(a[2])}, Tip{}, a[2].Tip(), Votable, nil, nil},
		{"another acknowledged at the tip", []func(*Machine){get(a[0], z[0])}, Tip{}, z[0].Tip(), Refused, a[0], nil},
		{"another acknowledged below the tip", []func(*Machine){get(a[0], z[0], z[1], z[2])}, Tip{}, z[2].Tip(), Refused, a[0], nil},
		{"another acknowledged, but certified", []func(*Machine){get(a[0], z[0]), certify(z[0])}, Tip{}, z[0].Tip(), Votable, nil, nil},
		{"held, under another number", []func(*Machine){get(a[0])}, Tip{}, Tip{3, a[0].Digest()}, Refused, nil, nil},
		{"on top of another number", []func(*Machine){get(a[0], skips)}, Tip{}, skips.Tip(), Refused, nil, nil},
		{"at the end of the window", []func(*Machine){get(far...)}, Tip{}, far[maxGrowth-1].Tip(), Votable, nil, nil},
		{"beyond the window", []func(*Machine){get(far...)}, Tip{}, far[maxGrowth].Tip(), Missing, nil, nil},
		{"beyond the window, not held", nil, Tip{}, Tip{1 << 60, a[0].Digest()}, Missing, nil, nil},
		{"beyond the window, and its parent too", []func(*Machine){get(far...), certify(far[1])}, far[1].Tip(), far[maxGrowth].Tip(), Missing, nil, nil},
		{"beyond the window, certified", []func(*Machine){certify(far[maxGrowth])}, Tip{}, far[maxGrowth].Tip(), Votable, nil, nil},
		{"not on the parent's chain", []func(*Machine){get(a[0], a[1])}, z[0].Tip(), a[1].Tip(), Refused, nil, nil},
	} {
		t.Run(x.name, func(t *testing.T) {
			m := b.machine(1)
			for _, in := range x.inputs {
				in(m)
			}
			m.Tick(t0.Add(ackDelay))
			parent, cut := b.cut(map[protocols.Index]Tip{3: x.parent}), b.cut(map[protocols.Index]Tip{3: x.tip})
			st, got := m.CheckCut(t0, parent, cut, 2)
			if got != x.want {
				t.Errorf("verdict %d, want %d", got, x.want)
			}
			conflicts := sent[*Conflict](st)
			if (len(conflicts) == 1) != (x.conflict != nil) || len(conflicts) == 1 && (conflicts[0].Digest() != x.conflict.Digest() || st.Sends[0].To != 2) {
				t.Errorf("sends the conflicts %v to the leader", conflicts)
			}
			asked := m.Tick(t0.Add(fetchGrace))
			f := sent[*Fetch](asked)
			switch {
			case (len(f) == 1) != (x.fetch != nil):
				t.Errorf("requests %v", f)
			case x.fetch != nil && f[0].Tip != x.fetch.Tip():
				t.Errorf("requests number %d", f[0].Tip.Seq)
			case x.name == "not held" && asked.Sends[0].To != 2:
				t.Errorf("requests first from %d, not from the leader", asked.Sends[0].To)
			}
		})
	}
}

// TestChainIsRequestedOnce: a committed block needs a chain of which nothing is held. It is requested once, and not again for each
// batch of the answer that arrives. If the answer stops, the rest is requested after a grace.
func TestChainIsRequestedOnce(t *testing.T) {
	b := newBench(t, 4)
	m := b.machine(1)
	const n = 30
	a := b.chain(3, Tip{}, n, "a")
	prev, cut := b.cut(nil), b.cut(map[protocols.Index]Tip{3: a[n-1].Tip()})
	now := t0
	content := func() bool {
		_, _, complete := m.Content(now, prev, cut, protocols.Set{})
		return complete
	}
	requests := func() []*Fetch { return sent[*Fetch](m.Tick(now)) }
	if content() {
		t.Fatal("complete without a batch")
	}
	if f := requests(); len(f) != 1 || f[0].Tip != a[n-1].Tip() || f[0].After != 0 {
		t.Fatalf("requests %v", f)
	}
	const stop = 10 // the answer ends after this one
	for k := n - 1; k >= stop; k-- {
		now = now.Add(time.Millisecond)
		m.HandleBatch(now, 3, a[k])
		content()
		if f := requests(); len(f) > 0 {
			t.Fatalf("upon number %d it requests %v", k+1, f)
		}
	}
	now = now.Add(fetchGrace)
	if f := requests(); len(f) != 1 || f[0].Tip != a[stop-1].Tip() {
		t.Fatalf("after the end of the answer it requests %v", f)
	}
	for k := stop - 1; k >= 0; k-- {
		m.HandleBatch(now, 3, a[k])
		if content() != (k == 0) {
			t.Fatalf("number %d: complete %v", k+1, k != 0)
		}
	}
	if f := requests(); len(f) > 0 {
		t.Errorf("requests %v with all batches", f)
	}
}

// TestEndOfAnAnswer: an answer ends at a number of bytes or batches. The next batch of a committed block is then requested at
// once.
func TestEndOfAnAnswer(t *testing.T) {
	for name, x := range map[string]struct {
		payload string
		batches int // of the answer
	}{"bytes": {strings.Repeat("a", MaxPayload), AnswerBytes / MaxPayload}, "batches": {"a", maxGrowth}} {
		b := newBench(t, 4)
		m := b.machine(1)
		a := b.chain(3, Tip{}, x.batches+2, x.payload)
		prev, cut := b.cut(nil), b.cut(map[protocols.Index]Tip{3: a[len(a)-1].Tip()})
		for k := range x.batches {
			m.Content(t0, prev, cut, protocols.Set{})
			if f := sent[*Fetch](m.Tick(t0)); (len(f) > 0) != (k == 0) {
				t.Fatalf("%s: before batch %d of the answer it requests %v", name, k, f)
			}
			m.HandleBatch(t0, 3, a[len(a)-1-k])
		}
		m.Content(t0, prev, cut, protocols.Set{})
		if f := sent[*Fetch](m.Tick(t0)); len(f) != 1 {
			t.Errorf("%s: after the answer it requests %v", name, f)
		}
	}
}

// TestVoteAcksTheWholePath: a vote acknowledges all headers up to the tip. If it acknowledged only the tip, two committed
// cuts could lie on different chains.
func TestVoteAcksTheWholePath(t *testing.T) {
	b := newBench(t, 4)
	m := b.machine(1)
	a := b.chain(3, Tip{}, 4, "a")
	for _, x := range []*Batch{a[3], a[2], a[1]} { // held but not acknowledged, since the first is missing
		m.HandleBatch(t0, 3, x)
	}
	parent := b.cut(map[protocols.Index]Tip{3: a[0].Tip()})
	cut := b.cut(map[protocols.Index]Tip{3: a[2].Tip()})
	if _, v := m.CheckCut(t0, parent, cut, 0); v != Votable {
		t.Fatalf("verdict %d", v)
	}
	d := disk{}
	d.keep(m.AckCut(t0, parent, cut))
	for k, want := range map[uint64]*Batch{2: a[1], 3: a[2], 4: a[3]} { // the last one waited for its parent
		if m.ackedIn(3, k) != want.Digest() {
			t.Errorf("number %d is not acknowledged", k)
		}
		if d[string(ackedKey(3, k))] == nil {
			t.Errorf("the ack of number %d is not part of the step", k)
		}
	}
}

// TestView: View gives the highest acknowledged tips that are linked to the parent, and certified tips with their
// certificates. For a lane in which the parent is ahead it gives the tip of the parent.
func TestView(t *testing.T) {
	b := newBench(t, 4)
	m := b.machine(0)
	a1, a2, a3 := b.chain(1, Tip{}, 3, "a"), b.chain(2, Tip{}, 3, "a"), b.chain(3, Tip{}, 3, "a")
	for _, x := range a1 {
		m.HandleBatch(t0, 1, x)
	}
	m.HandleCertificate(t0, b.certificate(2, a2[1].Tip())) // not held
	m.HandleBatch(t0, 3, a3[0])
	m.HandleBatch(t0, 3, a3[2]) // a gap
	cut, certs := m.ProposableCut(t0, b.cut(nil))
	want := b.cut(map[protocols.Index]Tip{1: a1[2].Tip(), 2: a2[1].Tip(), 3: a3[0].Tip()})
	if fmt.Sprint(cut) != fmt.Sprint(want) {
		t.Errorf("proposes %v, want %v", cut, want)
	}
	if len(certs) != 1 || certs[0].Lane != 2 {
		t.Errorf("%d certificates, want that of lane 2", len(certs))
	}
	if again, certs := m.ProposableCut(t0, cut); !slices.Equal(again, cut) || len(certs) != 0 {
		t.Error("a cut grows on top of itself")
	}

	st := m.HandleFetch(t0, 2, &Fetch{Lane: 1, Tip: a1[2].Tip()})
	if c := chains(st); len(c) != 1 || c[0].Tip != a1[2].Tip() {
		t.Errorf("answers %v", c)
	}
	if st := m.HandleFetch(t0, 2, &Fetch{Lane: 3, Tip: a3[1].Tip()}); len(st.Sends)+len(st.Reads) != 0 {
		t.Error("answers a request for a batch that is not held")
	}
}

// TestContent: batches are listed round-robin over the lanes, each lane by number. Missing batches are requested. A chain
// that does not contain the position of the previous cut contributes nothing and freezes its lane.
func TestContent(t *testing.T) {
	b := newBench(t, 4)
	m := b.machine(0)
	a1, a2, a3 := b.chain(1, Tip{}, 1, "a"), b.chain(2, Tip{}, 3, "a"), b.chain(3, Tip{}, 2, "a")
	for _, x := range append(append(append([]*Batch{}, a1...), a2...), a3[1]) {
		m.HandleBatch(t0, x.Lane, x)
	}
	cut := b.cut(map[protocols.Index]Tip{1: a1[0].Tip(), 2: a2[2].Tip(), 3: a3[1].Tip()})
	var signers protocols.Set
	signers.Add(2)
	if _, _, complete := m.Content(t0, b.cut(nil), cut, signers); complete {
		t.Fatal("the content is complete without a batch")
	}
	st := m.Tick(t0)
	if f := sent[*Fetch](st); len(f) != 1 || f[0].Tip != a3[0].Tip() || f[0].After != 0 {
		t.Fatalf("requests %v", f)
	}
	m.HandleBatch(t0, 2, a3[0]) // from a signer
	_, refs, complete := m.Content(t0, b.cut(nil), cut, signers)
	got := ""
	for _, r := range refs {
		got += fmt.Sprintf("%d.%d ", r.Lane, r.Tip.Seq)
	}
	if want := "1.1 2.1 3.1 2.2 3.2 2.3 "; !complete || got != want {
		t.Errorf("order %s, want %s", got, want)
	}

	z := b.chain(1, Tip{}, 3, "z")
	for _, x := range z {
		m.HandleBatch(t0, 1, x)
	}
	prev := b.cut(map[protocols.Index]Tip{1: a1[0].Tip()})
	st, refs, complete = m.Content(t0, prev, b.cut(map[protocols.Index]Tip{1: z[1].Tip(), 2: a2[0].Tip()}), signers)
	if !complete || len(refs) != 1 || refs[0].Lane != 2 || len(st.Persist) != 1 {
		t.Errorf("a chain without the previous position gives %v", refs)
	}
	if frozen := m.Frozen(); !frozen.Has(1) || frozen.Len() != 1 || len(st.Faults) != 1 || st.Faults[0].Peer != 1 || !strings.Contains(st.Faults[0].Reason, "froze its lane at number 1") {
		t.Errorf("frozen lanes %v, faults %v", frozen, st.Faults)
	}
	if _, v := m.CheckCut(t0, prev, b.cut(map[protocols.Index]Tip{1: z[1].Tip()}), 0); v != Refused {
		t.Error("a cut with a new tip of a frozen lane is not refused")
	}
	on := b.cut(map[protocols.Index]Tip{1: z[1].Tip()})
	if _, refs, complete := m.Content(t0, on, b.cut(map[protocols.Index]Tip{1: z[2].Tip()}), signers); !complete || len(refs) != 0 {
		t.Errorf("a frozen lane gives %v", refs)
	}
}

// TestFetchAsksAllInTurn: requests go to all replicas in turn, with growing pauses, until the batch is held or executed.
func TestFetchAsksAllInTurn(t *testing.T) {
	b := newBench(t, 4)
	m := b.machine(1)
	a := b.chain(3, Tip{}, 1, "a")
	cut := b.cut(map[protocols.Index]Tip{3: a[0].Tip()})
	m.CheckCut(t0, b.cut(nil), cut, 2)
	asked := make(map[protocols.To]int)
	last, pause := protocols.Time(0), int64(0)
	for range 6 {
		w := m.Wake()
		if last != 0 && int64(w-last) < pause {
			t.Errorf("pause of %d after one of %d", w-last, pause)
		}
		if last != 0 {
			pause = int64(w - last)
		}
		last = w
		for _, s := range m.Tick(w).Sends {
			asked[s.To]++
		}
	}
	if len(asked) != 3 || asked[0] != 2 || asked[2] != 2 || asked[3] != 2 {
		t.Errorf("asked %v", asked)
	}
	m.HandleBatch(t0, 0, a[0])
	m.Tick(t0.Add(ackDelay))
	if m.Wake() != 0 {
		t.Error("requests continue for a batch that is held")
	}
}
