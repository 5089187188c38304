package lanes

import (
	"testing"
	"time"

	"bdtnode/protocols"
)

// late is a set of replicas.
func late(who ...protocols.Index) protocols.Set {
	var set protocols.Set
	for _, i := range who {
		set.Add(i)
	}
	return set
}

// TestFetchAloneCostsNothing: whoever asks a leader for a batch changes nothing about its lane, unless a slot was held up
// by a replica that asked for what the slot newly orders.
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
		{"another is late", first, second, late(1), time.Second},
		{"the slot orders less", origin, first, late(3), time.Second},
		{"the slot orders more, on top of it", second, b.cut(map[protocols.Index]Tip{2: a[2].Tip()}), late(3), time.Second},
		{"it took no longer", first, second, late(3), 0},
	} {
		if m.HeldUp(t0, x.parent, x.cut, x.late, x.wait) {
			t.Errorf("%s: the lane is to blame", x.name)
		}
	}
	if cut, _ := m.View(t0, origin); cut[2] != a[2].Tip() {
		t.Fatal("the lane is held back")
	}
	if !m.HeldUp(t0, first, second, late(1, 3), 100*time.Millisecond) {
		t.Error("a slot that it held up is not put down to it")
	}
	m.Ordered(t0, second)
	if m.HeldUp(t0, first, second, late(1, 3), 100*time.Millisecond) {
		t.Error("nor is what was asked for forgotten when it is ordered")
	}
}

// TestHoldingBack: a lane that held up a slot is proposed uncertified so much later, or at once when it is certified, until
// that is forgotten.
func TestHoldingBack(t *testing.T) {
	b := newBench(t, 4)
	m := b.machine(0)
	a := b.chain(2, Tip{}, 6, "x")
	origin := b.cut(nil)
	m.HandleBatch(t0, 2, a[0])
	m.HandleFetch(t0, 3, &Fetch{Lane: 2, Tip: a[0].Tip()})
	cut := b.cut(map[protocols.Index]Tip{2: a[0].Tip()})
	m.HeldUp(t0, origin, cut, late(1, 3), chance*80*time.Millisecond)
	m.Ordered(t0, cut)
	m.Tick(t0.Add(time.Second)) // acks go

	now := t0.Add(halfLife) // by then it is half of it
	m.HandleBatch(now, 2, a[1])
	m.HandleBatch(now.Add(10*time.Millisecond), 2, a[2])
	view := func(at time.Duration) Tip {
		c, _ := m.View(now.Add(at), cut)
		return c[2]
	}
	if got := view(39 * time.Millisecond); got != a[0].Tip() {
		t.Errorf("number %d is proposed at once", got.Seq)
	}
	if w := m.Wake(); w < now.Add(ackDelay) || w > now.Add(40*time.Millisecond) {
		t.Errorf("wakes after %v", w.Sub(now))
	}
	m.Tick(now.Add(ackDelay))
	if st := m.Tick(now.Add(40 * time.Millisecond)); !grew(st) || m.ripeAt != 0 {
		t.Error("the leader is not told when it may be")
	}
	if got := view(40 * time.Millisecond); got != a[1].Tip() {
		t.Errorf("then number %d is", got.Seq)
	}
	m.HandleCertificate(now, b.certificate(2, a[2].Tip()))
	if got := view(0); got != a[2].Tip() {
		t.Errorf("certified, and number %d is proposed", got.Seq)
	}
	later := now.Add(20 * halfLife)
	m.HandleBatch(later, 2, a[3])
	if c, _ := m.View(later, cut); c[2] != a[3].Tip() {
		t.Errorf("held back for ever at %d", c[2].Seq)
	}
}

// TestHoldGrows: a lane that holds up a slot again and again does so ever more rarely.
func TestHoldGrows(t *testing.T) {
	var g lag
	now, spent := t0, time.Duration(0)
	const cost, minute = 200 * time.Millisecond, time.Minute
	for now < t0.Add(10*minute) {
		now = now.Add(g.now(now) + cost) // proposed when it has been held back, and held up then
		g.charge(now, cost)
		spent += cost
	}
	if share := float64(spent) / float64(10*minute); share > 0.05 {
		t.Errorf("one lane holds up all others for %.0f %% of the time", 100*share)
	}
	if g.now(now) > maxHold {
		t.Errorf("held back for %v", g.now(now))
	}
}
