package xshard

import (
	"testing"
	"time"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/protocols"
	"bdtnode/protocols/committeetest"
)

const t0 protocols.Time = 1_000_000_000

// bench is the machine of replica self of shard 0, in a network of three shards of n replicas.
type bench struct {
	*Machine
	next [3]uint64 // by source, number of the first LD that the replica lacks
}

func newBench(t *testing.T, n int, self protocols.Index) *bench {
	t.Helper()
	b := &bench{next: [3]uint64{1, 1, 1}}
	scheme := sig.NewIdeal(1)
	cfg := Config{Shard: 0, Self: self, Next: func(s uint16) uint64 { return b.next[s] }}
	for s := range uint16(3) {
		cfg.Committees = append(cfg.Committees, committeetest.Ideal(t, scheme, uint64(s)*uint64(n), n, digest.Of("network"), s))
	}
	b.Machine = New(cfg, t0)
	return b
}

// settled returns a bench whose machine has asked all sources since its start and lacks no LDs.
func settled(t *testing.T, n int, self protocols.Index) (*bench, protocols.Time) {
	t.Helper()
	b := newBench(t, n, self)
	for b.Wake() != 0 {
		at := b.Wake()
		for _, a := range b.Tick(at).Requests {
			b.Fetched(at, a, 0, true)
		}
	}
	return b, t0.Add(time.Minute)
}

func TestFirstPublishersAreAWeakQuorum(t *testing.T) {
	for _, n := range []int{4, 5, 7, 10} {
		published := make(map[uint64]int)
		for self := range n {
			for _, p := range newBench(t, n, protocols.Index(self)).Certified(t0, 1, 0, 30).Publish {
				published[p.Number]++
			}
		}
		for number := uint64(1); number <= 30; number++ {
			if want := (n-1)/3 + 1; published[number] != want {
				t.Errorf("n = %d: %d replicas publish LD %d at once, want %d", n, published[number], number, want)
			}
		}
	}
}

// A replica that did not certify LDs which the destination has acknowledged continues with the next LD.
func TestAcknowledgedLDsAreSkipped(t *testing.T) {
	b, now := settled(t, 4, 2)
	b.Certified(now, 1, 0, 3)
	b.Certified(now, 1, 9, 9)
	if b.Known(1) != 9 {
		t.Fatalf("known up to %d", b.Known(1))
	}
	b.Certified(now, 1, 9, 10)
	if b.Known(1) != 10 || b.Wake() == 0 {
		t.Errorf("known up to %d, next check at %d", b.Known(1), b.Wake())
	}
}

// The checks for the last LD continue until n-f replicas of the destination have reported that they hold it, one
// check for each.
func TestChecksUntilAQuorumHoldsTheLD(t *testing.T) {
	b, now := settled(t, 4, 1)
	b.Certified(now, 1, 0, 2)
	asked := make(map[protocols.Index]int)
	for range 20 {
		if b.Wake() == 0 {
			break
		}
		now = b.Wake()
		for _, a := range b.Tick(now).Requests {
			if a.Kind != Position || a.Shard != 1 {
				t.Fatalf("unexpected question %+v", a)
			}
			asked[a.To]++
			b.Answered(now, a, 1<<60, true) // a false report: there are no LDs with such numbers
		}
	}
	if b.Wake() != 0 || len(asked) != 3 {
		t.Errorf("asked %v, further checks: %v", asked, b.Wake() != 0)
	}
	b.Certified(now, 1, 0, 3)
	if b.Wake() == 0 {
		t.Error("a report counts for an LD that was made after it")
	}
	b.Certified(now, 1, 3, 3)
	if now = b.Wake(); len(b.Tick(now).Requests) != 0 || b.Wake() != 0 {
		t.Error("checks for an LD that was acknowledged")
	}
}

func TestGivesMissingLDs(t *testing.T) {
	b, now := settled(t, 4, 0)
	b.Certified(now, 2, 0, 200)
	a := b.Tick(b.Wake()).Requests[0]
	given := 0
	for next := uint64(5); ; next++ {
		more := b.Answered(now, a, next, true).Requests
		if len(more) == 0 {
			break
		}
		if a = more[0]; a.Kind != Give || a.Number != next {
			t.Fatalf("gives %+v, the replica lacks %d", a, next)
		}
		given++
	}
	if given != maxGiven {
		t.Errorf("gives %d LDs in one check", given)
	}
	// A replica that does not accept the LDs given to it is given no more.
	a = b.Tick(b.Wake()).Requests[0]
	a = b.Answered(now, a, 7, true).Requests[0]
	if len(b.Answered(now, a, 7, true).Requests) != 0 {
		t.Error("gives the same LD again at once")
	}
}

func TestPausesGrow(t *testing.T) {
	b, now := settled(t, 4, 0)
	b.Certified(now, 1, 0, 1)
	b.Seen(now, 2, 5)
	last := now
	asked := make(map[protocols.Index]bool)
	for range 40 {
		now = b.Wake()
		if now.Sub(last) > maxPause+maxPause/2 {
			t.Fatalf("a pause of %v", now.Sub(last))
		}
		last = now
		for _, a := range b.Tick(now).Requests {
			asked[a.To] = true
			if a.Kind == Fetch {
				b.Fetched(now, a, 0, false)
			} else {
				b.Answered(now, a, 0, false)
			}
		}
	}
	if b.out[1].pause != maxPause || b.in[2].pause != maxPause || len(asked) != 4 {
		t.Errorf("pauses of %v and %v, asked %v", b.out[1].pause, b.in[2].pause, asked)
	}
}

func TestGapsAreFetched(t *testing.T) {
	b, now := settled(t, 4, 0)
	b.Seen(now, 1, 1)
	b.next[1] = 2 // the replica has LD 1 now
	if at := b.Wake(); len(b.Tick(at).Requests) != 0 || b.Wake() != 0 {
		t.Fatal("fetches an LD that the replica holds")
	}
	b.Seen(now, 1, 9)
	now = b.Wake()
	asks := b.Tick(now).Requests
	if len(asks) != 1 || asks[0].Kind != Fetch || asks[0].Number != 2 || asks[0].Shard != 1 {
		t.Fatalf("unexpected questions %+v", asks)
	}
	if b.Seen(now, 1, 10); b.Wake() != 0 {
		t.Error("two fetches of one source at a time")
	}
	b.Fetched(now, asks[0], 3, true)
	b.next[1] = 5
	if now = b.Wake(); len(b.Tick(now).Requests) != 1 {
		t.Fatal("a remaining gap is not fetched")
	}
	b.next[1] = 11
	b.Fetched(now, asks[0], 6, true)
	if at := b.Wake(); len(b.Tick(at).Requests) != 0 || b.Wake() != 0 {
		t.Error("fetches although nothing is missing")
	}
}

// LDs that a replica had reported to hold may be lost after a crash: at its start it asks f+1 replicas of each
// source.
func TestAsksAtTheStart(t *testing.T) {
	b := newBench(t, 7, 3)
	asked := [3]map[protocols.Index]bool{{}, {}, {}}
	for b.Wake() != 0 {
		now := b.Wake()
		for _, a := range b.Tick(now).Requests {
			asked[a.Shard][a.To] = true
			b.Fetched(now, a, 0, true)
		}
	}
	if len(asked[0]) != 0 || len(asked[1]) != 3 || len(asked[2]) != 3 {
		t.Errorf("asked %v", asked)
	}
}
