package mvba

import (
	"fmt"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/protocols"
	"bdtnode/protocols/coin"
)

// Window is the number of rounds after its own for which a replica keeps messages. It does not limit proposals, since a
// justified one moves the replica to its round.
const Window = 4

// Config has the parameters of an instance.
type Config struct {
	Instance  Instance
	Committee *protocols.Committee
	Self      protocols.Index
	Signer    sig.Signer  // signs with the key of Self
	Coin      coin.Scheme // its threshold is the weak quorum of the committee
	Shares    coin.Holder // makes the coin shares of Self
	// Valid is the external validity of values. It returns nil, or an error that says why a value is invalid. Its result must
	// depend only on the value, so that it is the same at all honest replicas.
	Valid func(value []byte) error
}

// Decided is the output of an instance. It is given once, and once more after a restore.
type Decided struct {
	Value    []byte
	Decision *Decision
}

// Step is the result of one input.
type Step = protocols.Step[Decided]

// Machine is the state of one replica in one instance. It is a pure state machine and not safe for concurrent use.
type Machine struct {
	shared
	outcome outcome
	input   digest.Digest  // zero before Propose
	round   uint32         // current one
	why     *Justification // justification of the round; nil in round 1
	rounds  map[uint32]*round
	refused protocols.Set // peers of which a message was too far ahead
}

// New makes an instance without records. It returns an error if the configuration is incomplete or inconsistent.
func New(cfg Config) (*Machine, error) {
	switch {
	case cfg.Committee == nil || cfg.Signer == nil || cfg.Coin == nil || cfg.Shares == nil || cfg.Valid == nil:
		return nil, fmt.Errorf("agreement %s: committee, signer, coin, shares and validity are required", cfg.Instance)
	case !cfg.Committee.Has(cfg.Self) || cfg.Committee.Key(cfg.Self) != cfg.Signer.Public():
		return nil, fmt.Errorf("agreement %s: the signer does not have the key of replica %d of the committee", cfg.Instance, cfg.Self)
	case cfg.Coin.Threshold() != cfg.Committee.WeakQuorum():
		return nil, fmt.Errorf("agreement %s: the coin takes %d shares, want %d, deal it again for %d replicas",
			cfg.Instance, cfg.Coin.Threshold(), cfg.Committee.WeakQuorum(), cfg.Committee.N())
	}
	m := &Machine{shared: shared{cfg: cfg}, round: 1, rounds: make(map[uint32]*round)}
	m.out = newOutbox(&m.cfg)
	m.values = newValues(&m.cfg, &m.out)
	m.outcome.shared = &m.shared
	m.process = m.handleRoundMessage
	return m, nil
}

// Start continues a restored machine. On a new machine it does nothing.
func (m *Machine) Start(protocols.Time) Step {
	var s Step
	m.advance(&s)
	return s
}

// Propose gives the input of this replica. The instance terminates only if every honest replica calls it. The first input
// counts, also one that was restored; later ones do nothing. It returns an error if value is invalid or longer than
// [MaxValue].
func (m *Machine) Propose(_ protocols.Time, value []byte) (Step, error) {
	var s Step
	if m.outcome.decision != nil || !m.input.IsZero() {
		return s, nil
	}
	if len(value) > MaxValue {
		return s, fmt.Errorf("agreement %s: the input has %d bytes, at most %d allowed", m.cfg.Instance, len(value), MaxValue)
	}
	if err := m.cfg.Valid(value); err != nil {
		return s, fmt.Errorf("agreement %s: the input is invalid: %w", m.cfg.Instance, err)
	}
	m.input = DigestOf(value)
	m.values.hold(m.input, value)
	m.advance(&s)
	return s, nil
}

// Handle takes a message of this instance whose [Check] was verified. The time is not used: the agreement does not depend on
// it. Handle panics for a message of another instance.
func (m *Machine) Handle(_ protocols.Time, from protocols.Index, msg protocols.Message) Step {
	if in, ok := InstanceOf(msg); !ok || in != m.cfg.Instance {
		panic(fmt.Sprintf("mvba: a message of instance %s was given to %s", in, m.cfg.Instance))
	}
	var s Step
	switch x := msg.(type) {
	case *FetchValue:
		if !m.values.handleFetchValue(&s, from, x) && m.outcome.decision != nil {
			m.outcome.send(&s, from)
		}
		return s
	case *Value:
		m.values.handleValue(x)
	case *Decision:
		if m.outcome.decision == nil {
			m.settle(&s, x)
		}
	default:
		if m.outcome.decision != nil {
			m.outcome.send(&s, from)
			return s
		}
		m.process(&s, from, msg)
	}
	m.advance(&s)
	return s
}

