package engine

import (
	"testing"
	"time"

	"bdtnode/node/replica"
)

// TestCommitsTellHowLongWasWaited: a wait begins when there is data to commit, and never before the previous commit.
func TestCommitsTellHowLongWasWaited(t *testing.T) {
	var c commits
	start := time.Unix(1000, 0)
	for _, x := range []struct {
		ms      int
		height  uint64
		epoch   uint64
		pending bool
	}{
		{0, 7, 1, false},      // where it starts
		{100, 7, 1, true},     // something comes
		{130, 8, 1, true},     // is committed, and more is pending at once
		{140, 8, 1, true},     //
		{150, 9, 1, false},    // so is that
		{5_000, 9, 1, false},  // idle
		{5_500, 9, 1, true},   // pending
		{5_600, 9, 1, false},  // and gone again, without a block
		{6_000, 9, 1, true},   // pending
		{6_900, 11, 2, false}, // the epoch ends
		{9_000, 12, 2, false}, // committed as soon as it was seen
	} {
		c.note(start.Add(time.Duration(x.ms)*time.Millisecond), replica.Status{Committed: x.height, Epoch: x.epoch, Leader: 3}, work(x.pending))
	}
	want := []struct{ height, epoch, ms, waited uint64 }{{7, 1, 0, 0}, {8, 1, 130, 30}, {9, 1, 150, 20}, {11, 2, 6_900, 900}, {12, 2, 9_000, 0}}
	got := c.after(0)
	if len(got) != len(want) {
		t.Fatalf("%d commits: %+v", len(got), got)
	}
	for i, w := range want {
		g := got[i]
		if g.Height != w.height || g.Epoch != w.epoch || g.Leader != 3 || g.At != start.Add(time.Duration(w.ms)*time.Millisecond) || g.Waited != time.Duration(w.waited)*time.Millisecond {
			t.Errorf("commit %d: %+v, want %+v", i, g, w)
		}
	}
	if since, _ := c.waiting(); !since.IsZero() {
		t.Errorf("nothing is pending, and it waits since %v", since)
	}
	c.note(start.Add(time.Minute), replica.Status{Committed: 12}, Batches)
	c.note(start.Add(time.Hour), replica.Status{Committed: 12}, Batches)
	if got, what := c.waiting(); got != start.Add(time.Minute) || what != Batches {
		t.Errorf("waits since %v: %s", got, what)
	}
	for after, n := range map[uint64]int{6: 5, 7: 4, 9: 2, 10: 2, 11: 1, 12: 0, 100: 0} {
		if got := c.after(after); len(got) != n || n > 0 && got[n-1].Height != 12 {
			t.Errorf("above %d: %+v", after, got)
		}
	}
}

func work(pending bool) Work {
	if pending {
		return Batches
	}
	return NoWork
}

// TestCommitsAreBounded: the newest are kept.
func TestCommitsAreBounded(t *testing.T) {
	var c commits
	const n = 3*recentCommits + 17
	for h := range uint64(n) {
		c.note(time.Unix(int64(h), 0), replica.Status{Committed: h}, Batches)
	}
	got := c.after(0)
	if len(got) != recentCommits {
		t.Fatalf("%d kept", len(got))
	}
	for i, x := range got {
		if x.Height != uint64(n-recentCommits+i) || x.Waited != time.Second {
			t.Fatalf("commit %d: %+v", i, x)
		}
	}
	if got := c.after(n - 3); len(got) != 2 || got[0].Height != n-2 {
		t.Errorf("%+v", got)
	}
}
