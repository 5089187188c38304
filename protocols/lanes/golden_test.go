package lanes

import (
	"strings"
	"testing"

	"bdtnode/internal/golden"
	"bdtnode/protocols"
)

// traced is one machine, and the objects that its script has made.
type traced struct {
	t       *testing.T
	p       *golden.Printer
	b       *bench
	cfg     Config
	m       *Machine
	disk    golden.Disk
	now     protocols.Time
	batches map[string]*Batch
	ordered Cut // the last committed cut
}

// TestTraces runs the scripts in testdata/traces.
func TestTraces(t *testing.T) {
	golden.Run(t, "testdata/traces/*.txt", func(t *testing.T, p *golden.Printer) golden.Commands {
		s := &traced{t: t, p: p, batches: make(map[string]*Batch), now: t0}
		p.Values("l/b", func(_, value []byte) (any, error) { return DecodeStored(s.b.c, value) })
		p.Values("l/m", func(_, value []byte) (any, error) {
			var l lane
			err := l.readMarks(value)
			return struct {
				CertifiedOnly, Frozen bool
				FrozenAt              uint64
			}{l.certifiedOnly, l.frozen, l.frozenAt}, err
		})
		return golden.Commands{
			"replica": s.replica, "restart": s.restart, "batch": s.batch, "append": s.append, "deliver": s.deliver, "time": s.time,
			"ordered": s.order, "executed": s.executed, "view": s.view, "check": s.check, "lock": s.lock, "content": s.content,
			"room": func(*golden.Args) { s.p.Line("room %v", s.m.HasRoom()) },
		}
	})
}

func (s *traced) do(st Step) {
	s.disk.Keep(st)
	s.p.Step(st)
	s.timer()
}

func (s *traced) timer() { s.p.Timer(int64(s.m.Wake()), int64(t0)) }

// replica 1 [n=4] [window=BYTES]: the machine of a replica.
func (s *traced) replica(a *golden.Args) {
	self := a.Number()
	s.b = newBench(s.t, a.IntOr("n", 4))
	s.cfg = s.b.config(protocols.Index(self))
	s.cfg.Window = a.IntOr("window", 0)
	s.m, s.disk, s.ordered = New(s.cfg), golden.Disk{}, s.b.cut(nil)
	s.p.Line("replica %d of %d, quorum %d", self, s.b.c.N(), s.b.c.Quorum())
}

// restart: the machine again, from its records and the last committed cut.
func (s *traced) restart(a *golden.Args) {
	m, err := Restore(s.cfg, s.ordered, s.disk.Stored)
	a.Check(err)
	s.m = m
	s.p.Line("restored from %d records", len(s.disk))
	s.timer()
}

// batch a1 lane=3 [on=a0] [bytes=N] [TEXT]: a batch that its owner signed.
func (s *traced) batch(a *golden.Args) {
	name, lane, on := a.Word(), protocols.Index(a.Int("lane")), s.tip(a, a.Str("on", "-"))
	b := NewBatch(s.b.c, s.b.scheme.Signer(uint64(lane)), Header{Lane: lane, Seq: on.Seq + 1, Parent: on.Digest, Count: 1}, payload(a))
	s.keep(name, b)
}

func (s *traced) keep(name string, b *Batch) {
	s.batches[name] = b
	s.p.Name(b.Digest(), name)
}

func (s *traced) the(a *golden.Args, name string) *Batch {
	b := s.batches[name]
	if b == nil {
		a.Fatalf("there is no batch %s", name)
	}
	return b
}

func (s *traced) tip(a *golden.Args, name string) Tip {
	if name == "-" {
		return Tip{}
	}
	return s.the(a, name).Tip()
}

// cut is the last committed cut with the positions of the batches that are named.
func (s *traced) cut(a *golden.Args) Cut {
	c := append(Cut(nil), s.ordered...)
	for _, name := range a.Words() {
		b := s.the(a, name)
		c[b.Lane] = b.Tip()
	}
	return c
}

