package protocols

import (
	"math"
	"reflect"
	"testing"
	"time"

	"bdtnode/internal/digest"
)

// TestAbsorb: a parent takes over all parts of a child's step in their order, after its own, except the outputs, which it gets
// to handle.
func TestAbsorb(t *testing.T) {
	var parent Step[string]
	parent.Record([]byte("a"), []byte("1"))
	parent.Send(2, &letter{1})
	parent.Blame(0, "first")
	var child Step[int]
	child.Record([]byte("b"), nil)
	child.Record([]byte("a"), []byte("2")) // the later record of a key counts, so the order matters
	child.Broadcast(&letter{2})
	child.Send(1, &letter{3})
	child.Read(3, letterRange(7))
	child.Blame(3, "slot %d", 5)
	child.Emit(8)
	child.Emit(9)
	out := Absorb(&parent, child)
	if !reflect.DeepEqual(out, []int{8, 9}) {
		t.Errorf("outputs %v of the child", out)
	}
	want := Step[string]{
		Persist: []Record{{[]byte("a"), []byte("1")}, {[]byte("b"), nil}, {[]byte("a"), []byte("2")}},
		Sends:   []Send{{2, &letter{1}}, {Everyone, &letter{2}}, {1, &letter{3}}},
		Reads:   []Read{{3, letterRange(7)}},
		Faults:  []Fault{{0, "first"}, {3, "slot 5"}},
	}
	if !reflect.DeepEqual(parent, want) {
		t.Errorf("the parent's step is %+v, want %+v", parent, want)
	}
	if got := parent.Faults[1].String(); got != "replica 3: slot 5" {
		t.Errorf("the fault is %q", got)
	}
}

type letterRange int

func (letterRange) Range() {}

// TestAbsorbNothing: the zero step asks for nothing.
func TestAbsorbNothing(t *testing.T) {
	var parent Step[string]
	if out := Absorb(&parent, Step[int]{}); len(out) != 0 || !reflect.DeepEqual(parent, Step[string]{}) {
		t.Errorf("absorbing the zero step gives %v and %+v", out, parent)
	}
}

// TestEveryoneIsNoReplica: no index of a replica, converted to a receiver, is Everyone.
func TestEveryoneIsNoReplica(t *testing.T) {
	for i := range Index(MaxReplicas) {
		if To(i) == Everyone {
			t.Errorf("replica %d is everyone", i)
		}
	}
	if To(Index(math.MaxUint16)) == Everyone {
		t.Error("the highest index is everyone")
	}
}

// TestTime: the unit is the nanosecond; block times are in milliseconds, rounded down.
func TestTime(t *testing.T) {
	const at Time = 1_700_000_000_123_456_789
	if got := at.Add(2 * time.Second).Sub(at); got != 2*time.Second {
		t.Errorf("two seconds later is %v later", got)
	}
	if got := at.Add(-time.Millisecond).Sub(at); got != -time.Millisecond {
		t.Errorf("a millisecond earlier is %v later", got)
	}
	if got := at.Millis(); got != 1_700_000_000_123 {
		t.Errorf("%d ms, want %d", got, uint64(1_700_000_000_123))
	}
	if got := Time(0).Millis(); got != 0 {
		t.Errorf("the epoch is at %d ms", got)
	}
	wall := time.Unix(0, int64(at))
	if got, want := at.Millis(), uint64(wall.UnixMilli()); got != want {
		t.Errorf("%d ms, want %d as in Unix time", got, want)
	}
}

// TestEarliestOfMany: the earliest deadline is one of the given ones, none is before it, and a deadline of 0 never counts.
func TestEarliestOfMany(t *testing.T) {
	for mask := range 1 << 6 {
		var in []Time
		least := Time(0)
		for k := range 6 {
			d := Time(0)
			if mask>>k&1 == 1 {
				d = Time(1 + (k*5+3)%7)
				if least == 0 || d < least {
					least = d
				}
			}
			in = append(in, d)
		}
		if got := Earliest(in...); got != least {
			t.Errorf("the earliest of %v is %d, want %d", in, got, least)
		}
	}
}

// TestWallClock: the wall clock is the monotonic one plus the offset, never below 0, and a nil one has no offset.
func TestWallClock(t *testing.T) {
	w := &WallClock{}
	for _, c := range []struct {
		offset time.Duration
		now    Time
		want   Time
	}{
		{0, 5, 5},
		{time.Hour, 5, Time(time.Hour) + 5},
		{-time.Hour, Time(2 * time.Hour), Time(time.Hour)},
		{-time.Hour, 5, 0}, // set to before 1970
		{-5, 5, 0},
	} {
		if w.Set(c.offset); w.At(c.now) != c.want {
			t.Errorf("%d with an offset of %v is %d, want %d", c.now, c.offset, w.At(c.now), c.want)
		}
	}
	if got := (*WallClock)(nil).At(7); got != 7 {
		t.Errorf("without a wall clock 7 is %d", got)
	}
	w.Set(time.Minute)
	if later := w.At(100).Add(time.Second); w.At(Time(100).Add(time.Second)) != later {
		t.Error("the wall clock runs at another rate than the monotonic clock")
	}
}

// TestAges: ages and distances are in milliseconds and never negative. A missing time has age 0.
func TestAges(t *testing.T) {
	const now = Time(10 * time.Second)
	for _, c := range []struct {
		at         Time
		age, until int64
	}{
		{0, 0, 0},
		{now, 0, 0},
		{now.Add(-1500 * time.Millisecond), 1500, 0},
		{now.Add(1500 * time.Millisecond), 0, 1500},
		{now.Add(-time.Microsecond), 0, 0},
	} {
		if age, until := AgeMS(now, c.at), UntilMS(now, c.at); age != c.age || until != c.until {
			t.Errorf("%d at %d: age %d, until %d, want %d and %d", c.at, now, age, until, c.age, c.until)
		}
	}
}

// TestOthers: the others of a set are exactly the replicas that are not in it.
func TestOthers(t *testing.T) {
	for n := MinReplicas; n <= MaxReplicas; n += 7 {
		var s Set
		for i := range Index(n) {
			if i%3 == 1 {
				s.Add(i)
			}
		}
		others := s.Others(n)
		if len(others)+s.Len() != n {
			t.Errorf("n=%d: %d members and %d others", n, s.Len(), len(others))
		}
		for _, i := range others {
			if s.Has(i) {
				t.Errorf("n=%d: member %d is among the others", n, i)
			}
		}
	}
}

// TestTallyIsIndependentOfTheOrder: the certificate of a set of signatures is the same for every order of arrival.
func TestTallyIsIndependentOfTheOrder(t *testing.T) {
	c, scheme := committee(t, 7)
	m := c.Statement("bdt/x/1")
	var first []byte
	for turn := range Index(5) {
		tally := NewTally(digest.Of("x"))
		for k := range Index(5) {
			i := (k*2 + turn) % 5
			tally.Add(i, scheme.Signer(uint64(i)).Sign(m))
		}
		cert := tally.Certificate()
		if cert.IsZero() || tally.Len() != 5 || tally.Signers() != cert.Signers {
			t.Fatalf("a certificate of %d signers", cert.Signers.Len())
		}
		if raw := cert.Append(nil); first == nil {
			first = raw
		} else if string(raw) != string(first) {
			t.Errorf("order %d: another certificate", turn)
		}
	}
}
