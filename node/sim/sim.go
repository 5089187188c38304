package sim

import (
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/ledger"
	"bdtnode/protocols"
	toss "bdtnode/protocols/coin"
)

// Sim is one shard of a run, or all of it.
type Sim struct {
	*world
	cfg         Config
	shard       uint16
	trace       trace
	network     *network
	nodes       []*node
	clients     *clients
	check       *checks
	committee   *protocols.Committee
	coin        toss.Scheme
	shares      []toss.Holder // of the coin, by replica
	signers     []sig.Signer  // of the replicas, then of the accounts
	ledger      ledger.Config
	syncMean    time.Duration
	execMean    time.Duration
	crashPoints *Crashes // nil if replicas do not crash at chosen places
}

// Report is what a run without a violation came to.
type Report struct {
	Hash     digest.Digest // of every event: the same for the same configuration
	Events   uint64
	Height   uint64 // committed, greatest of all replicas
	Epochs   uint64 // that ended
	Lasts    int    // of these, in which the fast lane committed nothing
	Settled  int    // transactions
	Rejected int
	Crashes  int
	Refused  int // messages of Byzantine replicas
}

// Violation is a guarantee that did not hold.
type Violation struct {
	Config fmt.Stringer // of the run
	Step   uint64
	At     time.Duration // virtual, since the start
	Check  string
	Detail string
	Events []string // the last before it
}

// Error names what is needed to see it again; Events has more.
func (v *Violation) Error() string {
	return fmt.Sprintf("%s violated at step %d, %v: %s\n%s", v.Check, v.Step, v.At, v.Detail, v.Config)
}

// Story is the error with the last events.
func (v *Violation) Story() string { return v.Error() + "\n" + strings.Join(v.Events, "\n") }

// Run carries out a configuration. The error is a *[Violation], or says what is wrong with the configuration.
func Run(cfg Config) (*Report, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	w := newWorld(cfg.Seed, cfg.Ed25519, cfg)
	if err := w.found([]Config{cfg}); err != nil {
		return nil, err
	}
	s := w.shards[0]
	s.run()
	if s.violation != nil {
		return nil, s.violation
	}
	r := &Report{
		Hash: s.trace.sum(), Events: s.trace.steps, Height: s.check.agreement.top, Crashes: s.check.durability.crashes,
		Refused: s.check.blame.refused, Epochs: s.check.agreement.epochs, Lasts: s.check.agreement.fruitless,
	}
	for _, a := range s.check.durability.answers {
		if a.Verdict == ledger.VerdictSettled {
			r.Settled++
		} else {
			r.Rejected++
		}
	}
	return r, nil
}

// run plays the whole story: load and faults, then their end, answers for everyone, and silence.
func (s *Sim) run() {
	for _, f := range s.cfg.Faults {
		f.start(s)
	}
	for _, n := range s.nodes {
		s.guard(n, n.start)
	}
	s.clients.start()
	s.play(epoch.Add(s.cfg.Active))
	if s.violation != nil {
		return
	}
	s.heal()
	end := s.now.Add(s.cfg.Settle)
	for s.violation == nil && s.now < end && s.check.unsettled() != "" {
		s.play(s.now.Add(200 * time.Millisecond))
	}
	if s.violation != nil {
		return
	}
	s.check.end()
	if s.violation == nil && len(s.cfg.Liars) == 0 {
		s.silence()
	}
}

// heal ends all faults.
func (s *Sim) heal() {
	s.active = false
	s.trace.add(s.now, "heal", -1, -1, nil, nil)
	s.network.duplicates, s.network.reorders, s.network.slow = 0, 0, nil
	s.syncMean, s.execMean = 300*time.Microsecond, 500*time.Microsecond
	for i, n := range s.nodes {
		for j := range i {
			s.network.pairs[i][j].cuts = 0
		}
		if !n.alive {
			s.guard(n, n.start)
		}
	}
	for i := range s.nodes {
		s.network.up(i)
	}
}

// guard runs what a replica does. A panic in an honest one is a violation: a broken invariant. A liar's own
// machines may break over its lies; it is down then.
func (s *Sim) guard(n *node, what func()) {
	defer func() {
		if r := recover(); r != nil {
			if n.adversary != nil {
				n.alive = false
				return
			}
			s.fail("invariant", "replica %d: %v\n%s", n.id, r, debug.Stack())
		}
	}()
	what()
}

// leading is who leads the newest epoch that a replica is in.
func (s *Sim) leading() *node {
	var epoch uint64
	leader := protocols.Index(0)
	for _, n := range s.nodes {
		if n.alive && n.adversary == nil {
			if st := n.core.Status(); st.Epoch > epoch {
				epoch, leader = st.Epoch, st.Leader
			}
		}
	}
	return s.nodes[leader]
}

// honest lists the replicas that are neither Byzantine nor down for good.
func (s *Sim) honest() []*node {
	var out []*node
	for _, n := range s.nodes {
		if n.adversary == nil && !n.dead {
			out = append(out, n)
		}
	}
	return out
}
