package certify

import (
	"fmt"
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/internal/golden"
	"bdtnode/protocols"
)

// traced is one machine, and the objects that its script has made.
type traced struct {
	t *testing.T
	p *golden.Printer
	b *bench
	m *Machine
}

// TestTraces runs the scripts in testdata/traces.
func TestTraces(t *testing.T) {
	golden.Run(t, "testdata/traces/*.txt", func(t *testing.T, p *golden.Printer) golden.Commands {
		s := &traced{t: t, p: p, b: newBench(t, 4)}
		for h := range uint64(10) {
			p.Name(header(h), fmt.Sprintf("h%d", h))
			p.Name(header(100+h), fmt.Sprintf("x%d", h))
		}
		return golden.Commands{
			// replica [executed=5 certified=3]: the machine of replica 0
			"replica": func(a *golden.Args) {
				s.m = s.b.machine(uint64(a.IntOr("executed", 0)), uint64(a.IntOr("certified", 0)))
				p.Line("replica 0 of 4, weak quorum %d", s.b.c.WeakQuorum())
			},
			"executed": s.executed, "deliver": s.deliver, "adopt": s.adopt,
			"resend": func(a *golden.Args) { p.Step(s.m.Resend(protocols.Index(a.Number()))) },
			"status": func(*golden.Args) {
				p.Line("certified up to %d, the first height without a certificate is %d", s.m.CertifiedHeight(), s.m.FirstUncertified())
			},
		}
	})
}

// wanted are the height and header that a script names: h3 is the right header of height 3, x3 a wrong one.
func (s *traced) wanted(a *golden.Args) (uint64, digest.Digest) {
	name := a.Word()
	var h uint64
	if _, err := fmt.Sscanf(name[1:], "%d", &h); err != nil {
		a.Fatalf("header %s: %v", name, err)
	}
	return h, s.p.Named(a, name)
}

// panics prints the panic with which a broken guarantee ends the replica.
func (s *traced) panics(f func() Step) {
	defer func() {
		if x := recover(); x != nil {
			s.p.Line("panic %v", x)
		}
	}()
	s.p.Step(f())
}

// executed h1: the replica has executed the block of height 1, and this is the header.
func (s *traced) executed(a *golden.Args) {
	h, d := s.wanted(a)
	s.panics(func() Step { return s.m.Executed(h, d) })
}

// deliver from=2 h1: a checked VOTE.
func (s *traced) deliver(a *golden.Args) {
	from := protocols.Index(a.Int("from"))
	h, d := s.wanted(a)
	s.panics(func() Step { return s.m.HandleVOTE(from, s.b.vote(from, h, d)) })
}

// adopt h2 of=(1,2): a checked certificate with VOTEs of these replicas, out of a History.
func (s *traced) adopt(a *golden.Args) {
	h, d := s.wanted(a)
	tally := protocols.NewTally(d)
	for _, i := range a.Ints("of") {
		tally.Add(protocols.Index(i), s.b.vote(protocols.Index(i), h, d).Signature)
	}
	s.panics(func() Step {
		return s.m.Adopt(&Certified{Height: h, Header: d, Certificate: tally.Certificate()})
	})
}