// handleRoundMessage takes a message of an undecided instance, from a peer or from this replica itself. A justified Proposal
// of a later round moves this replica to that round.
func (m *Machine) handleRoundMessage(s *Step, from protocols.Index, msg protocols.Message) {
	switch x := msg.(type) {
	case *ResendRequest:
		m.out.handleResendRequest(s, from, x, m.round)
		return
	case *Proposal:
		if x.Round > m.round {
			m.enter(s, x.Round, x.Justification)
		}
	}
	r := m.admit(from, roundOf(msg))
	if r == nil {
		return
	}
	switch x := msg.(type) {
	case *Proposal:
		r.broadcasts.handleProposal(s, from, x)
	case *Echo:
		r.broadcasts.handleEcho(s, from, x)
	case *Lock:
		r.broadcasts.handleLock(from, x)
	case *Accept:
		r.broadcasts.handleAccept(s, from, x)
	case *Finish:
		r.broadcasts.handleFinish(from, x)
	case *coin.Release:
		r.election.handleRelease(from, x)
	case *coin.Relay:
		r.election.handleRelay(from, x)
	case *PreVote:
		r.ballot.handlePreVote(s, from, x)
	case *Vote:
		r.ballot.handleVote(s, from, x)
	}
}

// Resend sends a peer again all messages that it may have missed. It is called after a reconnect, also after a restart.
func (m *Machine) Resend(peer protocols.Index) Step {
	var s Step
	m.values.served[peer] = nil
	m.outcome.sent.Remove(peer)
	if m.outcome.decision != nil {
		m.outcome.sent.Add(peer) // it is one of the kept messages
	}
	m.out.resend(&s, peer)
	return s
}

// SendDecision sends a peer the decision, if there is one and it was not sent since the last reconnect.
func (m *Machine) SendDecision(peer protocols.Index) Step {
	var s Step
	if m.outcome.decision != nil {
		m.outcome.send(&s, peer)
	}
	return s
}

// Decision is the certificate of a decided instance, or nil. It may be there before the value.
func (m *Machine) Decision() *Decision { return m.outcome.decision }

// Round is the current round, or the round of this replica when the instance was decided.
func (m *Machine) Round() uint32 { return m.round }

// advance applies the rules of the current round, in the order of the paper, until none applies. Then it delivers a decided
// value.
func (m *Machine) advance(s *Step) {
	for m.changed = true; m.changed && m.outcome.decision == nil; {
		m.changed = false
		m.apply(s, m.slot(m.round))
	}
	m.outcome.deliver(s)
}

// apply applies each rule of a round once.
func (m *Machine) apply(s *Step, r *round) {
	r.broadcasts.propose(s, m.input, m.why)
	r.broadcasts.echo(s)
	r.broadcasts.lock(s)
	r.broadcasts.accept(s)
	r.broadcasts.finish(s)
	r.election.release(s, &r.broadcasts.finished)
	r.election.relay(s)
	if d := r.election.decide(r.broadcasts.finishes); d != nil {
		m.settle(s, d)
		return
	}
	r.ballot.preVote(s, r.broadcasts.locks)
	r.ballot.vote(s)
	d, why := r.ballot.conclude()
	switch {
	case d != nil:
		m.settle(s, d)
	case why != nil:
		m.enter(s, r.at.Round+1, why)
	}
}

// settle ends the instance with a decision and deletes the state of all rounds.
func (m *Machine) settle(s *Step, d *Decision) {
	m.rounds, m.refused, m.why = nil, protocols.Set{}, nil
	m.outcome.settle(s, d)
}

// slot is the state of round n, which is the current round or in the window.
func (m *Machine) slot(n uint32) *round {
	r := m.rounds[n]
	if r == nil {
		r = newRound(&m.shared, n)
		m.rounds[n] = r
	}
	return r
}

// admit is the state of the round of a message, or nil if the round is past or too far ahead. If it is too far ahead, the
// sender is recorded and asked again in the next round.
func (m *Machine) admit(from protocols.Index, n uint32) *round {
	switch {
	case n < m.round:
		return nil
	case n-m.round > Window:
		m.refused.Add(from)
		return nil
	}
	return m.slot(n)
}

// enter moves to round n, which why justifies. From then on nothing is signed in earlier rounds.
func (m *Machine) enter(s *Step, n uint32, why *Justification) {
	m.changed = true
	m.round, m.why = n, why
	if why.Key != nil {
		m.raise(why.Key)
	}
	s.Record(m.cfg.Instance.stateKey(), m.stateRecord())
	for old := range m.rounds {
		if old < n {
			delete(m.rounds, old)
		}
	}
	m.out.leaveRound(m.values.requested)
	for _, i := range m.refused.Members() {
		m.out.send(s, protocols.To(i), &ResendRequest{At{m.cfg.Instance, n}})
	}
	m.refused = protocols.Set{}
}
