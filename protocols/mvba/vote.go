package mvba

import (
	"bdtnode/internal/sig"
	"bdtnode/protocols"
	"bdtnode/protocols/coin"
)

// The second part of a round (Speeding Dumbo, section 5): the coin elects a broadcast. If it is complete, its value is
// decided. If not, pre-votes and votes decide it or lead to the next round.

// upon f+1 shares: relay them, so that all replicas learn the coin, and decide if the elected broadcast is complete.
func (m *Machine) elect(s *Step, r *round) {
	if !r.toss.Known() {
		return
	}
	if !r.relayed {
		m.post(s, protocols.Everyone, &coin.Relay{Name: r.at.toss(), Shares: r.toss.Proof()})
	}
	if f := r.finishes[r.toss.Leader()]; f != nil {
		m.decide(s, &Decision{r.at, r.toss.Leader(), f.Digest, f.Accepts, r.toss.Proof()})
	}
}

// upon the coin: pre-vote at once, yes with the first-phase proof of the elected broadcast if it is held, else no. The state
// of the own broadcast does not matter.
func (m *Machine) preVote(s *Step, r *round) {
	if m.decision != nil || !r.toss.Known() {
		return
	}
	leader := r.toss.Leader()
	if l := r.locks[leader]; l != nil {
		m.learnKey(r, l.Digest, l.Echoes)
	}
	if r.preVoted {
		return
	}
	v := &PreVote{At: r.at, Leader: leader}
	if r.key != nil {
		v.Yes, v.Digest, v.Echoes = true, r.key.Digest, r.key.Echoes
	} else {
		v.Signature = m.cfg.Signer.Sign(r.at.noPreVoteStatement(m.cfg.Committee))
	}
	m.post(s, protocols.Everyone, v)
}

// upon PreVote: the first of each peer counts.
func (m *Machine) handlePreVote(s *Step, from protocols.Index, x *PreVote) {
	r := m.admit(from, x.Round)
	if r == nil {
		return
	}
	if from == m.cfg.Self {
		r.preVoted = true
	}
	if first := r.preVotes[from]; first != nil {
		if first.Yes != x.Yes || first.Digest != x.Digest {
			s.Blame(from, "pre-votes twice in round %d of agreement %s", x.Round, x.Instance)
		}
		return
	}
	r.preVotes[from] = x
}

// vote casts a yes-vote upon the first-phase proof of the elected broadcast, from any message, once its value is held; and a
// no-vote upon n-f no-pre-votes.
func (m *Machine) vote(s *Step, r *round) {
	if m.decision != nil || !r.toss.Known() {
		return
	}
	leader := r.toss.Leader()
	for i, v := range r.preVotes {
		switch {
		case v == nil:
		case v.Leader != leader:
			s.Blame(protocols.Index(i), "pre-votes on replica %d in round %d of agreement %s, which elects %d", v.Leader, v.Round, v.Instance, leader)
			r.preVotes[i] = nil
		case v.Yes:
			m.learnKey(r, v.Digest, v.Echoes)
		}
	}
	for i, v := range r.votes {
		switch {
		case v == nil:
		case v.Leader != leader:
			s.Blame(protocols.Index(i), "votes on replica %d in round %d of agreement %s, which elects %d", v.Leader, v.Round, v.Instance, leader)
			r.votes[i] = nil
		case v.Yes:
			m.learnKey(r, v.Digest, v.Echoes)
		}
	}
	if r.voted {
		return
	}
	if r.key != nil {
		if m.values[r.key.Digest] == nil {
			m.want(s, r.key.Digest, r.key.Echoes.Signers)
			return
		}
		m.store(s, r.key.Digest)
		statement := r.at.acceptStatement(m.cfg.Committee, leader, r.key.Digest)
		m.post(s, protocols.Everyone, &Vote{At: r.at, Leader: leader, Yes: true, Digest: r.key.Digest, Echoes: r.key.Echoes,
			Signature: m.cfg.Signer.Sign(statement)})
		return
	}
	no, ok := m.signatures(func(i protocols.Index) (sig.Signature, bool) {
		if v := r.preVotes[i]; v != nil && !v.Yes {
			return v.Signature, true
		}
		return sig.Signature{}, false
	})
	if !ok {
		return
	}
	v := &Vote{At: r.at, Leader: leader, NoPreVotes: no, Key: m.high}
	v.Signature = m.cfg.Signer.Sign(r.at.noVoteStatement(m.cfg.Committee, v.claim()))
	m.post(s, protocols.Everyone, v)
}

