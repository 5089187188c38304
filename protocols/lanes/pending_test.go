package lanes

import (
	"testing"
	"time"

	"bdtnode/protocols"
)

// TestPending: a certified position is pending until it is ordered. A position without a certificate is not pending.
func TestPending(t *testing.T) {
	b := newBench(t, 4)
	m := b.machine(1)
	x := b.chain(2, Tip{}, 2, "")
	m.HandleBatch(t0, 2, x[0])
	m.HandleBatch(t0, 2, x[1])
	if certified, ordered := m.Pending(2); certified != 0 || ordered != 0 || m.Certificate(2) != nil {
		t.Error("a held batch is pending without a certificate")
	}
	m.HandleCertificate(t0, b.certificate(2, x[0].Tip()))
	if certified, ordered := m.Pending(2); certified != 1 || ordered != 0 || m.Certificate(2).Tip != x[0].Tip() {
		t.Errorf("certified %d, ordered %d", certified, ordered)
	}
	m.Ordered(t0, b.cut(map[protocols.Index]Tip{2: x[1].Tip()}))
	if certified, ordered := m.Pending(2); certified != 2 || ordered != 2 || m.Certificate(2) != nil {
		t.Errorf("ordered up to 2: certified %d, ordered %d", certified, ordered)
	}
}

// TestAckAtOnce: with AckAtOnce acks are not delayed.
func TestAckAtOnce(t *testing.T) {
	b := newBench(t, 4)
	cfg := b.config(1)
	cfg.AckAtOnce = true
	m := New(cfg)
	x := b.chain(2, Tip{}, 1, "")[0]
	if a := sent[*Ack](m.HandleBatch(t0, 2, x)); len(a) != 1 || a[0].Tip != x.Tip() {
		t.Errorf("%d acks at once, want 1", len(a))
	}
	if a := sent[*Ack](m.Tick(t0.Add(time.Second))); len(a) != 0 {
		t.Errorf("%d acks are sent again later", len(a))
	}
	if a := sent[*Ack](b.machine(1).HandleBatch(t0, 2, x)); len(a) != 0 {
		t.Errorf("%d acks at once without AckAtOnce", len(a))
	}
}

// TestRequestsEnd: a batch that only a cut without a commit names, and that nobody sends, is not requested for ever. It is
// requested again when a cut names it again.
func TestRequestsEnd(t *testing.T) {
	b := newBench(t, 4)
	m := b.machine(1)
	missing := b.chain(2, Tip{}, 1, "")[0].Tip()
	origin := make(Cut, 4)
	ask := func() int {
		m.CheckCut(t0, origin, b.cut(map[protocols.Index]Tip{2: missing}), 3)
		asked := 0
		for w := m.Wake(); w != 0; w = m.Wake() {
			if asked += len(sent[*Fetch](m.Tick(w))); asked > 1000 {
				t.Fatal("the requests do not end")
			}
		}
		return asked
	}
	if first, again := ask(), ask(); first != askRounds*3 || again != first {
		t.Errorf("requested %d times, then %d, want %d", first, again, askRounds*3)
	}
}
