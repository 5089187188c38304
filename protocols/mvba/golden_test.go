package mvba

import (
	"fmt"
	"testing"

	"bdtnode/internal/golden"
	"bdtnode/internal/wire"
	"bdtnode/protocols"
	"bdtnode/protocols/coin"
)

// traced is the four machines of one instance, and the messages on their way.
type traced struct {
	t        *testing.T
	p        *golden.Printer
	w        *world
	net      *golden.Net
	machines []*Machine
}

// TestTraces runs the scripts in testdata/traces.
func TestTraces(t *testing.T) {
	golden.Run(t, "testdata/traces/*.txt", func(t *testing.T, p *golden.Printer) golden.Commands {
		s := &traced{t: t, p: p}
		p.Omit("Instance")
		golden.Format(p, func(n coin.Name) string { return fmt.Sprintf("round %d", n.Round) })
		for _, part := range []string{"a/m", "a/d", "a/e"} {
			p.Values(part, func(_, value []byte) (any, error) {
				m, err := readMessageRecord(value)
				return fmt.Sprintf("%T", m)[len("*"):], err
			})
		}
		p.Values("a/s", func(_, value []byte) (any, error) {
			r := wire.NewReader(value)
			r.U8()
			return fmt.Sprintf("round %d", r.U32()), r.Err()
		})
		s.net = golden.NewNet(p, 4, s.handle, nil)
		commands := s.net.Commands()
		commands["shard"], commands["propose"], commands["reconnect"], commands["restart"] = s.shard, s.propose, s.reconnect, s.restart
		commands["state"], commands["release"], commands["proposal"], commands["again"] = s.state, s.release, s.proposal, s.again
		return commands
	})
}

// handle gives a message to a machine, verified.
func (s *traced) handle(to, from int, message any) any {
	m := message.(protocols.Message)
	if err := s.w.check(protocols.Index(from), m); err != nil {
		s.t.Fatalf("%T of replica %d does not verify: %v", m, from, err)
	}
	return s.machines[to].Handle(0, protocols.Index(from), m)
}

// shard elects=(3,0): four replicas with a coin that elects replica 3 in round 1 and replica 0 in round 2.
func (s *traced) shard(a *golden.Args) {
	want := a.Ints("elects")
	for seed := uint64(1); s.w == nil; seed++ {
		w, err := newWorld(plan{n: 4, seed: seed, strategy: "silent", schedule: "even"})
		a.Check(err)
		fits := true
		for k, l := range want {
			fits = fits && w.leader(s.t, uint32(k+1)) == protocols.Index(l)
		}
		if fits {
			s.w = w
		}
	}
	for i := range protocols.Index(4) {
		m, err := New(s.w.config(i))
		a.Check(err)
		s.machines = append(s.machines, m)
		s.p.Name(DigestOf(input(int(i))), fmt.Sprintf("v%d", i))
	}
	s.p.Line("4 replicas, quorum %d", s.w.committee.Quorum())
	for k, l := range want {
		s.p.Line("the coin of round %d will elect replica %d", k+1, l)
	}
}

// input is the value that a replica proposes: v2 is that of replica 2.
func input(i int) []byte { return fmt.Appendf(nil, "ok:%d", i) }

// propose of=(0,1): the inputs of these replicas.
func (s *traced) propose(a *golden.Args) {
	for _, i := range a.Ints("of") {
		st, err := s.machines[i].Propose(0, input(i))
		a.Check(err)
		s.net.Took(i, st)
	}
}

// reconnect 0 3: both send again the messages that the other may have missed.
func (s *traced) reconnect(a *golden.Args) {
	i, j := a.Number(), a.Number()
	s.net.Took(i, s.machines[i].Resend(protocols.Index(j)))
	s.net.Took(j, s.machines[j].Resend(protocols.Index(i)))
}

// restart 2: the machine again, from its records.
func (s *traced) restart(a *golden.Args) {
	i := a.Number()
	m, err := Restore(s.w.config(protocols.Index(i)), s.net.Disks[i].Stored)
	a.Check(err)
	s.machines[i] = m
	s.p.Line("replica %d restored from %d records, in round %d", i, len(s.net.Disks[i]), m.Round())
	s.net.Took(i, m.Start(0))
}

// state: round and decision of each replica.
func (s *traced) state(*golden.Args) {
	for i, m := range s.machines {
		if d := m.Decision(); d != nil {
			s.p.Line("replica %d: decided %s, elected in round %d", i, s.p.Digest(d.Digest), d.Round)
		} else {
			s.p.Line("replica %d: round %d", i, m.Round())
		}
	}
}

// release from=1 to=0 round=6: a share of a round that the sender has come to.
func (s *traced) release(a *golden.Args) {
	from, name := a.Int("from"), At{theInstance, uint32(a.Int("round"))}.toss()
	to := a.Int("to")
	s.net.Took(to, s.handle(to, from, &coin.Release{Name: name, Share: s.w.holders[from].Share(name.Statement(s.w.committee))}))
}

// proposal from=2 to=0 round=6: a proposal of v2, justified by no-votes of n-f replicas in the round before.
func (s *traced) proposal(a *golden.Args) {
	from, to, round := a.Int("from"), a.Int("to"), uint32(a.Int("round"))
	why, before := &Justification{}, At{theInstance, round - 1}
	for i := range protocols.Index(s.w.committee.Quorum()) {
		why.NoVotes.Signers.Add(i)
		why.NoVotes.Claims = append(why.NoVotes.Claims, 0)
		why.NoVotes.Signatures = append(why.NoVotes.Signatures, s.w.signers[i].Sign(before.noVoteStatement(s.w.committee, 0)))
	}
	s.net.Took(to, s.handle(to, from, &Proposal{At: At{theInstance, round}, Digest: DigestOf(input(from)), Justification: why}))
}

// again from=1 to=0 round=6: the sender has come to a round and lacks messages of it.
func (s *traced) again(a *golden.Args) {
	from, to := a.Int("from"), a.Int("to")
	s.net.Took(to, s.handle(to, from, &ResendRequest{At{theInstance, uint32(a.Int("round"))}}))
}