// upon Vote: the first of each peer counts.
func (m *Machine) handleVote(s *Step, from protocols.Index, x *Vote) {
	r := m.admit(from, x.Round)
	if r == nil {
		return
	}
	if from == m.cfg.Self {
		r.voted = true
	}
	if first := r.votes[from]; first != nil {
		if first.Yes != x.Yes || first.Digest != x.Digest {
			s.Blame(from, "votes twice in round %d of agreement %s", x.Round, x.Instance)
		}
		return
	}
	r.votes[from] = x
}

// conclude decides upon n-f yes-votes. Upon n-f votes with some no among them it enters the next round: with the elected
// value if there was a yes-vote, else with the value of the highest key that n-f no-votes claim, or with any value if they
// claim none.
func (m *Machine) conclude(s *Step, r *round) {
	if m.decision != nil || !r.toss.Known() {
		return
	}
	yes, ok := m.signatures(func(i protocols.Index) (sig.Signature, bool) {
		if v := r.votes[i]; v != nil && v.Yes {
			return v.Signature, true
		}
		return sig.Signature{}, false
	})
	if ok {
		m.decide(s, &Decision{r.at, r.toss.Leader(), r.key.Digest, yes, r.toss.Proof()})
		return
	}
	var no []*Vote
	var refusing NoVotes
	total := 0
	for i, v := range r.votes {
		if v == nil {
			continue
		}
		total++
		if !v.Yes && len(no) < m.cfg.Committee.Quorum() {
			no = append(no, v)
			refusing.Signers.Add(protocols.Index(i))
			refusing.Claims = append(refusing.Claims, v.claim())
			refusing.Signatures = append(refusing.Signatures, v.Signature)
		}
	}
	if total < m.cfg.Committee.Quorum() {
		return
	}
	if r.key != nil {
		m.enter(s, r.at.Round+1, &Justification{Key: r.key, NoPreVotes: no[0].NoPreVotes})
		return
	}
	why := &Justification{NoVotes: refusing}
	for _, v := range no {
		if v.claim() == refusing.highest() {
			why.Key = v.Key
		}
	}
	m.enter(s, r.at.Round+1, why)
}

// decide takes a decision that this replica made.
func (m *Machine) decide(s *Step, d *Decision) {
	m.changed = true
	m.settle(s, d)
}

// upon Decision: the instance is decided.
func (m *Machine) handleDecision(s *Step, x *Decision) {
	if m.decision == nil {
		m.settle(s, x)
	}
}

// settle ends the instance. It persists the certificate and sends it once to all, and deletes all state except the decided
// value.
func (m *Machine) settle(s *Step, d *Decision) {
	m.decision = d
	s.Record(m.decisionKey(), m.messageRecord(d))
	m.rounds, m.refused, m.why, m.high = nil, protocols.Set{}, nil, nil
	for other := range m.values {
		if other != d.Digest {
			delete(m.values, other)
		}
	}
	for other := range m.wanted {
		if other != d.Digest {
			delete(m.wanted, other)
		}
	}
	m.keepFetches()
	m.send(s, protocols.Everyone, d)
}

// deliver gives the decided value to the parent when it is held. If it is missing, deliver requests it from replicas that
// accepted it.
func (m *Machine) deliver(s *Step) {
	if m.decision == nil || m.emitted {
		return
	}
	v := m.values[m.decision.Digest]
	if v == nil {
		m.want(s, m.decision.Digest, m.decision.Accepts.Signers)
		return
	}
	m.store(s, m.decision.Digest)
	m.emitted = true
	s.Emit(Decided{Value: v.bytes, Decision: m.decision})
}

// SendDecision sends a peer the decision, if there is one and it was not sent since the last reconnect.
func (m *Machine) SendDecision(peer protocols.Index) Step {
	var s Step
	if m.decision != nil {
		m.sendDecision(&s, peer)
	}
	return s
}

// sendDecision sends the decision to a peer, once for each connection.
func (m *Machine) sendDecision(s *Step, peer protocols.Index) {
	if p := &m.peers[peer]; !p.decisionSent {
		p.decisionSent = true
		s.Send(peer, m.decision)
	}
}
