package mvba

import (
	"fmt"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/protocols"
	"bdtnode/protocols/coin"
)

// round is the state of one round: the first message of each kind from each peer, and the progress of this replica.
type round struct {
	at        At
	proposals []*Proposal
	locks     []*Lock
	finishes  []*Finish
	finished  protocols.Set
	preVotes  []*PreVote
	votes     []*Vote
	toss      *coin.Toss

	mine     *Proposal        // own proposal; nil before
	echoes   *protocols.Tally // for mine
	accepts  *protocols.Tally // for mine
	echoed   protocols.Set    // broadcasters echoed by this replica
	accepted protocols.Set    // broadcasters accepted by this replica
	refused  protocols.Set    // broadcasters of invalid values
	key      *Key             // key of the elected broadcast; nil before

	locked, completed, released, relayed, preVoted, voted bool
}

// slot is the state of round n, which is the current round or in the window.
func (m *Machine) slot(n uint32) *round {
	r := m.rounds[n]
	if r == nil {
		c := m.cfg.Committee
		at := At{m.cfg.Instance, n}
		r = &round{
			at:        at,
			proposals: make([]*Proposal, c.N()),
			locks:     make([]*Lock, c.N()),
			finishes:  make([]*Finish, c.N()),
			preVotes:  make([]*PreVote, c.N()),
			votes:     make([]*Vote, c.N()),
			toss:      coin.NewToss(c, m.cfg.Coin, at.toss()),
		}
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
	s.Record(m.stateKey(), m.stateRecord())
	for old := range m.rounds {
		if old < n {
			delete(m.rounds, old)
		}
	}
	m.keepFetches()
	for _, i := range m.refused.Members() {
		m.send(s, protocols.To(i), &ResendRequest{At{m.cfg.Instance, n}})
	}
	m.refused = protocols.Set{}
}

// raise keeps k if it is the highest key so far.
func (m *Machine) raise(k *Key) {
	if m.high == nil || k.Round > m.high.Round {
		m.high = k
	}
}

// learnKey keeps the first-phase proof of the broadcast that the coin of the round elected. It panics if there is one for
// another digest already.
func (m *Machine) learnKey(r *round, d digest.Digest, echoes protocols.Certificate) {
	if r.key != nil {
		if r.key.Digest != d {
			panic(fmt.Sprintf("mvba: round %d of %s has two first-phase proofs for one broadcast: more than f replicas are Byzantine",
				r.at.Round, r.at.Instance))
		}
		return
	}
	r.key = &Key{Round: r.at.Round, Leader: r.toss.Leader(), Digest: d, Echoes: echoes, Coin: r.toss.Proof()}
	m.raise(r.key)
}

// signatures makes a certificate of the first n-f replicas for which get has a signature. It reports whether there are so
// many.
func (m *Machine) signatures(get func(i protocols.Index) (sig.Signature, bool)) (protocols.Certificate, bool) {
	var cert protocols.Certificate
	for i := range protocols.Index(m.cfg.Committee.N()) {
		if s, ok := get(i); ok {
			cert.Signers.Add(i)
			cert.Signatures = append(cert.Signatures, s)
			if len(cert.Signatures) == m.cfg.Committee.Quorum() {
				return cert, true
			}
		}
	}
	return protocols.Certificate{}, false
}
