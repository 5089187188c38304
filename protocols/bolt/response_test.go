package bolt

import (
	"testing"
	"time"

	"bdtnode/protocols"
)

// slots lets the leader of a shard of seven propose one slot after the other. run lets replica k+1 vote after[k]
// milliseconds after the proposal, 0 for never, and reports whether HeldUp was called.
func slots(t *testing.T) (run func(after ...int) bool, b *bench, d *data) {
	b = newBench(t, 7) // f is 2, a quorum 5
	m, d := b.machine(0)
	now, slot := t0, uint64(0)
	return func(after ...int) bool {
		t.Helper()
		slot++
		now = now.Add(time.Second)
		d.grow, d.heldUp = slot, nil
		m.Progress(now)
		x := m.last
		if x.Slot != slot {
			t.Fatalf("slot %d is not proposed", slot)
		}
		for ms := 1; ms <= 1000; ms++ {
			for k, a := range after {
				if a == ms {
					m.HandleVote(now.Add(time.Duration(ms)*time.Millisecond), protocols.Index(k+1), b.vote(protocols.Index(k+1), x))
				}
			}
		}
		b.finalizes(m, x, 1, 6)
		m.Executed(now, x.Height)
		return len(d.heldUp) > 0
	}, b, d
}

// TestHeldUpBesideSilence: while f replicas never vote, one late vote holds up a slot.
func TestHeldUpBesideSilence(t *testing.T) {
	run, _, d := slots(t)
	for range 30 {
		if run(0, 0, 80, 100, 120, 140) {
			t.Fatal("the usual delays are late")
		}
	}
	if !run(0, 0, 80, 100, 120, 440) {
		t.Fatal("not held up")
	}
	if h := d.heldUp[0]; !h.late.Has(6) || h.wait != 300*time.Millisecond {
		t.Errorf("reported as %+v", h)
	}
}

// TestHeldUp: a slot is held up if more than f other replicas vote later than they usually do. f Byzantine replicas alone
// cannot cause it. Only then is HeldUp called. Delays that a lane caused do not change the usual delays.
func TestHeldUp(t *testing.T) {
	run, b, d := slots(t)
	for range 30 {
		if run(40, 60, 80, 100, 120, 140) {
			t.Fatal("the usual delays are late")
		}
	}
	for name, votes := range map[string][]int{
		"f send no votes":      {0, 0, 80, 100, 120, 140},
		"f are late":           {300, 300, 80, 100, 120, 140},
		"all a little later":   {45, 66, 90, 108, 130, 150},
		"f late, after the QC": {40, 60, 80, 100, 300, 300},
	} {
		if run(votes...) {
			t.Errorf("%s: held up", name)
		}
	}
	d.blames = true
	for range 20 {
		if !run(0, 0, 280, 290, 310, 320) {
			t.Fatal("not held up, or delays that a lane caused became usual")
		}
	}
	h := d.heldUp[0]
	if h.cut[0].Seq != 30+4+20 || h.late.Has(0) || h.late.Len() <= b.c.F() || h.wait < 150*time.Millisecond || h.wait > 250*time.Millisecond {
		t.Errorf("reported as %+v", h)
	}
	d.blames = false
	for range 60 {
		run(240, 260, 280, 290, 310, 320)
	}
	if run(240, 260, 280, 290, 310, 320) {
		t.Error("the delays of a network that became slower do not become usual")
	}
}
