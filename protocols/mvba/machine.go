package mvba

import (
	"fmt"
	"slices"

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
	cfg     Config
	input   digest.Digest // zero before Propose
	values  map[digest.Digest]*value
	round   uint32
	why     *Justification // justification of the round; nil in round 1
	high    *Key           // highest known key; nil before the first
	rounds  map[uint32]*round
	kept    []protocols.Send                // own messages of the round, or the decision, for Resend
	wanted  map[digest.Digest]protocols.Set // requested values, with the peers that were asked
	peers   []peer
	refused protocols.Set // peers of which a message was too far ahead

	decision *Decision
	emitted  bool // the Decided output was given
	changed  bool // a rule was applied: check all rules again
}

// value is a held value.
type value struct {
	bytes   []byte
	stored  bool // the value is on disk
	checked bool // external validity was checked, with the result invalid
	invalid error
}

// peer has the state that bounds the answers to a peer.
type peer struct {
	served       map[digest.Digest]bool // values sent since the last reconnect
	decisionSent bool                   // the decision was sent since the last reconnect
	again        uint32                 // highest round of a ResendRequest that was answered
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
	m := &Machine{
		cfg:    cfg,
		values: make(map[digest.Digest]*value),
		round:  1,
		rounds: make(map[uint32]*round),
		wanted: make(map[digest.Digest]protocols.Set),
		peers:  make([]peer, cfg.Committee.N()),
	}
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
	if m.decision != nil || !m.input.IsZero() {
		return s, nil
	}
	if len(value) > MaxValue {
		return s, fmt.Errorf("agreement %s: the input has %d bytes, at most %d allowed", m.cfg.Instance, len(value), MaxValue)
	}
	if err := m.cfg.Valid(value); err != nil {
		return s, fmt.Errorf("agreement %s: the input is invalid: %w", m.cfg.Instance, err)
	}
	m.input = DigestOf(value)
	m.hold(m.input, value)
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
		m.handleFetchValue(&s, from, x)
		return s
	case *Value:
		m.handleValue(x)
	case *Decision:
		m.handleDecision(&s, x)
	default:
		if m.decision != nil {
			m.sendDecision(&s, from)
			return s
		}
		m.process(&s, from, msg)
	}
	m.advance(&s)
	return s
}

// process takes a message of an undecided instance, from a peer or from this replica itself.
func (m *Machine) process(s *Step, from protocols.Index, msg protocols.Message) {
	switch x := msg.(type) {
	case *Proposal:
		m.handleProposal(s, from, x)
	case *Echo:
		m.handleEcho(s, from, x)
	case *Lock:
		m.handleLock(from, x)
	case *Accept:
		m.handleAccept(s, from, x)
	case *Finish:
		m.handleFinish(from, x)
	case *coin.Release:
		m.handleRelease(from, x)
	case *coin.Relay:
		m.handleRelay(from, x)
	case *PreVote:
		m.handlePreVote(s, from, x)
	case *Vote:
		m.handleVote(s, from, x)
	case *ResendRequest:
		m.handleResendRequest(s, from, x)
	}
}

// Resend sends a peer again all messages that it may have missed. It is called after a reconnect, also after a restart.
func (m *Machine) Resend(peer protocols.Index) Step {
	var s Step
	m.peers[peer].served = nil
	m.peers[peer].decisionSent = m.decision != nil
	m.resend(&s, peer)
	return s
}

// resend sends a peer all kept messages.
func (m *Machine) resend(s *Step, peer protocols.Index) {
	for _, k := range m.kept {
		if k.To == protocols.Everyone || k.To == protocols.To(peer) {
			s.Send(peer, k.Message)
		}
	}
}

// Decision is the certificate of a decided instance, or nil. It may be there before the value.
func (m *Machine) Decision() *Decision { return m.decision }

// Round is the current round, or the round of this replica when the instance was decided.
func (m *Machine) Round() uint32 { return m.round }

