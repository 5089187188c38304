package lanes

import (
	"testing"
	"time"

	"bdtnode/internal/digest"
	"bdtnode/protocols"
)

const t0 protocols.Time = 1_000_000_000

// TestAckRule: §4.1: in sequence, at most one digest for each number ever, with a parent that is acknowledged, certified or
// committed.
func TestAckRule(t *testing.T) {
	b := newBench(t, 4)
	a := b.chain(3, Tip{}, 4, "a")
	z := b.chain(3, Tip{}, 4, "z")
	type input func(m *Machine)
	get := func(x *Batch) input { return func(m *Machine) { m.HandleBatch(t0, 3, x) } }
	certify := func(x Tip) input { return func(m *Machine) { m.HandleCertificate(t0, b.certificate(3, x)) } }
	order := func(x Tip) input {
		return func(m *Machine) { m.Ordered(t0, b.cut(map[protocols.Index]Tip{3: x})) }
	}
	for _, x := range []struct {
		name   string
		inputs []input
		want   []*Batch // acknowledged at numbers 1, 2, ...; nil for none
	}{
		{"in order", []input{get(a[0]), get(a[1])}, []*Batch{a[0], a[1]}},
		{"the first of two only", []input{get(a[0]), get(z[0])}, []*Batch{a[0]}},
		{"a gap", []input{get(a[0]), get(a[2])}, []*Batch{a[0], nil, nil}},
		{"a gap that closes", []input{get(a[2]), get(a[1]), get(a[0])}, []*Batch{a[0], a[1], a[2]}},
		{"a parent that was not acked", []input{get(a[0]), get(z[0]), get(z[1])}, []*Batch{a[0], nil}},
		{"a parent that is certified instead", []input{get(a[0]), get(z[0]), get(z[1]), certify(z[0].Tip())}, []*Batch{a[0], z[1]}},
		{"a parent certified before", []input{certify(z[0].Tip()), get(z[1])}, []*Batch{nil, z[1]}},
		{"a parent that is committed instead", []input{get(a[0]), get(z[1]), order(z[0].Tip())}, []*Batch{a[0], z[1]}},
		{"a child of a header other than the committed one", []input{get(a[1]), order(z[0].Tip())}, []*Batch{nil, nil}},
		{"headers that wait for their parent", []input{get(a[3]), get(a[2]), certify(a[1].Tip())}, []*Batch{nil, nil, a[2], a[3]}},
	} {
		t.Run(x.name, func(t *testing.T) {
			m := b.machine(1)
			for _, in := range x.inputs {
				in(m)
			}
			for k, want := range x.want {
				var d digest.Digest
				if want != nil {
					d = want.Digest()
				}
				if got := m.ackedIn(3, uint64(k+1)); got != d {
					t.Errorf("number %d: acknowledged %s, want %s", k+1, got.Short(), d.Short())
				}
			}
		})
	}
}

// TestAcksAreDelayedTogether: acks are persisted at once and sent together after a delay. Batches that are committed by then
// get none.
func TestAcksAreDelayedTogether(t *testing.T) {
	b := newBench(t, 4)
	m := b.machine(1)
	a := b.chain(3, Tip{}, 3, "a")
	for _, x := range a {
		st := m.HandleBatch(t0, 3, x)
		if len(st.Sends) != 0 || len(st.Persist) != 2 || !grew(st) {
			t.Fatalf("a batch makes %d sends and %d records, want none and 2", len(st.Sends), len(st.Persist))
		}
	}
	m.Ordered(t0, b.cut(map[protocols.Index]Tip{3: a[0].Tip()}))
	if st := m.Tick(t0.Add(ackDelay - 1)); len(st.Sends) != 0 {
		t.Error("acks are sent before the delay")
	}
	if w := m.Wake(); w != t0.Add(ackDelay) {
		t.Errorf("Wake is after %v", w.Sub(t0))
	}
	st := m.Tick(t0.Add(ackDelay))
	acks := sent[*Ack](st)
	if len(acks) != 2 || acks[0].Tip != a[1].Tip() || acks[1].Tip != a[2].Tip() {
		t.Fatalf("%d acks", len(acks))
	}
	for _, x := range acks {
		checks, err := x.SignatureChecks(b.c, 1)
		if err != nil || !b.scheme.VerifyAll(checks) {
			t.Errorf("an ack does not verify: %v", err)
		}
	}
	if m.Wake() != 0 || len(m.Tick(t0.Add(time.Second)).Sends) != 0 {
		t.Error("acks are sent twice")
	}
}

