package courier

import (
	"testing"
	"time"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/protocols"
)

const t0 protocols.Time = 1_000_000_000

// bench is the machine of replica self of shard 0, in a network of three shards of n.
type bench struct {
	*Machine
	next [3]uint64 // LDs lacking
}

func newBench(t *testing.T, n int, self protocols.Index) *bench {
	t.Helper()
	b := &bench{next: [3]uint64{1, 1, 1}}
	scheme := sig.NewIdeal(1)
	cfg := Config{Shard: 0, Self: self, Next: func(s uint16) uint64 { return b.next[s] }}
	for s := range uint16(3) {
		keys := make([]sig.PublicKey, n)
		for i := range keys {
			keys[i] = scheme.Signer(uint64(int(s)*n + i)).Public()
		}
		c, err := protocols.NewCommittee(digest.Of("network"), s, keys)
		if err != nil {
			t.Fatal(err)
		}
		cfg.Committees = append(cfg.Committees, c)
	}
	b.Machine = New(cfg, t0)
	return b
}

// settled is a bench whose machine has found at its start that there is nothing to fetch.
func settled(t *testing.T, n int, self protocols.Index) (*bench, protocols.Time) {
	t.Helper()
	b := newBench(t, n, self)
	for b.Wake() != 0 {
		at := b.Wake()
		for _, a := range b.Tick(at).Asks {
			b.Fetched(at, a, 0, true)
		}
	}
	return b, t0.Add(time.Minute)
}

func TestFirstSendersHaveAnHonestOne(t *testing.T) {
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

// A replica that was behind while the destination applied LDs goes on with the next.
func TestWhatWasAppliedIsPassedOver(t *testing.T) {
	b, now := settled(t, 4, 2)
	b.Certified(now, 1, 0, 3)
	b.Certified(now, 1, 9, 9)
	if b.Known(1) != 9 {
		t.Fatalf("known up to %d", b.Known(1))
	}
	b.Certified(now, 1, 9, 10)
	if b.Known(1) != 10 || b.Wake() == 0 {
		t.Errorf("known up to %d, looks at %d", b.Known(1), b.Wake())
	}
}

// The last LD is looked after until n-f replicas of the destination said that they have it, one look each.
func TestLooksUntilAQuorumHasIt(t *testing.T) {
	b, now := settled(t, 4, 1)
	b.Certified(now, 1, 0, 2)
	asked := make(map[protocols.Index]int)
	for range 20 {
		if b.Wake() == 0 {
			break
		}
		now = b.Wake()
		for _, a := range b.Tick(now).Asks {
			if a.What != Position || a.Shard != 1 {
				t.Fatalf("asks %+v", a)
			}
			asked[a.To]++
			b.Position(now, a, 1<<60, true) // it may lie about what there is not
		}
	}
	if b.Wake() != 0 || len(asked) != 3 {
		t.Errorf("asked %v, looks again: %v", asked, b.Wake() != 0)
	}
	b.Certified(now, 1, 0, 3)
	if b.Wake() == 0 {
		t.Error("what they said they have is taken for more")
	}
	b.Certified(now, 1, 3, 3)
	if now = b.Wake(); len(b.Tick(now).Asks) != 0 || b.Wake() != 0 {
		t.Error("looks for what was shown applied")
	}
}

func TestGivesWhatIsLacking(t *testing.T) {
	b, now := settled(t, 4, 0)
	b.Certified(now, 2, 0, 200)
	a := b.Tick(b.Wake()).Asks[0]
	given := 0
	for next := uint64(5); ; next++ {
		more := b.Position(now, a, next, true).Asks
		if len(more) == 0 {
			break
		}
		if a = more[0]; a.What != Take || a.Number != next {
			t.Fatalf("gives %+v, lacking is %d", a, next)
		}
		given++
	}
	if given != maxGiven {
		t.Errorf("gives %d in one look", given)
	}
	// One that does not take what it is given is left.
	a = b.Tick(b.Wake()).Asks[0]
	a = b.Position(now, a, 7, true).Asks[0]
	if len(b.Position(now, a, 7, true).Asks) != 0 {
		t.Error("gives the same again at once")
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
		for _, a := range b.Tick(now).Asks {
			asked[a.To] = true
			if a.What == Fetch {
				b.Fetched(now, a, 0, false)
			} else {
				b.Position(now, a, 0, false)
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
	b.next[1] = 2 // it was the next
	if at := b.Wake(); len(b.Tick(at).Asks) != 0 || b.Wake() != 0 {
		t.Fatal("fetches what is there")
	}
	b.Seen(now, 1, 9)
	now = b.Wake()
	asks := b.Tick(now).Asks
	if len(asks) != 1 || asks[0].What != Fetch || asks[0].Number != 2 || asks[0].Shard != 1 {
		t.Fatalf("asks %+v", asks)
	}
	if b.Seen(now, 1, 10); b.Wake() != 0 {
		t.Error("asks twice at a time")
	}
	b.Fetched(now, asks[0], 3, true)
	b.next[1] = 5
	if now = b.Wake(); len(b.Tick(now).Asks) != 1 {
		t.Fatal("a gap that is left is not fetched")
	}
	b.next[1] = 11
	b.Fetched(now, asks[0], 6, true)
	if at := b.Wake(); len(b.Tick(at).Asks) != 0 || b.Wake() != 0 {
		t.Error("no rest")
	}
}

// What a replica said it had may be gone after a crash: it asks f+1 of each source at its start.
func TestAsksAtTheStart(t *testing.T) {
	b := newBench(t, 7, 3)
	asked := [3]map[protocols.Index]bool{{}, {}, {}}
	for b.Wake() != 0 {
		now := b.Wake()
		for _, a := range b.Tick(now).Asks {
			asked[a.Shard][a.To] = true
			b.Fetched(now, a, 0, true)
		}
	}
	if len(asked[0]) != 0 || len(asked[1]) != 3 || len(asked[2]) != 3 {
		t.Errorf("asked %v", asked)
	}
}
