package lanes

import (
	"testing"
	"time"

	"bdtnode/protocols"
)

// TestBadLane: from the call of Bad on, also after a restart, a replica acknowledges and proposes no batch of the lane, and does
// not wait for its certified tips. It votes for cuts of others with batches of the lane: they are votable, and the
// acknowledgements that the vote implies are recorded and not sent. The owner is blamed once.
func TestBadLane(t *testing.T) {
	b := newBench(t, 4)
	d := disk{}
	m := b.machine(0)
	now := protocols.Time(time.Second)
	chain := b.chain(2, Tip{}, 4, "a")
	for _, x := range chain[:2] {
		d.keep(m.HandleBatch(now, 2, x))
	}
	d.keep(m.HandleCertificate(now, b.certificate(2, chain[0].Tip())))
	st := d.keep(m.Bad(2, 1))
	if len(st.Faults) != 1 || st.Faults[0].Peer != 2 || len(st.Persist) != 1 {
		t.Fatalf("%+v", st)
	}
	if st := m.Bad(2, 2); len(st.Faults)+len(st.Persist) > 0 {
		t.Error("blamed twice")
	}
	restored, err := Restore(b.config(0), make(Cut, 4), d.stored)
	if err != nil {
		t.Fatal(err)
	}
	for name, m := range map[string]*Machine{"running": m, "restored": restored} {
		if bad := m.BadLanes(); bad.Len() != 1 || !bad.Has(2) || !m.Inspect(now)[2].Bad {
			t.Errorf("%s: bad lanes %v", name, bad.Members())
		}
		for _, x := range chain[2:] {
			d.keep(m.HandleBatch(now, 2, x))
		}
		for w := m.Wake(); w != 0 && w < now.Add(time.Minute); w = m.Wake() {
			if acks := sent[*Ack](m.Tick(w)); len(acks) > 0 {
				t.Errorf("%s: acknowledges number %d", name, acks[0].Tip.Seq)
			}
			if len(m.wants.open) == 0 && m.Wake() == w {
				t.Fatalf("%s: wakes for nothing", name)
			}
		}
		if m.lanes[2].tip.Seq != 2 {
			t.Errorf("%s: the highest acknowledged number is %d", name, m.lanes[2].tip.Seq)
		}
		if cut, _ := m.ProposableCut(now, make(Cut, 4)); cut[2].Seq != 0 {
			t.Errorf("%s: proposes number %d", name, cut[2].Seq)
		}
		if certified, ordered := m.Pending(2); certified != ordered || m.Certificate(2) != nil {
			t.Errorf("%s: number %d is pending", name, certified)
		}
		if acks := sent[*Ack](m.Resend(2)); len(acks) > 0 {
			t.Errorf("%s: repeats acks", name)
		}
		if acks := sent[*Ack](m.HandleBatch(now, 2, chain[1])); len(acks) > 0 {
			t.Errorf("%s: answers a repeated batch with an ack", name)
		}
		parent, cut := make(Cut, 4), b.cut(map[protocols.Index]Tip{2: chain[3].Tip()})
		if _, v := m.CheckCut(now, parent, cut, 1); v != Votable {
			t.Fatalf("%s: a cut with the lane is %d", name, v)
		}
		if acks := sent[*Ack](m.AckCut(now, parent, cut)); len(acks) > 0 {
			t.Errorf("%s: a vote sends acks", name)
		}
		if m.ackedIn(2, 4) != chain[3].Digest() || m.ackedIn(2, 3) != chain[2].Digest() {
			t.Errorf("%s: the acknowledgements of a vote are not recorded", name)
		}
		fork := b.batch(2, chain[1].Tip(), "fork")
		m.HandleBatch(now, 2, fork)
		if _, v := m.CheckCut(now, parent, b.cut(map[protocols.Index]Tip{2: fork.Tip()}), 1); v != Refused {
			t.Errorf("%s: a fork of a bad lane is %d", name, v)
		}
	}
}

// TestHeldBatches: all batches above the executed position are listed, forks too, and each has its header.
func TestHeldBatches(t *testing.T) {
	b := newBench(t, 4)
	m := b.machine(0)
	chain := b.chain(1, Tip{}, 3, "a")
	for _, x := range append(chain, b.batch(1, Tip{}, "b"), b.batch(3, Tip{}, "c")) {
		m.HandleBatch(1, x.Lane, x)
	}
	refs := m.HeldBatches()
	if len(refs) != 5 || refs[0].Tip.Seq != 1 || refs[4].Lane != 3 {
		t.Fatalf("%v", refs)
	}
	for _, r := range refs {
		if h := m.Header(r); h == nil || h.Tip() != r.Tip || h.Lane != r.Lane {
			t.Errorf("batch %v has header %v", r, h)
		}
	}
	wrong := Ref{1, Tip{2, chain[2].Digest()}}
	if m.Header(wrong) != nil || m.Header(Ref{2, chain[0].Tip()}) != nil {
		t.Error("a header for a position that is not held")
	}
	m.Ordered(1, b.cut(map[protocols.Index]Tip{1: chain[1].Tip()}))
	m.Executed(b.cut(map[protocols.Index]Tip{1: chain[1].Tip()}))
	if refs := m.HeldBatches(); len(refs) != 2 || refs[0].Tip.Seq != 3 {
		t.Errorf("%v after the execution of two", refs)
	}
}