// TestCertificateNeedsQuorum: a certificate needs n-f acks of distinct replicas for the digest of the owner, including its
// own.
func TestCertificateNeedsQuorum(t *testing.T) {
	for n := 4; n <= 7; n++ {
		b := newBench(t, n)
		m := b.machine(0)
		_, batch := m.Append(t0, []byte("x"), 1)
		other := b.batch(0, Tip{}, "other")
		deliver := func(from protocols.Index, tip Tip) bool { return grew(m.HandleAck(t0, from, b.ack(from, 0, tip))) }
		for from := 1; from < b.c.Quorum()-1; from++ {
			for range 3 { // counted by sender, not by message
				if deliver(protocols.Index(from), batch.Tip()) {
					t.Fatalf("n=%d: certified by %d and the owner", n, from)
				}
			}
		}
		last := protocols.Index(b.c.Quorum() - 1)
		if deliver(last, other.Tip()) {
			t.Errorf("n=%d: an ack for another header is counted", n)
		}
		if !deliver(last, batch.Tip()) {
			t.Errorf("n=%d: %d acks and that of the owner make no certificate", n, last)
		}
		st := m.Tick(t0.Add(certificateDelay))
		certs := sent[*TipCertificate](st)
		if len(certs) != 1 {
			t.Fatalf("n=%d: an idle lane sends %d certificates", n, len(certs))
		}
		checks, err := certs[0].SignatureChecks(b.c)
		if err != nil || !b.scheme.VerifyAll(checks) || len(checks) != b.c.Quorum() {
			t.Errorf("n=%d: %v, %d signers", n, err, len(checks))
		}
		if _, next := m.Append(t0, []byte("y"), 1); next.Certificate == nil || next.Certificate.Tip != batch.Tip() {
			t.Errorf("n=%d: the next batch carries no certificate", n)
		}
	}
}

// TestEquivocation: two headers for one number are evidence, which is kept once. From then on only certified tips of the
// lane are proposed.
func TestEquivocation(t *testing.T) {
	b := newBench(t, 4)
	m := b.machine(1)
	x, y, z := b.batch(3, Tip{}, "x"), b.batch(3, Tip{}, "y"), b.batch(3, Tip{}, "z")
	if st := m.HandleBatch(t0, 3, x); len(st.Faults) != 0 {
		t.Errorf("faults after one header: %v", st.Faults)
	}
	if st := m.HandleBatch(t0, 3, x); len(st.Faults) != 0 {
		t.Errorf("faults after the same header twice: %v", st.Faults)
	}
	d := disk{}
	st := d.keep(m.HandleBatch(t0, 2, y))
	if len(st.Faults) != 1 || st.Faults[0].Peer != 3 {
		t.Errorf("two headers: faults %v, want one fault of the owner", st.Faults)
	}
	if st := m.HandleBatch(t0, 3, z); len(st.Faults) != 0 || len(st.Persist) != 0 {
		t.Error("evidence is kept more than once")
	}
	cut, _ := m.ProposableCut(t0, b.cut(nil))
	if cut[3] != (Tip{}) {
		t.Error("an uncertified tip of the lane is proposed")
	}
	m.HandleCertificate(t0, b.certificate(3, y.Tip()))
	cut, certs := m.ProposableCut(t0, b.cut(nil))
	if cut[3] != y.Tip() || len(certs) != 1 {
		t.Error("a certified tip of the lane is not proposed with its certificate")
	}
	if got := m.CertifiedOnly(); len(got) != 1 || got[0] != 3 {
		t.Errorf("certified-only lanes %v", got)
	}
	again, err := Restore(b.config(1), b.cut(nil), d.stored)
	if err != nil || len(again.CertifiedOnly()) != 1 {
		t.Errorf("after a restart: %v, %v", again.CertifiedOnly(), err)
	}

	other := b.machine(2)
	other.HandleBatch(t0, 3, x)
	if st := other.HandleConflict(&Conflict{x.SignedHeader}); len(st.Faults) != 0 {
		t.Error("a Conflict with the acknowledged header makes a fault")
	}
	if st := other.HandleConflict(&Conflict{y.SignedHeader}); len(st.Faults) != 1 || st.Faults[0].Peer != 3 {
		t.Errorf("a Conflict with another header: faults %v, want one fault of the owner", st.Faults)
	}
}

