package replica

import (
	"fmt"
	"testing"
	"time"

	"bdtnode/internal/golden"
	"bdtnode/internal/kv"
	"bdtnode/internal/wire"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/certify"
	"bdtnode/protocols/lanes"
)

// traced is one core with its store, and the objects that its script has made.
type traced struct {
	t        *testing.T
	p        *golden.Printer
	b        *bench
	self     protocols.Index
	core     *Core
	store    *kv.Mem
	nonce    uint64
	executed uint64
	now      protocols.Time
}

// TestTraces runs the scripts in testdata/traces.
func TestTraces(t *testing.T) {
	golden.Run(t, "testdata/traces/*.txt", func(t *testing.T, p *golden.Printer) golden.Commands {
		s := &traced{t: t, p: p, now: t0}
		p.Omit("TimeMS", "Anchor", "Network")
		p.Values("h/b", func(_, value []byte) (any, error) { return bdt.DecodeCommit(s.b.c, value) })
		p.Values("h/c", func(_, value []byte) (any, error) {
			r := wire.NewReader(value)
			x := certify.ReadCertified(r)
			return x, r.Done()
		})
		p.Values("h/t", func(_, value []byte) (any, error) { return wire.NewReader(value).U64(), nil })
		p.Values("p/self", func(_, value []byte) (any, error) { return decodeSelf(value) })
		p.Values("p/m", func(_, value []byte) (any, error) { return decodeMark(s.b.c, value) })
		return golden.Commands{
			"replica": s.replica, "restart": s.restart, "connected": s.connected, "time": s.time, "deliver": s.deliver,
			"execute": s.execute, "state": s.state, "presence": s.presence,
		}
	})
}

func (s *traced) do(st Step) {
	s.b.persist(s.t, s.store, st.Persist)
	s.p.Step(st)
	s.timer()
}

func (s *traced) timer() { s.p.Timer(int64(s.core.Wake()), int64(t0)) }

// replica 1 [nonce=5] [height=5]: a core whose replica starts for the first time, or, without a nonce, one that trusts its
// store. The shard has blocks b1, b2, ... with headers h1, h2, ... up to a height.
func (s *traced) replica(a *golden.Args) {
	s.self, s.nonce = protocols.Index(a.Number()), uint64(a.IntOr("nonce", 0))
	s.b = newBench(s.t, 4, a.IntOr("height", 0), "")
	s.p.Name(s.b.genesis.Digest(), "genesis")
	for k, x := range s.b.blocks {
		s.p.Name(x.Digest(), fmt.Sprintf("b%d", k+1))
		s.p.Name(s.b.headers[k].Digest(), fmt.Sprintf("h%d", k+1))
	}
	s.store = kv.NewMem()
	s.p.Line("replica %d of 4, f = %d", s.self, s.b.c.F())
	s.begin(a, Origin{Born: true, Nonce: s.nonce})
}

// restart [nonce=6]: the core again, from its records.
func (s *traced) restart(a *golden.Args) {
	s.nonce = uint64(a.IntOr("nonce", 0))
	s.begin(a, Origin{Nonce: s.nonce})
}

func (s *traced) begin(a *golden.Args, o Origin) {
	cfg := s.b.config(s.self)
	if s.nonce > 0 {
		x, err := s.b.begin(s.t, s.self, s.store, o)
		if err != nil {
			s.p.Line("refused: %v", err)
			return
		}
		r := x.Record()
		s.p.Record(r.Key, r.Value)
		cfg.Begun = x
	}
	core, err := Restore(cfg, s.b.headers[:s.executed], s.store)
	a.Check(err)
	s.core = core
	s.do(core.Start(s.now))
}

// connected 2: the streams to a peer are up.
func (s *traced) connected(a *golden.Args) { s.do(s.core.Connected(protocols.Index(a.Number()))) }

// time 300ms: so long after the beginning, with the ticks that become due.
func (s *traced) time(a *golden.Args) {
	end := t0.Add(a.Duration())
	for w := s.core.Wake(); w != 0 && w <= end; w = s.core.Wake() {
		s.now = max(s.now, w)
		s.p.Line("at %s", s.now.Sub(t0))
		s.do(s.core.Tick(s.now))
	}
	s.now = end
}

// deliver from=2 KIND ...: a checked message.
func (s *traced) deliver(a *golden.Args) {
	from := protocols.Index(a.Int("from"))
	s.do(s.core.Handle(s.now, unverified(from, s.message(a, from))))
}

func (s *traced) message(a *golden.Args, from protocols.Index) protocols.Message {
	number := func(key string) uint64 { return uint64(a.IntOr(key, 0)) }
	switch kind := a.Word(); kind {
	case "hello": // boot=1 nonce=8
		return &Hello{Boot: number("boot"), Nonce: number("nonce")}
	case "known": // to=5 [boot=1 nonce=5] [vote=1]: with the vote of this replica in slot 1
		m := &Known{Member: s.self, To: number("to"), Boot: number("boot"), Nonce: number("nonce")}
		if slot := a.IntOr("vote", 0); slot > 0 {
			m.Vote = &bolt.Vote{Epoch: 1, Slot: uint64(slot), Digest: s.b.blocks[slot-1].Digest()}
		}
		return m
	case "fenced":
		return &Fenced{Boot: number("boot"), Nonce: number("nonce")}
	case "position": // 5 [again]
		again := a.Flag("again")
		return &Position{Certified: uint64(a.Number()), Again: again}
	case "VOTE": // 5: for the header of that height
		return s.b.vote(from, uint64(a.Number()))
	case "request": // 1
		return &Request{From: uint64(a.Number())}
	case "history": // 1 3: certified blocks from one height to another
		return s.b.history(uint64(a.Number()), uint64(a.Number()))
	case "nothing": // an empty History
		return &History{}
	case "ping": // 10ms: sent so long after the beginning, by the clock of its sender
		return &Ping{Sent: uint64(t0.Add(a.Duration()))}
	case "pong": // 10ms ahead=5ms: the answer to the Ping of that time, by a replica whose clock is so much ahead
		sent := uint64(t0.Add(a.Duration()))
		ahead, err := time.ParseDuration(a.Str("ahead", "0s"))
		a.Check(err)
		return &Pong{Sent: sent, Wall: uint64(s.now.Add(ahead))}
	case "certificate": // of lane 2 number 1, acknowledged by three replicas, this one among them
		x := &lanes.TipCertificate{Lane: 2, Tip: lanes.Tip{Seq: 1, Digest: s.b.genesis.Digest()}}
		for _, i := range a.Ints("of") {
			x.Certificate.Signers.Add(protocols.Index(i))
		}
		return x
	default:
		a.Fatalf("there is no message %s", kind)
	}
	return nil
}

// execute 3: the executor is done with all blocks up to a height.
func (s *traced) execute(a *golden.Args) {
	for top := uint64(a.Number()); s.executed < top; {
		s.executed++
		s.do(s.core.Executed(s.now, s.b.executed(s.executed)))
	}
}

// state: where the core is.
func (s *traced) state(*golden.Args) {
	st, x := s.core.Status(), s.core.Standing()
	s.p.Line("epoch %d, committed %d, certified %d, behind %v", st.Epoch, st.Committed, st.Certified, s.core.catchup.lagging)
	s.p.Line("may sign %v, %d of %d answers", x.Running, x.Answered, x.Needed)
}

// presence: which replicas answer, and how the clocks compare.
func (s *traced) presence(*golden.Args) {
	x, _ := s.core.Presence()
	s.p.Line("%d replicas answer, this clock is behind by %s, clock off %v", x.Answering(s.now), x.ClockOffset, x.ClockOff)
}
