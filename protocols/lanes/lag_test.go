package lanes

import (
	"strings"
	"testing"
	"time"

	"bdtnode/protocols"
)

// late makes a set of replicas.
func late(replicas ...protocols.Index) protocols.Set {
	var set protocols.Set
	for _, i := range replicas {
		set.Add(i)
	}
	return set
}

// TestFetchAloneCostsNothing: a replica that requests a batch from a leader does not slow down its lane, unless a slot was
// held up by a replica that requested a batch which the slot newly orders.
func TestFetchAloneCostsNothing(t *testing.T) {
	b := newBench(t, 4)
	m := b.machine(0)
	a := b.chain(2, Tip{}, 3, "x")
	for _, x := range a {
		m.HandleBatch(t0, 2, x)
	}
	origin, first, second := b.cut(nil), b.cut(map[protocols.Index]Tip{2: a[0].Tip()}), b.cut(map[protocols.Index]Tip{2: a[1].Tip()})
	m.HandleFetch(t0, 3, &Fetch{Lane: 2, Tip: a[1].Tip()})
	for _, x := range []struct {
		name        string
		parent, cut Cut
		late        protocols.Set
		wait        time.Duration
	}{
		{"another replica is late", first, second, late(1), time.Second},
		{"the slot orders less", origin, first, late(3), time.Second},
		{"the slot orders more, on top of it", second, b.cut(map[protocols.Index]Tip{2: a[2].Tip()}), late(3), time.Second},
		{"the slot was not held up", first, second, late(3), 0},
	} {
		if m.HeldUp(t0, x.parent, x.cut, x.late, x.wait) {
			t.Errorf("%s: the lane is charged", x.name)
		}
	}
	if cut, _ := m.ProposableCut(t0, origin); cut[2] != a[2].Tip() {
		t.Fatal("the tip of the lane is held back")
	}
	if !m.HeldUp(t0, first, second, late(1, 3), 100*time.Millisecond) {
		t.Error("the lane is not charged for a slot that it held up")
	}
	m.Ordered(t0, second)
	if m.HeldUp(t0, first, second, late(1, 3), 100*time.Millisecond) {
		t.Error("a request for an ordered batch is not forgotten")
	}
}

// TestHoldingBack: the uncertified tip of a lane that held up a slot is proposed later by the held-up time, or at once when
// it is certified, until the hold has decayed.
func TestHoldingBack(t *testing.T) {
	b := newBench(t, 4)
	m := b.machine(0)
	a := b.chain(2, Tip{}, 6, "x")
	origin := b.cut(nil)
	m.HandleBatch(t0, 2, a[0])
	m.HandleFetch(t0, 3, &Fetch{Lane: 2, Tip: a[0].Tip()})
	cut := b.cut(map[protocols.Index]Tip{2: a[0].Tip()})
	m.HeldUp(t0, origin, cut, late(1, 3), chargeDivisor*80*time.Millisecond)
	m.Ordered(t0, cut)
	m.Tick(t0.Add(time.Second)) // sends the acks

	now := t0.Add(halfLife) // then the hold has decayed by half, to 40 ms
	m.HandleBatch(now, 2, a[1])
	m.HandleBatch(now.Add(10*time.Millisecond), 2, a[2])
	view := func(at time.Duration) Tip {
		c, _ := m.ProposableCut(now.Add(at), cut)
		return c[2]
	}
	if got := view(39 * time.Millisecond); got != a[0].Tip() {
		t.Errorf("number %d is proposed before the hold ends", got.Seq)
	}
	if w := m.Wake(); w < now.Add(ackDelay) || w > now.Add(40*time.Millisecond) {
		t.Errorf("Wake is after %v", w.Sub(now))
	}
	m.Tick(now.Add(ackDelay))
	if st := m.Tick(now.Add(40 * time.Millisecond)); !grew(st) || m.tipDue != 0 {
		t.Error("no output when the hold ends")
	}
	if got := view(40 * time.Millisecond); got != a[1].Tip() {
		t.Errorf("number %d is proposed after the hold", got.Seq)
	}
	m.HandleCertificate(now, b.certificate(2, a[2].Tip()))
	if got := view(0); got != a[2].Tip() {
		t.Errorf("number %d is proposed after the certificate", got.Seq)
	}
	later := now.Add(20 * halfLife)
	m.HandleBatch(later, 2, a[3])
	if c, _ := m.ProposableCut(later, cut); c[2] != a[3].Tip() {
		t.Errorf("the lane is still held back at %d", c[2].Seq)
	}
}

// TestHoldExceedsAge: a lane that held up a slot with a batch which the leader had had for a second is held back for two
// seconds, which decay: its owner sent the batch to some replicas only.
func TestHoldExceedsAge(t *testing.T) {
	b := newBench(t, 4)
	m := b.machine(0)
	a := b.chain(2, Tip{}, 3, "x")
	origin := b.cut(nil)
	m.HandleBatch(t0, 2, a[0])
	now := t0.Add(time.Second)
	m.HandleFetch(now, 3, &Fetch{Lane: 2, Tip: a[0].Tip()})
	cut := b.cut(map[protocols.Index]Tip{2: a[0].Tip()})
	const wait = 50 * time.Millisecond
	m.HeldUp(now.Add(wait), origin, cut, late(1, 3), wait)
	m.Ordered(now, cut)
	m.HandleBatch(now.Add(wait), 2, a[1])
	if c, _ := m.ProposableCut(now.Add(1400*time.Millisecond), cut); c[2] == a[1].Tip() {
		t.Error("the next batch is proposed uncertified within 1.4 s")
	}
}

// TestPartOfALane: a leader extends a lane by at most maxUncertified bytes in one cut, one batch at least, and looks at the
// rest soon.
func TestPartOfALane(t *testing.T) {
	b := newBench(t, 4)
	m := b.machine(0)
	chain := b.chain(2, Tip{}, 5, strings.Repeat("x", maxUncertified/2-100))
	chain = append(chain, b.chain(2, chain[4].Tip(), 1, strings.Repeat("y", maxUncertified+1))...)
	for _, x := range chain {
		m.HandleBatch(t0, 2, x)
	}
	cut := b.cut(nil)
	for _, want := range []int{1, 3, 4, 5} {
		next, _ := m.ProposableCut(t0, cut)
		if next[2] != chain[want].Tip() {
			t.Fatalf("number %d is proposed on top of %d, want %d", next[2].Seq, cut[2].Seq, want+1)
		}
		if rest := want < len(chain)-1; rest != (m.Wake() == t0.Add(restAfter)) {
			t.Errorf("after number %d the next look is due in %v", next[2].Seq, m.Wake().Sub(t0))
		}
		cut = next
	}
}

// TestHoldGrows: a lane that holds up slots again and again does so more and more rarely.
func TestHoldGrows(t *testing.T) {
	var g Lag
	now, spent := t0, time.Duration(0)
	const cost, minute = 200 * time.Millisecond, time.Minute
	for now < t0.Add(10*minute) {
		now = now.Add(g.Hold(now) + cost) // proposed after the hold, then the slot is held up
		g.charge(now, cost, 0)
		spent += cost
	}
	if share := float64(spent) / float64(10*minute); share > 0.05 {
		t.Errorf("one lane holds up the others for %.0f %% of the time, want at most 5 %%", 100*share)
	}
	if g.Hold(now) > maxHold {
		t.Errorf("held back for %v, above maxHold", g.Hold(now))
	}
}
