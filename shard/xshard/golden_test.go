package xshard

import (
	"testing"

	"bdtnode/internal/golden"
	"bdtnode/protocols"
)

// traced is the machine of a replica of shard 0, and the question that it asked last.
type traced struct {
	t     *testing.T
	p     *golden.Printer
	b     *bench
	now   protocols.Time
	asked map[Kind]Request
}

// TestTraces runs the scripts in testdata/traces.
func TestTraces(t *testing.T) {
	golden.Run(t, "testdata/traces/*.txt", func(t *testing.T, p *golden.Printer) golden.Commands {
		s := &traced{t: t, p: p, now: t0, asked: make(map[Kind]Request)}
		return golden.Commands{
			"replica": s.replica, "certified": s.certified, "time": s.time, "lacks": s.lacks, "seen": s.seen, "gives": s.gives, "silent": s.silent,
		}
	})
}

var questions = map[Kind]string{Position: "which LD is the first that you lack?", Give: "take LD %d", Fetch: "give me the LDs from %d on"}

func (s *traced) do(st Step) {
	for _, x := range st.Publish {
		s.p.Line("publish LD %d for shard %d", x.Number, x.Destination)
	}
	for _, x := range st.Requests {
		s.asked[x.Kind] = x
		if x.Kind == Give {
			delete(s.asked, Position)
		}
		if x.Kind == Position {
			s.p.Line("ask %d/%d: "+questions[x.Kind], x.Shard, x.To)
			continue
		}
		s.p.Line("ask %d/%d: "+questions[x.Kind], x.Shard, x.To, x.Number)
	}
	s.timer()
}

func (s *traced) timer() { s.p.Timer(int64(s.b.Wake()), int64(t0)) }

// replica 1 [settled]: that replica of shard 0, in a network of three shards of four; settled, if it has found at its start
// that there is nothing to fetch.
func (s *traced) replica(a *golden.Args) {
	settledFlag := a.Flag("settled")
	self := protocols.Index(a.Number())
	s.now = t0
	if settledFlag {
		s.b, _ = settled(s.t, 4, self)
	} else {
		s.b = newBench(s.t, 4, self)
	}
	s.p.Line("replica %d of shard 0, f = 1", self)
	s.timer()
}

// certified for=1 up=2 [acked=0]: LDs for a shard are certified up to a number, and it has shown that it applied those up to
// another one.
func (s *traced) certified(a *golden.Args) {
	s.do(s.b.Certified(s.now, uint16(a.Int("for")), uint64(a.IntOr("acked", 0)), uint64(a.Int("up"))))
}

// time 1s: so long after the beginning, with the ticks that become due.
func (s *traced) time(a *golden.Args) {
	end := t0.Add(a.Duration())
	for w := s.b.Wake(); w != 0 && w <= end; w = s.b.Wake() {
		s.now = max(s.now, w)
		s.p.Line("at %s", s.now.Sub(t0))
		s.do(s.b.Tick(s.now))
	}
	s.now = end
}

// last is the question that is answered.
func (s *traced) last(a *golden.Args, of ...Kind) Request {
	for _, w := range of {
		if x, ok := s.asked[w]; ok {
			delete(s.asked, w)
			return x
		}
	}
	a.Fatalf("nothing was asked")
	return Request{}
}

// lacks 2: the answer to the last check: the first LD that the replica lacks.
func (s *traced) lacks(a *golden.Args) {
	s.do(s.b.Answered(s.now, s.last(a, Give, Position), uint64(a.Number()), true))
}

// silent: the last check or fetch, has no answer.
func (s *traced) silent(a *golden.Args) {
	if a.Flag("fetch") {
		s.b.Fetched(s.now, s.last(a, Fetch), 0, false)
		s.timer()
		return
	}
	s.do(s.b.Answered(s.now, s.last(a, Give, Position), 0, false))
}

// seen from=1 number=3: a verified LD of another shard came by gossip. With the flag taken, the replica takes it, so
// the next number is lacking.
func (s *traced) seen(a *golden.Args) {
	source := uint16(a.Int("from"))
	if a.Flag("taken") {
		s.b.next[source]++
	}
	s.b.Seen(s.now, source, uint64(a.Int("number")))
	s.timer()
}

// gives 3: the answer to the last fetch: so many LDs, all of which are taken.
func (s *traced) gives(a *golden.Args) {
	x, n := s.last(a, Fetch), a.Number()
	s.b.next[x.Shard] += uint64(n)
	s.b.Fetched(s.now, x, n, true)
	s.timer()
}