// TestWindow: an honest lane stops at its window. A header beyond the window is refused and requested when the window moves.
func TestWindow(t *testing.T) {
	b := newBench(t, 4)
	m := b.machine(0)
	for range WindowHeaders {
		if !m.HasRoom() {
			t.Fatal("no room although the window is not full")
		}
		m.Append(t0, []byte("x"), 1)
	}
	if m.HasRoom() || m.Uncertified() != WindowHeaders {
		t.Errorf("after a full window: room, or %d uncertified", m.Uncertified())
	}
	m.Ordered(t0, b.cut(map[protocols.Index]Tip{0: m.OwnTip()}))
	if !m.HasRoom() || m.Uncertified() != 0 {
		t.Error("no room although all is committed")
	}
	bytes := b.machine(0)
	full := make([]byte, MaxPayload)
	for range WindowBytes / MaxPayload {
		bytes.Append(t0, full, 1)
	}
	if bytes.HasRoom() {
		t.Error("room although the byte window is full")
	}

	peer := b.machine(1)
	a := b.chain(0, Tip{}, 2*WindowHeaders+1, "a")
	last := a[len(a)-1]
	if st := peer.HandleBatch(t0, 0, last); len(st.Persist) != 0 {
		t.Error("a header beyond the window is kept")
	}
	peer.HandleBatch(t0, 0, a[0])
	st := peer.Ordered(t0, b.cut(map[protocols.Index]Tip{0: a[0].Tip()}))
	fetches := sent[*Fetch](st)
	if len(fetches) != 1 || st.Sends[0].To != 0 || !fetches[0].Tip.Digest.IsZero() || fetches[0].After != 1 {
		t.Fatalf("the refused header is requested by %v", st.Sends)
	}
	if st := peer.Ordered(t0, b.cut(map[protocols.Index]Tip{0: a[0].Tip()})); len(st.Sends) != 0 {
		t.Error("the refused header is requested twice")
	}
	owner := b.machine(0)
	owner.Append(t0, []byte("q"), 1)
	answer := chains(owner.HandleFetch(t0, 1, &Fetch{Lane: 0}))
	if len(answer) != 1 || answer[0].Tip != owner.OwnTip() || answer[0].After != 0 {
		t.Errorf("the owner answers %v", answer)
	}
}

