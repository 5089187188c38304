package sim

import (
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"strings"
	"time"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/ledger"
	"bdtnode/protocols"
)

// epoch is when virtual time begins.
const epoch protocols.Time = 1_700_000_000_000_000_000

// Sim is one run.
type Sim struct {
	cfg         Config
	rng         *rand.Rand
	now         protocols.Time
	queue       queue
	trace       trace
	network     *network
	nodes       []*node
	clients     *clients
	check       *checks
	committee   *protocols.Committee
	scheme      sig.Scheme
	signers     []sig.Signer
	ledger      ledger.Config
	active      bool // there are load and faults
	syncMean    time.Duration
	execMean    time.Duration
	crashPoints *Crashes // nil if replicas do not crash at chosen places
	violation   *Violation
}

// Report is what a run without a violation came to.
type Report struct {
	Hash     digest.Digest // of every event: the same for the same configuration
	Events   uint64
	Height   uint64 // committed, greatest of all replicas
	Settled  int    // transactions
	Rejected int
	Crashes  int
	Refused  int // messages of Byzantine replicas
}

// Violation is a guarantee that did not hold.
type Violation struct {
	Config Config
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
	s, err := newSim(cfg)
	if err != nil {
		return nil, err
	}
	s.run()
	if s.violation != nil {
		return nil, s.violation
	}
	r := &Report{
		Hash: s.trace.sum(), Events: s.trace.steps, Height: s.check.agreement.top, Crashes: s.check.durability.crashes,
		Refused: s.check.blame.refused,
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

func newSim(cfg Config) (*Sim, error) {
	s := &Sim{
		cfg: cfg, rng: rand.New(rand.NewPCG(cfg.Seed, 0xb017d0b0)), now: epoch, trace: newTrace(),
		syncMean: 300 * time.Microsecond, execMean: 500 * time.Microsecond, active: true,
	}
	s.keys()
	network := digest.Of("bdt/simulated-network/1", []byte{byte(cfg.Seed), byte(cfg.Seed >> 8)})
	keys := make([]sig.PublicKey, cfg.Nodes)
	for i := range keys {
		keys[i] = s.signers[i].Public()
	}
	var err error
	if s.committee, err = protocols.NewCommittee(network, 0, keys); err != nil {
		return nil, err
	}
	s.clients = newClients(s)
	s.ledger = ledger.Config{
		Network: network, Home: func(ledger.Address) uint16 { return 0 }, GenesisTimeMS: epoch.Millis(),
		HorizonMS: uint64(time.Hour / time.Millisecond), Allocations: s.clients.allocations(),
	}
	s.check = newChecks(s)
	s.network = newNetwork(s)
	for i := range cfg.Nodes {
		s.nodes = append(s.nodes, newNode(s, protocols.Index(i)))
	}
	for _, l := range cfg.Liars {
		s.nodes[l.Replica].adversary = l.Adversary
	}
	return s, nil
}

// keys makes the signature scheme, and a signer for each replica and account.
func (s *Sim) keys() {
	n := s.cfg.Nodes + accounts
	if !s.cfg.Ed25519 {
		ideal := sig.NewIdeal(s.cfg.Seed)
		s.scheme = ideal
		for i := range n {
			s.signers = append(s.signers, ideal.Signer(uint64(i)))
		}
		return
	}
	s.scheme = sig.NewEd25519()
	for i := range n {
		seed := digest.Of("bdt/simulated-key/1", []byte{byte(i), byte(s.cfg.Seed), byte(s.cfg.Seed >> 8)})
		k, err := sig.Ed25519FromSeed(seed[:])
		if err != nil {
			panic(err) // a digest has the length of a seed
		}
		s.signers = append(s.signers, k)
	}
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
	if s.violation == nil && s.cfg.live() && len(s.cfg.Liars) == 0 {
		s.silence()
	}
}

// heal ends all faults.
func (s *Sim) heal() {
	s.active = false
	s.trace.add(s.now, "heal", -1, -1, nil, nil)
	s.network.duplicates, s.network.reorders = 0, 0
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

// silence sees that an idle shard does nothing.
func (s *Sim) silence() {
	s.play(s.now.Add(5 * time.Second))
	before := s.trace.steps
	s.play(s.now.Add(20 * time.Second))
	if n := s.trace.steps - before; n > 0 && s.violation == nil {
		s.fail("silence", "an idle shard had %d events in 20 seconds", n)
	}
}

// play carries out events until a time, or until a check fails.
func (s *Sim) play(until protocols.Time) {
	for s.violation == nil && s.queue.Len() > 0 && s.queue.events[0].at <= until {
		e := s.queue.next()
		s.now = e.at
		e.what()
	}
	if s.violation == nil {
		s.now = max(s.now, until)
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

// fail notes the first violation and ends the run.
func (s *Sim) fail(check, format string, args ...any) {
	if s.violation == nil {
		s.violation = &Violation{
			Config: s.cfg, Step: s.trace.steps, At: s.now.Sub(epoch), Check: check,
			Detail: fmt.Sprintf(format, args...), Events: s.trace.last(),
		}
	}
}

func (s *Sim) at(t protocols.Time, what func()) { s.queue.add(max(t, s.now), what) }

func (s *Sim) after(d time.Duration, what func()) { s.queue.add(s.now.Add(d), what) }

// between is a random time in a range.
func (s *Sim) between(low, high time.Duration) time.Duration {
	return low + time.Duration(s.rng.Int64N(int64(high-low)+1))
}

// around is a random time of an exponential distribution with a mean, and at most ten times that.
func (s *Sim) around(mean time.Duration) time.Duration {
	return min(time.Duration(s.rng.ExpFloat64()*float64(mean)), 10*mean)
}

// repeat does something at random intervals of a mean, while the run is active.
func (s *Sim) repeat(mean time.Duration, what func()) {
	s.after(s.around(mean)+time.Millisecond, func() {
		if s.active {
			what()
			s.repeat(mean, what)
		}
	})
}

// honest lists the replicas that are not Byzantine.
func (s *Sim) honest() []*node {
	var out []*node
	for _, n := range s.nodes {
		if n.adversary == nil {
			out = append(out, n)
		}
	}
	return out
}
