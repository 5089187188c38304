package xshard

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"bdtnode/internal/digest"
	"bdtnode/protocols"
)

func id(i int) digest.Digest { return digest.Of(fmt.Sprint(i)) }

// ticks runs the machine's timers up to a time and returns the Pulls; each is answered at once.
func (b *bench) ticks(until protocols.Time) (out []Request) {
	for w := b.Wake(); w != 0 && w <= until; w = b.Wake() {
		for _, r := range b.Tick(w).Requests {
			if r.Kind == Pull {
				out = append(out, r)
				b.Answered(w, r, 0, true)
			}
		}
	}
	return out
}

// TestPullsAFewTimes: a transaction that is in escrow for a second is asked about, each time another replica, and three
// times at most. One whose escrow has ended is not.
func TestPullsAFewTimes(t *testing.T) {
	b, now := settled(t, 4, 1)
	b.Escrowed(now, id(1), []uint16{1, 2})
	b.Escrowed(now, id(2), []uint16{1})
	b.Ended(id(2))
	if got := b.ticks(now.Add(pullAfter - 1)); len(got) > 0 {
		t.Errorf("asked at once: %+v", got)
	}
	var asked [3][]protocols.Index
	for _, r := range b.ticks(now.Add(time.Hour)) {
		if !slices.Equal(r.IDs, []digest.Digest{id(1)}) {
			t.Errorf("asked about %v", r.IDs)
		}
		asked[r.Shard] = append(asked[r.Shard], r.To)
	}
	if want := []protocols.Index{2, 3, 0}; len(asked[0]) > 0 || !slices.Equal(asked[1], want) || !slices.Equal(asked[2], want) {
		t.Errorf("asked %v", asked)
	}
	if b.Wake() != 0 {
		t.Error("a timer is set although nothing is to be asked")
	}
}

// TestPullsAreBounded: one question to a shard at a time, of at most MaxPulled transactions, and maxPulls in all.
func TestPullsAreBounded(t *testing.T) {
	b, now := settled(t, 4, 0)
	for i := range 2 * maxPulls {
		b.Escrowed(now, id(i), []uint16{1})
	}
	now = now.Add(pullAfter)
	first := b.Tick(now).Requests
	if len(first) != 1 || len(first[0].IDs) != MaxPulled {
		t.Fatalf("%d questions", len(first))
	}
	if len(b.Tick(now).Requests) > 0 || b.Wake() != 0 {
		t.Error("a second question before the answer")
	}
	count := MaxPulled
	b.Answered(now, first[0], 0, false)
	for _, r := range b.ticks(now.Add(time.Hour)) {
		count += len(r.IDs)
	}
	if count != pullTries*maxPulls {
		t.Errorf("%d transactions asked about, want %d", count, pullTries*maxPulls)
	}
	if p := &b.pulls[1]; len(p.open) > 0 {
		t.Errorf("%d remain", len(p.open))
	}
}
