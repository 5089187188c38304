package p2p

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"testing"

	"bdtnode/internal/wire"
)

func TestAllowance(t *testing.T) {
	a, b, c := new(member), new(member), new(member)
	x := newAllowance(10, 2, 12)
	for i, s := range []struct {
		m    *member
		n    int64 // returned if negative
		want bool
	}{
		{a, 11, false}, // more than each
		{a, 10, true},  // of which 8 from the shared 12
		{a, 1, false},
		{b, 7, false}, // of which 5 from the shared 4
		{b, 6, true},
		{c, 3, false}, // the shared part is used up
		{c, 2, true},  // its reserved part
		{a, -1, true},
		{c, 1, true},
		{b, 1, false},
	} {
		if s.n < 0 {
			x.give(s.m, -s.n)
		} else if x.take(s.m, s.n) != s.want {
			t.Errorf("step %d: taken is not %v", i, s.want)
		}
	}
}

// For any sequence of take and give, no member has more than its bound, all together keep theirs, and a member with
// nothing gets its reserved part.
func TestAllowanceHoldsItsBounds(t *testing.T) {
	const each, own, all = 100, 10, 250
	rng := rand.New(rand.NewPCG(1, 2))
	x := newAllowance(each, own, all)
	members := make([]*member, 12)
	for i := range members {
		members[i] = new(member)
	}
	for range 20_000 {
		m := members[rng.IntN(len(members))]
		if have := x.of(m); rng.IntN(3) == 0 && have > 0 {
			x.give(m, 1+rng.Int64N(have))
		} else if x.take(m, 1+rng.Int64N(each)); have == 0 && x.of(m) == 0 && !x.take(m, own) {
			t.Fatal("a member with nothing does not get its reserved part")
		}
		total := int64(0)
		for _, m := range members {
			if x.of(m) > each {
				t.Fatalf("one member has %d", x.of(m))
			}
			total += max(0, x.of(m)-own)
		}
		if total > all || total != all-x.left {
			t.Fatalf("%d of the shared part taken, %d of %d left", total, x.left, all)
		}
	}
	for _, m := range members {
		x.give(m, x.of(m))
	}
	if x.left != all || len(x.taken) != 0 {
		t.Errorf("%d left of %d, %d members have taken some", x.left, all, len(x.taken))
	}
}

// An announced length reserves little memory before bytes arrive.
func TestAnnouncedLengthReservesLittle(t *testing.T) {
	head := wire.AppendU32(nil, MaxBulkFrame)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 64 {
		if _, err := readFrame(bufio.NewReader(bytes.NewReader(head)), MaxBulkFrame); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 64*(firstPiece+16<<10) {
		t.Errorf("64 announced frames of %d bytes took %d bytes", MaxBulkFrame, got)
	}
	// Memory for arriving bytes is reserved in parts, and the frame is read completely.
	body := make([]byte, 20*firstPiece+1)
	body[len(body)-1] = 7
	asked, most := int64(0), int64(0)
	got, err := readBody(bufio.NewReader(bytes.NewReader(body)), len(body), func(n int64) bool {
		asked, most = asked+n, max(most, n)
		return true
	})
	if err != nil || !bytes.Equal(got, body) || asked != int64(len(body)) || most > 12*firstPiece+1 {
		t.Errorf("%d bytes, reserved %d, at most %d at once: %v", len(got), asked, most, err)
	}
	if _, err := readBody(bufio.NewReader(bytes.NewReader(body)), len(body), func(n int64) bool { return n <= firstPiece }); !errors.Is(err, errNoRoom) {
		t.Errorf("without space: %v", err)
	}
}