// advance applies the rules of the current round, in the order of the paper, until none applies. Then it delivers a decided
// value.
func (m *Machine) advance(s *Step) {
	for m.changed = true; m.changed && m.decision == nil; {
		m.changed = false
		r := m.slot(m.round)
		m.propose(s, r)
		m.echo(s, r)
		m.lock(s, r)
		m.accept(s, r)
		m.finish(s, r)
		m.release(s, r)
		m.elect(s, r)
		m.preVote(s, r)
		m.vote(s, r)
		m.conclude(s, r)
	}
	m.deliver(s)
}

// post persists and sends an own message, and processes it as the other replicas will. A message to Self is not sent.
func (m *Machine) post(s *Step, to protocols.To, msg protocols.Message) {
	m.changed = true
	s.Record(m.messageKey(to, msg), m.messageRecord(msg))
	m.send(s, to, msg)
	if to == protocols.Everyone || to == protocols.To(m.cfg.Self) {
		m.process(s, m.cfg.Self, msg)
	}
}

// send sends a message. Resend sends it again until the round is left.
func (m *Machine) send(s *Step, to protocols.To, msg protocols.Message) {
	if to == protocols.To(m.cfg.Self) {
		return
	}
	out := protocols.Send{To: to, Message: msg}
	m.kept = append(m.kept, out)
	s.Sends = append(s.Sends, out)
}

// hold keeps a value in memory.
func (m *Machine) hold(d digest.Digest, bytes []byte) {
	if m.values[d] == nil {
		m.values[d] = &value{bytes: bytes}
	}
}

// store persists a held value. It is called before anything is signed for the value.
func (m *Machine) store(s *Step, d digest.Digest) {
	if v := m.values[d]; !v.stored {
		v.stored = true
		s.Record(m.valueKey(d), v.bytes)
	}
}

// want requests a value that at least f+1 honest replicas among signers hold. It asks f+1 of them. Different replicas begin
// at different signers, to distribute the load.
func (m *Machine) want(s *Step, d digest.Digest, signers protocols.Set) {
	members := signers.Members()
	start, _ := slices.BinarySearch(members, m.cfg.Self)
	asked := 0
	for k := range members {
		if asked == m.cfg.Committee.WeakQuorum() {
			return
		}
		if i := members[(start+k)%len(members)]; i != m.cfg.Self {
			m.ask(s, d, i)
			asked++
		}
	}
}

// valid is the external validity of a held value. It calls Config.Valid once for each value.
func (m *Machine) valid(v *value) error {
	if !v.checked {
		v.checked, v.invalid = true, m.cfg.Valid(v.bytes)
	}
	return v.invalid
}

// keepFetches deletes the kept messages, except requests for values that are still wanted.
func (m *Machine) keepFetches() {
	m.kept = slices.DeleteFunc(m.kept, func(k protocols.Send) bool {
		w, ok := k.Message.(*FetchValue)
		if ok {
			_, ok = m.wanted[w.Digest]
		}
		return !ok
	})
}

// ask requests a value from one replica, once.
func (m *Machine) ask(s *Step, d digest.Digest, i protocols.Index) {
	asked := m.wanted[d]
	if asked.Add(i) {
		m.wanted[d] = asked
		m.send(s, protocols.To(i), &FetchValue{m.cfg.Instance, d})
	}
}

// upon FetchValue: answer, once for each connection, if the value is held.
func (m *Machine) handleFetchValue(s *Step, from protocols.Index, x *FetchValue) {
	v := m.values[x.Digest]
	if v == nil {
		if m.decision != nil {
			m.sendDecision(s, from)
		}
		return
	}
	p := &m.peers[from]
	if p.served[x.Digest] {
		return
	}
	if p.served == nil {
		p.served = make(map[digest.Digest]bool)
	}
	p.served[x.Digest] = true
	s.Send(from, newValue(m.cfg.Instance, v.bytes))
}

// upon Value: keep it, if it was requested.
func (m *Machine) handleValue(x *Value) {
	if _, ok := m.wanted[x.digest]; ok {
		delete(m.wanted, x.digest)
		m.hold(x.digest, x.Value)
	}
}

// upon ResendRequest: send all messages again, at most once for each round.
func (m *Machine) handleResendRequest(s *Step, from protocols.Index, x *ResendRequest) {
	if p := &m.peers[from]; x.Round > p.again && x.Round <= m.round {
		p.again = x.Round
		m.resend(s, from)
	}
}
