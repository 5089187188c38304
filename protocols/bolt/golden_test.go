package bolt

import (
	"fmt"
	"testing"

	"bdtnode/internal/golden"
	"bdtnode/protocols"
	"bdtnode/protocols/lanes"
)

// traced is one machine, and the objects that its script has made.
type traced struct {
	t      *testing.T
	p      *golden.Printer
	b      *bench
	cfg    Config
	data   *data
	m      *Machine
	disk   golden.Disk
	now    protocols.Time
	blocks map[string]*Block
	base   *Block // last committed
}

// TestTraces runs the scripts in testdata/traces.
func TestTraces(t *testing.T) {
	golden.Run(t, "testdata/traces/*.txt", func(t *testing.T, p *golden.Printer) golden.Commands {
		s := &traced{t: t, p: p, blocks: make(map[string]*Block), now: t0}
		p.Suggest = func(v any) string {
			if b, ok := v.(*Block); ok {
				return fmt.Sprintf("b%d", b.Slot)
			}
			return ""
		}
		p.Values("b/p", func(_, value []byte) (any, error) { return DecodePropose(s.b.c, value) })
		for _, prefix := range []string{"b/c", "b/t"} {
			p.Values(prefix, func(_, value []byte) (any, error) { return decodeQC(value) })
		}
		p.Values("lock", func(_, _ []byte) (any, error) { return "acknowledgements of the lanes", nil })
		p.Omit("Epoch", "TimeMS")
		for n := range uint64(200) {
			p.Name(tip(n).Digest, fmt.Sprintf("t%d", n))
		}
		return golden.Commands{
			"replica": s.replica, "restart": s.restart, "block": s.block, "chain": s.chain, "commit": s.commit, "deliver": s.deliver, "data": s.setData, "time": s.time,
			"progress": func(*golden.Args) { s.do(s.m.Progress(s.now)) },
			"resend":   func(a *golden.Args) { s.do(s.m.Resend(protocols.Index(a.Number()))) },
			"executed": func(a *golden.Args) { s.do(s.m.Executed(s.now, uint64(a.Number()))) },
			"refused":  func(*golden.Args) { s.p.Line("to be asked again: %s", s.p.Text(s.m.TakeRefusedPeers())) },
		}
	})
}

func (s *traced) do(st Step) {
	s.disk.Keep(st)
	s.p.Step(st)
	for _, x := range st.Sends {
		if p, ok := x.Message.(*Propose); ok {
			s.blocks[s.p.Digest(p.Block.digest)] = p.Block // the leader made it
		}
	}
	for _, o := range st.Out {
		s.base = o.Block
	}
	s.timer()
}

func (s *traced) timer() { s.p.Timer(int64(s.m.Wake()), int64(t0)) }

// replica 1 [n=4]: the machine of a replica in an epoch that replica 0 leads.
func (s *traced) replica(a *golden.Args) {
	self := protocols.Index(a.Number())
	s.b = newBench(s.t, a.IntOr("n", 4))
	s.data = &data{}
	s.cfg, s.base, s.disk = s.b.config(self, s.data), s.b.genesis, golden.Disk{}
	s.m = New(s.cfg, s.base, 0)
	s.blocks["genesis"] = s.b.genesis
	s.p.Name(s.b.genesis.digest, "genesis")
	s.p.Text(s.b.genesis)
	s.p.Line("replica %d of %d, quorum %d, leader %d", self, s.b.c.N(), s.b.c.Quorum(), s.cfg.Leader)
}

// restart: the machine again, from its records and the last committed block.
func (s *traced) restart(a *golden.Args) {
	m, err := Restore(s.cfg, s.base, s.base.Height, s.disk.Stored)
	a.Check(err)
	s.m = m
	s.p.Line("restored from %d records on top of %s", len(s.disk), s.p.Digest(s.base.digest))
	s.do(m.Resume(s.now))
}

// block b1 on=genesis [other=9]: a block of the leader; another one of the same slot with a number of its own.
func (s *traced) block(a *golden.Args) {
	name, on := a.Word(), s.the(a, a.Str("on", "genesis"))
	b := s.b.block(on, uint64(a.IntOr("other", 0)))
	s.blocks[name] = b
	s.p.Name(b.digest, name)
}

// chain b 65: blocks b1 to b65 on top of each other.
func (s *traced) chain(a *golden.Args) {
	prefix, n := a.Word(), a.Number()
	for k, b := range s.b.chain(s.b.genesis, n) {
		name := fmt.Sprintf("%s%d", prefix, k+1)
		s.blocks[name] = b
		s.p.Name(b.digest, name)
	}
}

// commit to=49: certified headers vouch for all blocks of the chain b up to this one, and they are executed.
func (s *traced) commit(a *golden.Args) {
	n := a.Int("to")
	s.base = s.the(a, fmt.Sprintf("b%d", n))
	s.m.Executed(s.now, uint64(n))
	s.do(s.m.Adopt(s.now, s.base))
}

func (s *traced) the(a *golden.Args, name string) *Block {
	b := s.blocks[name]
	if b == nil {
		a.Fatalf("there is no block %s", name)
	}
	return b
}

// deliver from=2 KIND b1 ...: a checked message.
func (s *traced) deliver(a *golden.Args) {
	from := a.Ints("from")
	kind := a.Word()
	b := s.the(a, a.Word())
	for _, i := range from {
		i := protocols.Index(i)
		switch kind {
		case "propose":
			s.do(s.m.HandlePropose(s.now, i, s.b.propose(b)))
		case "vote":
			s.do(s.m.HandleVote(s.now, i, s.b.vote(i, b)))
		case "finalize":
			s.do(s.m.HandleFinalize(s.now, i, finalizeOf(b)))
		case "fetch":
			s.do(s.m.HandleFetchBlock(i, &FetchBlock{Epoch: b.Epoch, Slot: b.Slot, Digest: b.digest}))
		default:
			a.Fatalf("there is no message %s", kind)
		}
	}
}

// data verdict=missing | grow=3: the verdict of the lanes on cuts, or the number up to which lane 0 can be proposed.
func (s *traced) setData(a *golden.Args) {
	switch v := a.Str("verdict", ""); v {
	case "votable":
		s.data.verdict = lanes.Votable
	case "missing":
		s.data.verdict = lanes.Missing
	case "refused":
		s.data.verdict = lanes.Refused
	case "":
		s.data.grow = uint64(a.Int("grow"))
	default:
		a.Fatalf("there is no verdict %s", v)
	}
}

// time 60ms: so long after the beginning, with a tick if one is due.
func (s *traced) time(a *golden.Args) {
	s.now = t0.Add(a.Duration())
	if w := s.m.Wake(); w != 0 && w <= s.now {
		s.do(s.m.Tick(s.now))
	}
}
