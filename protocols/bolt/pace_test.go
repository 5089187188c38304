package bolt

import (
	"testing"
	"time"

	"bdtnode/protocols"
)

// proposals counts the proposals of a leader from time from to time to, if a reason for one comes every interval and each
// block commits at once. It also returns the longest wait of a reason.
func proposals(gap, interval, from, to time.Duration) (count int, longest time.Duration) {
	p := newPace(gap)
	var waiting protocols.Time // first reason without a proposal
	next := t0
	for now := t0; now.Sub(t0) < to; now = now.Add(100 * time.Microsecond) {
		if now >= next {
			next = now.Add(interval)
			if waiting == 0 {
				waiting = now
			}
		}
		if waiting == 0 || now < p.due(false) {
			continue
		}
		p.spend(now)
		if now.Sub(t0) >= from {
			count++
			longest = max(longest, now.Sub(waiting))
		}
		waiting = 0
	}
	return count, longest
}

// TestPaceUnderLoad: a leader with lasting load makes one block in MaxGap. Fewer reasons than that hardly wait.
func TestPaceUnderLoad(t *testing.T) {
	most := int(time.Second / MaxGap)
	if n, _ := proposals(0, time.Millisecond, 2*time.Second, 3*time.Second); n < most-1 || n > most+1 {
		t.Errorf("%d proposals in a second under load, want %d", n, most)
	}
	if n, _ := proposals(10*time.Millisecond, time.Millisecond, 2*time.Second, 3*time.Second); n < 99 || n > 101 {
		t.Errorf("%d proposals in a second under load with a gap of 10 ms, want 100", n)
	}
	if n, longest := proposals(0, 50*time.Millisecond, 0, 3*time.Second); n != 60 || longest != 0 {
		t.Errorf("%d proposals for 60 reasons, one of which waits for %v", n, longest)
	}
}

// TestPaceOfABurst: the first reasons after a pause wait for a part of MaxGap only.
func TestPaceOfABurst(t *testing.T) {
	n, _ := proposals(0, MinGap, 0, 10*MinGap)
	if n < 9 {
		t.Errorf("%d proposals for the first 10 reasons", n)
	}
}

// TestGapOfABusyMachine: the gap grows with the time that commits take beyond their least, up to BusyGap, and a long delay
// of the network does not make it grow. The least time follows a network that has become slower.
func TestGapOfABusyMachine(t *testing.T) {
	const ms = time.Millisecond
	p, now, slot := newPace(0), t0, uint64(0)
	commits := func(count int, took time.Duration) {
		for range count {
			slot++
			p.proposed(now, slot)
			now = now.Add(took)
			p.committed(now, slot)
		}
	}
	for _, step := range []struct {
		name        string
		count       int
		took        time.Duration
		least, most time.Duration
	}{
		{"an idle machine", 50, 5 * ms, MinGap, MinGap},
		{"some load", 50, 20 * ms, MinGap, 6 * ms},
		{"a busy machine", 50, 80 * ms, 30 * ms, 40 * ms},
		{"too much load", 50, 400 * ms, BusyGap, BusyGap},
		{"idle again", 50, 5 * ms, MinGap, MinGap},
		{"a slower network, at first", 50, 150 * ms, MaxGap, BusyGap},
		{"a slower network, later", 1000, 150 * ms, MaxGap, MaxGap},
	} {
		commits(step.count, step.took)
		if g := p.gap(); g < step.least || g > step.most {
			t.Errorf("%s: a gap of %v, want %v to %v", step.name, g, step.least, step.most)
		}
	}
	p, now, slot = newPace(0), t0, 0
	commits(50, 150*ms)
	if g := p.gap(); g != MaxGap {
		t.Errorf("between far regions: a gap of %v, want %v", g, MaxGap)
	}
}
