package vouch

import (
	"testing"

	"bdtnode/internal/golden"
	"bdtnode/protocols"
	"bdtnode/protocols/lanes"
)

// traced is one machine, and the batches that its script has named.
type traced struct {
	t   *testing.T
	p   *golden.Printer
	b   *bench
	m   *Machine
	now protocols.Time
}

// TestTraces runs the scripts in testdata/traces.
func TestTraces(t *testing.T) {
	golden.Run(t, "testdata/traces/*.txt", func(t *testing.T, p *golden.Printer) golden.Commands {
		s := &traced{t: t, p: p, now: t0}
		return golden.Commands{
			// replica 0 [of=4]: the machine of a replica
			"replica": func(a *golden.Args) {
				self := protocols.Index(a.Number())
				s.b = newBench(t, a.IntOr("of", 4))
				s.m, s.now = s.b.machine(self), t0
				s.p.Line("replica %d of %d, f+1 = %d", self, s.b.c.N(), s.b.c.WeakQuorum())
			},
			// held a lane=1 seq=1 [count=1000]: a sound batch is stored
			"held": func(a *golden.Args) {
				r := s.ref(a)
				s.do(s.m.Held(s.now, r, a.IntOr("count", large)))
			},
			// needed a lane=1 seq=1: a committed block waits for it
			"needed": func(a *golden.Args) { s.do(s.m.Needed(s.now, s.ref(a), large)) },
			// vouch from=2 a lane=1 seq=1: a checked Vouch
			"vouch": func(a *golden.Args) {
				from := protocols.Index(a.Int("from"))
				s.do(s.m.HandleVouch(s.now, from, vouchFor(s.ref(a))))
			},
			// checked a lane=1 seq=1 [bad=1]: the result of the own check
			"checked": func(a *golden.Args) {
				r := s.ref(a)
				s.do(s.m.Checked([]Result{{r, a.IntOr("bad", 0) == 0}}))
			},
			// certified a lane=1 seq=1: its block is executed on the word of its certified header
			"certified": func(a *golden.Args) { s.do(s.m.Certified(s.ref(a), large)) },
			// executed a lane=1 seq=1: all batches of the lane up to it
			"executed": func(a *golden.Args) { s.do(s.m.Executed(s.now, cutAt(s.b.c.N(), s.ref(a)))) },
			// knows a lane=1 seq=1
			"knows": func(a *golden.Args) { s.p.Line("%v", s.m.Knows(s.ref(a), a.IntOr("count", large))) },
			// connected 2: a new session
			"connected": func(a *golden.Args) { s.do(s.m.Resend(protocols.Index(a.Number()))) },
			// time 20ms: so long after the beginning, with the ticks that become due; the replica is idle
			"time": func(a *golden.Args) {
				end := t0.Add(a.Duration())
				for w := s.m.Wake(); w != 0 && w <= end; w = s.m.Wake() {
					s.now = max(s.now, w)
					s.p.Line("at %s", s.now.Sub(t0))
					s.do(s.m.Tick(s.now, true))
				}
				s.now = end
			},
		}
	})
}

func (s *traced) ref(a *golden.Args) lanes.Ref {
	name := a.Word()
	r := ref(protocols.Index(a.Int("lane")), uint64(a.Int("seq")), name)
	s.p.Name(r.Tip.Digest, name)
	return r
}

func (s *traced) do(st Step) {
	s.p.Step(st)
	s.p.Timer(int64(s.m.Wake()), int64(t0))
}
