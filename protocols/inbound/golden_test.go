package inbound

import (
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/internal/golden"
	"bdtnode/protocols"
	"bdtnode/protocols/lanes"
)

// traced is one machine, and the objects that its script has made.
type traced struct {
	t       *testing.T
	p       *golden.Printer
	b       *bench
	m       *Machine
	self    protocols.Index
	disk    golden.Disk
	now     protocols.Time
	lds     map[string]*LD
	ordered lanes.Cut
}

// TestTraces runs the scripts in testdata/traces.
func TestTraces(t *testing.T) {
	golden.Run(t, "testdata/traces/*.txt", func(t *testing.T, p *golden.Printer) golden.Commands {
		s := &traced{t: t, p: p, b: newBench(t, 4), now: t0, lds: make(map[string]*LD)}
		p.Values("i/l", func(_, value []byte) (any, error) { return DecodeStored(value) })
		return golden.Commands{
			"replica": s.replica, "restart": s.restart, "ld": s.ld, "deliver": s.deliver, "time": s.time,
			"view":  func(*golden.Args) { p.Line("inbound cut %s", p.Text(s.m.ProposableCut(s.now, s.ordered))) },
			"next":  func(*golden.Args) { p.Line("the first LD that is lacking is number %d", s.m.Next(1)) },
			"check": s.check, "ordered": s.order, "content": s.content,
			"executed": func(*golden.Args) { s.do(s.m.Executed(s.ordered)) },
			"resend":   func(a *golden.Args) { s.do(s.m.Resend(protocols.Index(a.Number()))) },
		}
	})
}

func (s *traced) do(st Step) {
	s.disk.Keep(st)
	s.p.Step(st)
	s.p.Timer(int64(s.m.Wake()), int64(t0))
}

// replica 0: the machine of a replica of shard 0, in a network of three shards.
func (s *traced) replica(a *golden.Args) {
	s.self = protocols.Index(a.Number())
	s.m, s.disk, s.ordered = s.b.machine(s.self), golden.Disk{}, make(lanes.Cut, 3)
	s.p.Line("replica %d of 4 in shard 0, weak quorum %d", s.self, s.b.c.WeakQuorum())
}

// restart: the machine again, from its records and the last committed cut.
func (s *traced) restart(a *golden.Args) {
	m, err := Restore(Config{Committee: s.b.c, Self: s.self, Signer: s.b.scheme.Signer(uint64(s.self)), Shards: 3}, s.ordered, s.disk.Stored)
	a.Check(err)
	s.m = m
	s.p.Line("restored from %d records", len(s.disk))
}

// ld d1 number=1 [on=d0]: a checked LD of shard 1.
func (s *traced) ld(a *golden.Args) {
	name := a.Word()
	var previous digest.Digest
	if on := a.Str("on", "-"); on != "-" {
		previous = s.the(a, on).Digest
	}
	d := ld(uint64(a.Int("number")), previous, name)
	s.lds[name] = d
	s.p.Name(d.Digest, name)
}

func (s *traced) the(a *golden.Args, name string) *LD {
	d := s.lds[name]
	if d == nil {
		a.Fatalf("there is no LD %s", name)
	}
	return d
}

// deliver from=2 KIND d1: a checked message.
func (s *traced) deliver(a *golden.Args) {
	kind := a.Word()
	d := s.the(a, a.Word())
	switch kind {
	case "ld":
		s.do(s.m.HandleLD(s.now, d))
	case "sign":
		for _, i := range a.Ints("from") {
			s.do(s.m.HandleSIGN(protocols.Index(i), s.b.sign(protocols.Index(i), d.Tip())))
		}
	case "certificate": // of=(1,2)
		var signers []protocols.Index
		for _, i := range a.Ints("of") {
			signers = append(signers, protocols.Index(i))
		}
		s.do(s.m.HandleCertificate(s.now, s.b.certificate(d.Tip(), signers...)))
	case "fetch": // after=0
		s.do(s.m.HandleFetchLD(protocols.Index(a.Int("from")), &FetchLD{Source: 1, Tip: d.Tip(), After: uint64(a.IntOr("after", 0))}))
	default:
		a.Fatalf("there is no message %s", kind)
	}
}

// time 60ms: so long after the beginning, with a tick if one is due.
func (s *traced) time(a *golden.Args) {
	s.now = t0.Add(a.Duration())
	if w := s.m.Wake(); w != 0 && w <= s.now {
		s.do(s.m.Tick(s.now))
	}
}

// cut is an inbound cut that goes on to an LD of shard 1.
func (s *traced) cut(a *golden.Args) lanes.Cut {
	return lanes.Cut{{}, s.the(a, a.Word()).Tip(), {}}
}

// check d2 [hint=1]: judge a proposed inbound cut on top of the last one.
func (s *traced) check(a *golden.Args) {
	hint := protocols.Index(a.IntOr("hint", 1))
	v := s.m.CheckCut(s.now, s.ordered, s.cut(a), hint)
	s.p.Line("verdict %s", map[lanes.Verdict]string{lanes.Votable: "votable", lanes.Missing: "missing", lanes.Refused: "refused"}[v])
	s.p.Timer(int64(s.m.Wake()), int64(t0))
}

// ordered d2: a block was committed whose inbound cut goes on to this LD.
func (s *traced) order(a *golden.Args) {
	s.ordered = s.cut(a)
	s.do(s.m.Ordered(s.now, s.ordered))
}

// content d2: the LDs between the last committed cut and the next one, to be applied.
func (s *traced) content(a *golden.Args) {
	refs, complete := s.m.Content(s.now, s.ordered, s.cut(a), protocols.Set{})
	if complete {
		s.p.Line("content %s", s.p.Text(refs))
	} else {
		s.p.Line("content incomplete")
	}
	s.p.Timer(int64(s.m.Wake()), int64(t0))
}
