package adversary

import (
	"testing"

	"bdtnode/internal/sig"
	"bdtnode/ledger"
	"bdtnode/node/replica"
	"bdtnode/protocols"
	"bdtnode/protocols/cancel"
	"bdtnode/shard/settlement"
)

const spent = ledger.VerdictSpent

// entries has SPENT on some transactions of shard 0, each with an input in shard 1.
func (s *stage) entries(numbers ...byte) (out []ledger.Entry) {
	for _, k := range numbers {
		out = append(out, ledger.Entry{Verdict: spent, Tx: s.tx(k, 0, 1)})
	}
	return out
}

// TestForgedLDs: the correct LD is always sent, and every forged one is refused.
func TestForgedLDs(t *testing.T) {
	s := newStage(t)
	right := s.ld(0, 1, 1, s.entries(1, 2)...)
	if err := s.verifies(right); err != nil {
		t.Fatalf("the correct LD does not verify: %v", err)
	}
	reasons := make(map[string]bool)
	for range 400 {
		correct := false
		for _, p := range (&ForgedLDs{Rate: 1}).ReplaceLD(s.view, right) {
			ld, err := settlement.DecodeLD(p.Frame)
			if err == nil {
				err = s.verifies(ld)
			}
			if err == nil && ld.Delivery.Destination != 1 {
				continue // another shard's
			}
			if p.Forged != "" && err == nil {
				t.Errorf("a receiver takes an LD: %s", p.Forged)
			}
			reasons[p.Forged] = true
			correct = correct || p.Forged == "" && err == nil
		}
		if !correct {
			t.Fatal("the correct LD is not sent")
		}
	}
	delete(reasons, "")
	if len(reasons) != 9 {
		t.Errorf("%d kinds of forged LDs: %v", len(reasons), reasons)
	}
	inside, forged := 0, 0
	for range 50 {
		taken, why := s.replace(&ForgedLDs{Rate: 1}, 0, &replica.NewInbound(s.ld(1, 0, 1)).LD)
		inside, forged = inside+len(taken), forged+len(why)
	}
	if inside != 50 || forged != 50 {
		t.Errorf("%d LDs and %d forged ones inside the shard", inside, forged)
	}
}

// TestForgedCLs: with the CL_Ms, CLs and LDs that it learned, the replica sends all kinds of forgeries. Those that a
// receiver must refuse are refused.
func TestForgedCLs(t *testing.T) {
	s := newStage(t)
	a := &ForgedCLs{Rate: 1}
	signers := func(shard uint16) (out []sig.Signer) {
		for i := range protocols.Index(replicas) {
			out = append(out, s.signer(shard, i))
		}
		return out
	}
	// It knows transactions of this shard and of others, CLs of shards 0 and 1, LDs of two shards and a CL_M of a peer.
	for k := range byte(6) {
		a.collusion().Learn(s.network, s.tx(10+k, 0, 1))
		a.collusion().Learn(s.network, s.tx(20+k, 1, 2))
		a.ReplaceCL(s.view, 1, HostileCL(s.network, 0, s.tx(30+k, 0, 1), signers(0)))
		a.ReplaceCL(s.view, 1, HostileCL(s.network, 1, s.tx(40+k, 1, 2), signers(1)))
		a.ReplaceLD(s.view, s.ld(0, 1, 1+uint64(k), s.entries(50+k)...))
		a.Receive(s.view, 1, replica.NewInbound(s.ld(1, 2, 1+uint64(k))))
		peer := *s.view
		peer.Self, peer.Signer = 1, s.signer(0, 1)
		a.Receive(s.view, 1, peer.signCLM(s.tx(60+k, 0, 1)))
	}
	for range 3000 {
		s.replace(a, 3, s.vote(1))
	}
	for _, g := range s.gossip {
		var err error
		if settlement.IsCL(g.Frame) {
			var cl *settlement.CL
			if cl, err = settlement.DecodeCL(s.network, g.Frame); err == nil {
				err = cl.Check(s.scheme)
			}
			if err == nil && !cl.Tx.Shards(s.network.Home).All().Has(g.shard) {
				continue // a receiver looks at its own shard first
			}
		} else {
			var ld *settlement.LD
			if ld, err = settlement.DecodeLD(g.Frame); err == nil {
				err = s.verifies(ld)
			}
			if err == nil && ld.Delivery.Destination != g.shard {
				continue
			}
		}
		if forged := g.Forged != ""; forged != (err != nil) {
			t.Errorf("forged %q, and a receiver says %v", g.Forged, err)
		}
	}
	for _, kind := range CLKinds {
		if CountsOf(a)[kind] == 0 {
			t.Errorf("never sent: %s", kind)
		}
	}
}