// TestExecutedForgets: nothing of executed batches stays in memory, and their acks are deleted from disk.
func TestExecutedForgets(t *testing.T) {
	b := newBench(t, 4)
	m, d := b.machine(1), disk{}
	a := b.chain(3, Tip{}, 3, "a")
	for _, x := range a {
		d.keep(m.HandleBatch(t0, 3, x))
	}
	cut := b.cut(map[protocols.Index]Tip{3: a[1].Tip()})
	d.keep(m.Ordered(t0, cut))
	d.keep(m.Executed(cut))
	if m.Holds(3, a[0].Digest()) || m.Holds(3, a[1].Digest()) || !m.Holds(3, a[2].Digest()) {
		t.Error("the wrong batches are in memory")
	}
	if st := m.HandleBatch(t0, 3, a[0]); len(st.Persist) != 0 || grew(st) {
		t.Error("an executed batch is stored again")
	}
	again, err := Restore(b.config(1), cut, d.stored)
	if err != nil || again.ackedIn(3, 3) != a[2].Digest() || !again.ackedIn(3, 2).IsZero() {
		t.Errorf("restored: %v", err)
	}
}

// TestRestore: after a crash a replica acknowledges no other header at a number, continues its own lane, and sends its
// batches and acks again.
func TestRestore(t *testing.T) {
	b := newBench(t, 4)
	m, d := b.machine(1), disk{}
	a, z := b.chain(3, Tip{}, 2, "a"), b.chain(3, Tip{}, 2, "z")
	d.keep(m.HandleBatch(t0, 3, a[0]))
	st, own := m.Append(t0, []byte("mine"), 1)
	d.keep(st)
	r, err := Restore(b.config(1), b.cut(nil), d.stored)
	if err != nil {
		t.Fatal(err)
	}
	r.HandleBatch(t0, 3, z[0])
	if r.ackedIn(3, 1) != a[0].Digest() {
		t.Error("another header is acknowledged after a crash")
	}
	if r.OwnTip() != own.Tip() || r.Uncertified() != 1 {
		t.Errorf("own tip %d", r.OwnTip().Seq)
	}
	resend := r.Resend(3)
	if c := chains(resend); len(c) != 1 || c[0].Tip != own.Tip() || c[0].After != 0 {
		t.Errorf("own batches are sent again by %v", c)
	}
	if acks := sent[*Ack](resend); len(acks) != 1 || acks[0].Tip != a[0].Tip() {
		t.Errorf("%d acks are sent again", len(acks))
	}
	for from := protocols.Index(2); from < 4; from++ {
		r.HandleAck(t0, from, b.ack(from, 1, own.Tip()))
	}
	if r.Uncertified() != 0 {
		t.Error("the own ack from before the crash is not counted")
	}

	for name, spoil := range map[string]func(disk){
		"a batch cut short": func(d disk) {
			for k, v := range d {
				if k[:3] == "l/b" {
					d[k] = v[:len(v)-1]
				}
			}
		},
		"an ack cut short": func(d disk) { d[string(ackedKey(3, 1))] = []byte{1} },
		"two own headers for a number": func(d disk) {
			x := b.batch(1, Tip{}, "other")
			d[string(StoredKey(1, x.Tip()))] = x.Stored()
		},
	} {
		bad := disk{}
		for k, v := range d {
			bad[k] = v
		}
		spoil(bad)
		if _, err := Restore(b.config(1), b.cut(nil), bad.stored); err == nil {
			t.Errorf("%s: Restore returns no error", name)
		}
	}
}

// TestParentOfHeldBatchIsRequested: a replica that crashed after it stored a batch without its parent requests the parent
// when the batch arrives again.
func TestParentOfHeldBatchIsRequested(t *testing.T) {
	b := newBench(t, 4)
	m, d := b.machine(1), disk{}
	a := b.chain(3, Tip{}, 2, "a")
	d.keep(m.HandleBatch(t0, 3, a[1]))
	r, err := Restore(b.config(1), b.cut(nil), d.stored)
	if err != nil {
		t.Fatal(err)
	}
	if r.Wake() != 0 {
		t.Fatal("Wake is set right after the restart")
	}
	r.HandleBatch(t0, 3, a[1])
	f := sent[*Fetch](r.Tick(r.Wake()))
	if len(f) != 1 || f[0].Tip != a[0].Tip() {
		t.Errorf("requests %v", f)
	}
}