// payload is so many bytes, or a text.
func payload(a *golden.Args) []byte {
	if n := a.IntOr("bytes", 0); n > 0 {
		return make([]byte, n)
	}
	return []byte(strings.Join(a.Words(), " "))
}

// append x1 [bytes=N] [TEXT]: the next batch of the own lane.
func (s *traced) append(a *golden.Args) {
	name := a.Word()
	st, b := s.m.Append(s.now, payload(a), 1)
	s.keep(name, b)
	s.do(st)
}

// deliver from=3 KIND ...: a checked message.
func (s *traced) deliver(a *golden.Args) {
	from := protocols.Index(a.Int("from"))
	switch kind := a.Word(); kind {
	case "batch": // batch a1 [certificate=a0]
		b := *s.the(a, a.Word())
		if c := a.Str("certificate", ""); c != "" {
			x := s.the(a, c)
			b.Certificate = s.b.certificate(x.Lane, x.Tip())
		}
		s.do(s.m.HandleBatch(s.now, from, &b))
	case "ack": // ack a1
		b := s.the(a, a.Word())
		s.do(s.m.HandleAck(s.now, from, s.b.ack(from, b.Lane, b.Tip())))
	case "certificate": // certificate a1: n-f replicas acknowledged it
		b := s.the(a, a.Word())
		s.do(s.m.HandleCertificate(s.now, s.b.certificate(b.Lane, b.Tip())))
	case "conflict": // conflict a1
		s.do(s.m.HandleConflict(&Conflict{s.the(a, a.Word()).SignedHeader}))
	case "fetch": // fetch a3 [after=1]
		b := s.the(a, a.Word())
		s.do(s.m.HandleFetch(s.now, from, &Fetch{Lane: b.Lane, Tip: b.Tip(), After: uint64(a.IntOr("after", 0))}))
	default:
		a.Fatalf("there is no message %s", kind)
	}
}

// time 15ms: so long after the beginning, with a tick if one is due.
func (s *traced) time(a *golden.Args) {
	s.now = t0.Add(a.Duration())
	if w := s.m.Wake(); w != 0 && w <= s.now {
		s.do(s.m.Tick(s.now))
	}
}

// ordered a2 z1: a block was committed whose cut goes on to these batches.
func (s *traced) order(a *golden.Args) {
	s.ordered = s.cut(a)
	s.do(s.m.Ordered(s.now, s.ordered))
}

// executed: all that was committed is executed.
func (s *traced) executed(*golden.Args) { s.do(s.m.Executed(s.ordered)) }

// view: the cut that this replica can propose on top of the last one.
func (s *traced) view(*golden.Args) {
	cut, certificates := s.m.ProposableCut(s.now, s.ordered)
	s.p.Line("cut %s", s.p.Text(cut))
	for _, c := range certificates {
		s.p.Line("with %s", s.p.Text(c))
	}
	s.timer()
}

var verdicts = map[Verdict]string{Votable: "votable", Missing: "missing", Refused: "refused"}

// check a2 z1 [hint=0]: judge a proposed cut on top of the last one.
func (s *traced) check(a *golden.Args) {
	hint := protocols.Index(a.IntOr("hint", 0))
	st, v := s.m.CheckCut(s.now, s.ordered, s.cut(a), hint)
	s.p.Line("verdict %s", verdicts[v])
	s.do(st)
}

// lock a2: acknowledge a cut that is votable.
func (s *traced) lock(a *golden.Args) { s.do(s.m.AckCut(s.now, s.ordered, s.cut(a))) }

// content a2: the batches between the last committed cut and the next one, to be executed.
func (s *traced) content(a *golden.Args) {
	st, refs, complete := s.m.Content(s.now, s.ordered, s.cut(a), protocols.Set{})
	if complete {
		s.p.Line("content %s", s.p.Text(refs))
	} else {
		s.p.Line("content incomplete")
	}
	s.do(st)
}