// TestHostileCL: f+1 replicas of a hostile shard certify a CL of any transaction.
func TestHostileCL(t *testing.T) {
	s := newStage(t)
	var signers []sig.Signer
	for i := range protocols.Index(replicas) {
		signers = append(signers, s.signer(0, i))
	}
	ld := s.ld(0, 1, 1, append(s.entries(1, 2), ledger.Entry{Verdict: ledger.VerdictRejected, Reason: ledger.ReasonConsumed, Tx: s.tx(3, 0, 1)})...)
	cls := CancelledAndSpent{}.CLs(ld, s.network, signers)
	if len(cls) != 2 {
		t.Fatalf("%d CLs for two SPENT", len(cls))
	}
	for _, cl := range cls {
		if err := cl.Check(s.scheme); err != nil || cl.Source != 0 {
			t.Errorf("CL of shard %d: %v", cl.Source, err)
		}
	}
	if x := s.view.signCLM(ld.Delivery.Entries[0].Tx); x.Digest != cancel.DigestOf(x.Content) {
		t.Error("a CL_M with another digest")
	}
}

// TestHostileChannel: a hostile shard certifies one false delivery, and chains the following ones on it.
func TestHostileChannel(t *testing.T) {
	for _, h := range []Hostile{TwoLDs{}, SecondSpent{}, BrokenLD{}, CancelledAndSpent{}} {
		s := newStage(t)
		var c HostileChannel
		var made []*ledger.Delivery
		for k := range uint64(12) {
			d := ledger.Delivery{Source: 0, Destination: 1, Number: k + 1}
			if k > 0 {
				d.Previous = made[k-1].Digest()
				d.Entries = s.entries(byte(k))
			}
			made = append(made, ledger.NewDelivery(d))
			c.Made(h, made[k])
		}
		if !c.False {
			t.Fatalf("%s: no delivery is false", h)
		}
		differ, two := 0, 0
		for k := range uint64(12) {
			even, odd := c.Delivery(k+1, 0), c.Delivery(k+1, 1)
			if !c.Certified(even) || !c.Certified(odd) {
				t.Errorf("%s: delivery %d is not certified", h, k+1)
			}
			if even.Digest() != odd.Digest() {
				two++
			}
			if len(even.Entries) != len(made[k].Entries) {
				differ++
			}
			if k > 0 && even.Previous != c.Delivery(k, 0).Digest() {
				t.Errorf("%s: delivery %d does not follow the one before", h, k+1)
			}
		}
		wantTwo, wantDiffer := 0, 1
		switch h.(type) {
		case TwoLDs:
			wantTwo, wantDiffer = 1, 0
		case CancelledAndSpent:
			wantDiffer = 0
		}
		if two != wantTwo || differ != wantDiffer {
			t.Errorf("%s: two deliveries for %d numbers, other entries in %d", h, two, differ)
		}
		if c.Certified(ledger.NewDelivery(ledger.Delivery{Source: 0, Destination: 1, Number: 13})) {
			t.Errorf("%s: a number that was not made is certified", h)
		}
	}
}
