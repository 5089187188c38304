package clock

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// TestOrder: events are carried out in the order of their times, and those of one time in the order in which they were
// made. Events of the past are carried out now. Later events stay.
func TestOrder(t *testing.T) {
	c := New(1)
	var got []int
	note := func(x int) func() { return func() { got = append(got, x) } }
	c.After(2*time.Second, note(4))
	c.After(time.Second, note(1))
	c.After(time.Second, func() {
		note(2)()
		c.At(Begin, note(3))
	})
	c.After(3*time.Second, note(5))
	c.Play(Begin.Add(2*time.Second), func(int) bool { return false })
	if want := []int{1, 2, 3, 4}; !slices.Equal(got, want) || c.Now() != Begin.Add(2*time.Second) {
		t.Errorf("events %v until %v, want %v", got, c.Now(), want)
	}
}

// TestOver: no event follows the end of a run, and the time stays that of the last event.
func TestOver(t *testing.T) {
	c, count := New(1), 0
	for k := range 5 {
		c.After(time.Duration(k)*time.Second, func() { count++ })
	}
	c.Play(Begin.Add(time.Minute), func(int) bool { return count == 3 })
	if count != 3 || c.Now() != Begin.Add(2*time.Second) {
		t.Errorf("%d events until %v, want 3 until 2 s", count, c.Now())
	}
}

// TestRepeat: repetition ends when the clock is no longer active.
func TestRepeat(t *testing.T) {
	c, count := New(1), 0
	never := func(int) bool { return false }
	c.Repeat(time.Second, func() { count++ })
	c.Play(Begin.Add(20*time.Second), never)
	c.Active = false
	before := count
	c.Play(Begin.Add(time.Minute), never)
	if before < 5 || count != before {
		t.Errorf("%d times in 20 s, %d after the end", before, count-before)
	}
}

// TestRandomOrder: any mixture of additions and removals gives the events in the order of (time, sequence).
func TestRandomOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var q queue
	var waiting []event // sorted
	for step := range 20000 {
		if grow := step < 10000; len(waiting) == 0 || rng.IntN(3) > 0 == grow {
			q.add(Begin.Add(time.Duration(rng.IntN(50))), func() {})
			e := event{at: q.events[slices.IndexFunc(q.events, func(e event) bool { return e.seq == q.seq })].at, seq: q.seq}
			at, _ := slices.BinarySearchFunc(waiting, e, func(x, y event) int { return cmp.Or(cmp.Compare(x.at, y.at), cmp.Compare(x.seq, y.seq)) })
			waiting = slices.Insert(waiting, at, e)
			continue
		}
		if got := q.next(); got.at != waiting[0].at || got.seq != waiting[0].seq || len(q.events) != len(waiting)-1 {
			t.Fatalf("step %d: event (%d, %d) and %d more, want (%d, %d)", step, got.at, got.seq, len(q.events), waiting[0].at, waiting[0].seq)
		}
		waiting = waiting[1:]
	}
}

// TestFarCousins: the first event is removed from a heap in which the earliest of each group of siblings is the last one, and
// the next group begins with an earlier one: only children of the same event may take its place.
func TestFarCousins(t *testing.T) {
	at := []int{0, 1, 2, 2, 2, 50, 60, 60, 60, 10, 60, 60, 60, 60, 60, 60, 60, 60, 60, 60, 60}
	for k := range 16 {
		at = append(at, 100-k) // the children of the events 5 to 8
	}
	at = append(at, 20, 100, 100, 100, 200)
	var q queue
	for _, x := range at { // each is behind its parent, so it stays where it is added
		q.add(Begin.Add(time.Duration(x)), nil)
	}
	slices.Sort(at)
	for _, want := range at {
		if got := int(q.next().at - Begin); got != want {
			t.Fatalf("the event of %d comes in place of that of %d", got, want)
		}
	}
}
