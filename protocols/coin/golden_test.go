package coin

import (
	"testing"

	"bdtnode/internal/golden"
	"bdtnode/protocols"
)

// traced is one toss of the coin.
type traced struct {
	p      *golden.Printer
	c      *protocols.Committee
	scheme *Ideal
	name   Name
	toss   *Toss
}

// TestTraces runs the scripts in testdata/traces.
func TestTraces(t *testing.T) {
	golden.Run(t, "testdata/traces/*.txt", func(t *testing.T, p *golden.Printer) golden.Commands {
		s := &traced{p: p, c: committee(t, 4)}
		return golden.Commands{"toss": s.start, "release": s.release, "relay": s.relay}
	})
}

// toss seed=1 round=1: the coin of a round.
func (s *traced) start(a *golden.Args) {
	s.scheme = NewIdeal(uint64(a.Int("seed")), s.c.WeakQuorum())
	s.name = Name{Epoch: 1, Kind: 1, Round: uint32(a.Int("round"))}
	s.toss = NewToss(s.c, s.scheme, s.name)
	s.p.Line("%s takes %d shares", s.name, s.scheme.Threshold())
}

// share is replica i's share of the toss, or one of another round.
func (s *traced) share(i int, name Name) Share {
	return s.scheme.Holder(protocols.Index(i)).Share(name.Statement(s.c))
}

func (s *traced) outcome(news bool) {
	switch {
	case !s.toss.Known():
		s.p.Line("not known")
	case news:
		proof := s.toss.Proof()
		s.p.Line("known: it elects replica %d, by the shares of %v", s.toss.Leader(), proof.Holders.Members())
	default:
		s.p.Line("known before")
	}
}

// release from=2 [of=1] [round=2]: a share as replica 2 sends it; of another replica, or of another round, if it says so.
func (s *traced) release(a *golden.Args) {
	from, name := a.Int("from"), s.name
	name.Round = uint32(a.IntOr("round", int(name.Round)))
	m := &Release{Name: s.name, Share: s.share(a.IntOr("of", from), name)}
	check := m.Check(s.c, protocols.Index(from))
	if err := check.Verify(s.scheme); err != nil {
		s.p.Line("refused: %v", err)
		return
	}
	s.outcome(s.toss.Add(protocols.Index(from), m.Share))
}

// relay of=(1,3) [wrong=3] [elects=2]: shares of these replicas, of which one may be another's, that claim to elect a replica.
func (s *traced) relay(a *golden.Args) {
	m := &Relay{Name: s.name}
	wrong := a.IntOr("wrong", -1)
	for _, i := range a.Ints("of") {
		m.Shares.Holders.Add(protocols.Index(i))
		if i == wrong {
			i++
		}
		m.Shares.Shares = append(m.Shares.Shares, s.share(i, s.name))
	}
	check, err := m.Check(s.c)
	if l := a.IntOr("elects", -1); l >= 0 && err == nil {
		check = check.Electing(protocols.Index(l))
	}
	if err == nil {
		err = check.Verify(s.scheme)
	}
	if err != nil {
		s.p.Line("refused: %v", err)
		return
	}
	s.outcome(s.toss.Learn(&m.Shares))
}
