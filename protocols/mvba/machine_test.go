package mvba

import (
	"math"
	"testing"

	"bdtnode/internal/sig"
	"bdtnode/protocols"
	"bdtnode/protocols/coin"
)

// TestNewRefusesBadConfig: New returns an error for a configuration that cannot work.
func TestNewRefusesBadConfig(t *testing.T) {
	w, err := newWorld(plan{n: 4, seed: 1, strategy: "silent", schedule: "even"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(w.config(1)); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*Config){
		"no committee":                   func(c *Config) { c.Committee = nil },
		"no signer":                      func(c *Config) { c.Signer = nil },
		"no coin":                        func(c *Config) { c.Coin = nil },
		"no shares":                      func(c *Config) { c.Shares = nil },
		"no validity":                    func(c *Config) { c.Valid = nil },
		"not a replica":                  func(c *Config) { c.Self = 4 },
		"the signer of another replica":  func(c *Config) { c.Self = 2 },
		"a signer outside the committee": func(c *Config) { c.Signer = sig.NewIdeal(99).Signer(77) },
		"a coin of all shares":           func(c *Config) { c.Coin = coin.NewIdeal(1, 4) },
	} {
		cfg := w.config(1)
		spoil(&cfg)
		if _, err := New(cfg); err == nil {
			t.Errorf("accepted: %s", name)
		}
	}
}

// TestPropose: an invalid input is an error, the first valid input counts, and a replica takes part also without an input.
func TestPropose(t *testing.T) {
	w, err := newWorld(plan{n: 4, seed: 1, strategy: "silent", schedule: "even"})
	if err != nil {
		t.Fatal(err)
	}
	m, err := New(w.config(1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Propose(0, []byte("bad")); err == nil {
		t.Error("an invalid input is accepted")
	}
	if _, err := m.Propose(0, make([]byte, MaxValue+1)); err == nil {
		t.Error("a value beyond the limit is accepted")
	}
	p := &Proposal{At: At{theInstance, 1}, Value: []byte("ok:0"), Digest: DigestOf([]byte("ok:0"))}
	if s := m.Handle(0, 0, p); len(s.Sends) != 1 || s.Sends[0].Message.Kind() != KindEcho || s.Sends[0].To != 0 {
		t.Errorf("before the own input a proposal is answered with %v, want an echo", s.Sends)
	}
	s, err := m.Propose(0, []byte("ok:1"))
	if err != nil || len(s.Sends) != 1 || s.Sends[0].To != protocols.Everyone {
		t.Errorf("the input gives %v, %v, want one proposal to all", s.Sends, err)
	}
	if s, err := m.Propose(0, []byte("ok:2")); err != nil || len(s.Sends)+len(s.Persist) > 0 {
		t.Errorf("a second input gives %v, %v, want nothing", s, err)
	}
}

// TestFaults: equivocation, an invalid value and a wrong leader are faults of the peer.
func TestFaults(t *testing.T) {
	w, err := newWorld(plan{n: 4, seed: 1, strategy: "silent", schedule: "even"})
	if err != nil {
		t.Fatal(err)
	}
	m, err := New(w.config(1))
	if err != nil {
		t.Fatal(err)
	}
	at := At{theInstance, 1}
	first := func(value string) *Proposal {
		return &Proposal{At: at, Value: []byte(value), Digest: DigestOf([]byte(value))}
	}
	blamed := func(name string, peer protocols.Index, s Step) {
		t.Helper()
		if len(s.Faults) != 1 || s.Faults[0].Peer != peer {
			t.Errorf("%s: faults %v, want one of %d", name, s.Faults, peer)
		}
	}
	if s := m.Handle(0, 0, first("ok:0")); len(s.Faults) > 0 {
		t.Errorf("faults for a valid proposal: %v", s.Faults)
	}
	if s := m.Handle(0, 0, first("ok:0")); len(s.Faults) > 0 {
		t.Errorf("faults for a duplicate: %v", s.Faults)
	}
	blamed("two proposals", 0, m.Handle(0, 0, first("ok:other")))
	blamed("an invalid value", 2, m.Handle(0, 2, first("bad")))
	if s := m.Handle(0, 2, first("bad")); len(s.Sends) > 0 {
		t.Errorf("an invalid value is answered with %v", s.Sends)
	}
	blamed("an echo of a value that was not proposed", 3, m.Handle(0, 3, &Echo{At: at, Broadcaster: 1, Digest: DigestOf([]byte("ok:1"))}))
	l := w.leader(t, 1)
	m.Handle(0, 3, &PreVote{At: at, Leader: (l + 1) % 4})
	name := at.toss()
	var s Step
	for i := range protocols.Index(2) {
		s = m.Handle(0, i, &coin.Release{Name: name, Share: w.holders[i].Share(name.Statement(w.committee))})
	}
	blamed("a pre-vote for another replica than the elected one", 3, s)
	m.Handle(0, 3, &PreVote{At: at, Leader: l, Signature: w.signers[3].Sign(at.noPreVoteStatement(w.committee))})
	blamed("two pre-votes", 3, m.Handle(0, 3, &PreVote{At: at, Leader: l, Yes: true}))
}

// TestMessagesAreQuadratic: a round needs at most ten messages for each pair of replicas.
func TestMessagesAreQuadratic(t *testing.T) {
	for _, n := range []int{4, 16, 31} {
		w, err := newWorld(plan{n: n, seed: 3, strategy: "silent", schedule: "even"})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.run(); err != nil {
			t.Fatal(err)
		}
		if most := 10 * uint64(n*n) * uint64(w.rounds); w.order > most {
			t.Errorf("n=%d: %d messages in %d rounds, want at most %d", n, w.order, w.rounds, most)
		}
	}
}

// TestSixDelaysDecide: without faults an instance decides after six delays, if the elected broadcast is complete.
func TestSixDelaysDecide(t *testing.T) {
	fast := 0
	for seed := range uint64(20) {
		w, err := newWorld(plan{n: 4, seed: seed, strategy: "silent", schedule: "unit"})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.run(); err != nil {
			t.Fatal(err)
		}
		if last := math.Ceil(w.now - 0.001); w.rounds == 1 && last <= 6 {
			fast++
		}
	}
	if fast < 15 {
		t.Errorf("%d of 20 instances without faults decide within six delays, want at least 15", fast)
	}
}
