package mvba

import (
	"bdtnode/protocols"
	"bdtnode/protocols/coin"
)

// The first part of a round (Speeding Dumbo, section 5, "strong provable broadcast"): every replica broadcasts a value in
// two phases. When n-f broadcasts are complete, the coin is tossed.

// propose starts the own broadcast of the round, as soon as the value to propose is held.
func (m *Machine) propose(s *Step, r *round) {
	if r.mine != nil {
		return
	}
	d := m.input
	if m.why != nil && m.why.Key != nil {
		if d = m.why.Key.Digest; m.values[d] == nil {
			m.want(s, d, m.why.Key.Echoes.Signers)
			return
		}
	}
	if d.IsZero() {
		return
	}
	m.store(s, d)
	p := &Proposal{At: r.at, Digest: d, Justification: m.why}
	if r.at.Round == 1 {
		p.Value = m.values[d].bytes
	}
	m.post(s, protocols.Everyone, p)
}

// upon Proposal of broadcaster j: enter its round if that is later and justified; the first Proposal of a round counts.
func (m *Machine) handleProposal(s *Step, from protocols.Index, x *Proposal) {
	if x.Round > m.round {
		m.enter(s, x.Round, x.Justification)
	}
	r := m.admit(from, x.Round)
	if r == nil {
		return
	}
	if first := r.proposals[from]; first != nil {
		if first.Digest != x.Digest {
			s.Blame(from, "proposes two values in round %d of agreement %s", x.Round, x.Instance)
		}
		return
	}
	r.proposals[from] = x
	if x.Round == 1 {
		m.hold(x.Digest, x.Value)
	}
	if from == m.cfg.Self {
		r.mine, r.echoes, r.accepts = x, protocols.NewTally(x.Digest), protocols.NewTally(x.Digest)
	}
}

// echo signs the first phase of each broadcast whose value is held and valid, at most one value for each broadcaster, until
// the coin is known.
func (m *Machine) echo(s *Step, r *round) {
	if r.toss.Known() {
		return
	}
	for j, p := range r.proposals {
		j := protocols.Index(j)
		if p == nil || r.echoed.Has(j) || r.refused.Has(j) {
			continue
		}
		v := m.values[p.Digest]
		if v == nil {
			m.ask(s, p.Digest, j)
			continue
		}
		if err := m.valid(v); err != nil {
			r.refused.Add(j)
			delete(m.values, p.Digest)
			s.Blame(j, "proposes an invalid value in round %d of agreement %s: %v", r.at.Round, r.at.Instance, err)
			continue
		}
		r.echoed.Add(j)
		m.store(s, p.Digest)
		statement := r.at.echoStatement(m.cfg.Committee, j, p.Digest)
		m.post(s, protocols.To(j), &Echo{r.at, j, p.Digest, m.cfg.Signer.Sign(statement)})
	}
}

// upon Echo for the own broadcast: count it.
func (m *Machine) handleEcho(s *Step, from protocols.Index, x *Echo) {
	r := m.admit(from, x.Round)
	if r == nil {
		return
	}
	if from == m.cfg.Self {
		r.echoed.Add(x.Broadcaster)
	}
	if x.Broadcaster != m.cfg.Self {
		return
	}
	if r.mine == nil || x.Digest != r.mine.Digest {
		s.Blame(from, "echoes a value that was not proposed to it in round %d of agreement %s", x.Round, x.Instance)
		return
	}
	r.echoes.Add(from, x.Signature)
}

// upon n-f echoes for the own broadcast: the first phase ends; send their certificate.
func (m *Machine) lock(s *Step, r *round) {
	if r.mine == nil || r.locked || r.toss.Known() || r.echoes.Len() < m.cfg.Committee.Quorum() {
		return
	}
	m.post(s, protocols.Everyone, &Lock{r.at, r.mine.Digest, r.echoes.Certificate()})
}

// upon Lock of broadcaster j: keep the first-phase proof.
func (m *Machine) handleLock(from protocols.Index, x *Lock) {
	r := m.admit(from, x.Round)
	if r == nil {
		return
	}
	if from == m.cfg.Self {
		r.locked = true
	}
	if r.locks[from] == nil {
		r.locks[from] = x
	}
}

// accept signs the second phase of each broadcast whose first-phase proof and value are held, until the coin is known. It
// must stop then: the elected broadcast must not complete if this replica pre-voted no.
func (m *Machine) accept(s *Step, r *round) {
	if r.toss.Known() {
		return
	}
	for j, l := range r.locks {
		j := protocols.Index(j)
		if l == nil || r.accepted.Has(j) || m.values[l.Digest] == nil {
			continue
		}
		r.accepted.Add(j)
		m.store(s, l.Digest)
		s.Record(m.evidenceKey(j), m.messageRecord(l))
		statement := r.at.acceptStatement(m.cfg.Committee, j, l.Digest)
		m.post(s, protocols.To(j), &Accept{r.at, j, l.Digest, m.cfg.Signer.Sign(statement)})
	}
}

// upon Accept for the own broadcast: count it.
func (m *Machine) handleAccept(s *Step, from protocols.Index, x *Accept) {
	r := m.admit(from, x.Round)
	if r == nil {
		return
	}
	if from == m.cfg.Self {
		r.accepted.Add(x.Broadcaster)
	}
	if x.Broadcaster != m.cfg.Self {
		return
	}
	if r.mine == nil || x.Digest != r.mine.Digest {
		s.Blame(from, "accepts a value that was not proposed to it in round %d of agreement %s", x.Round, x.Instance)
		return
	}
	r.accepts.Add(from, x.Signature)
}

// upon n-f accepts for the own broadcast: the second phase ends; send their certificate.
func (m *Machine) finish(s *Step, r *round) {
	if r.mine == nil || r.completed || r.accepts.Len() < m.cfg.Committee.Quorum() {
		return
	}
	m.post(s, protocols.Everyone, &Finish{r.at, r.mine.Digest, r.accepts.Certificate()})
}

// upon Finish of broadcaster j: its broadcast is complete.
func (m *Machine) handleFinish(from protocols.Index, x *Finish) {
	r := m.admit(from, x.Round)
	if r == nil {
		return
	}
	if from == m.cfg.Self {
		r.completed = true
	}
	if r.finished.Add(from) {
		r.finishes[from] = x
	}
}

// upon n-f complete broadcasts of distinct replicas: release the own share of the coin. It is never released before. So when
// the coin becomes known, n-f broadcasts are complete, and the adversary cannot choose them after that. The coin elects one
// of them with probability (n-f)/n.
func (m *Machine) release(s *Step, r *round) {
	if r.released || r.toss.Known() || r.finished.Len() < m.cfg.Committee.Quorum() {
		return
	}
	name := r.at.toss()
	m.post(s, protocols.Everyone, &coin.Release{Name: name, Share: m.cfg.Shares.Share(name.Statement(m.cfg.Committee))})
}

// upon Release: count the share.
func (m *Machine) handleRelease(from protocols.Index, x *coin.Release) {
	r := m.admit(from, x.Name.Round)
	if r == nil {
		return
	}
	if from == m.cfg.Self {
		r.released = true
	}
	m.changed = r.toss.Add(from, x.Share) || m.changed
}

// upon Relay: the coin is known.
func (m *Machine) handleRelay(from protocols.Index, x *coin.Relay) {
	r := m.admit(from, x.Name.Round)
	if r == nil {
		return
	}
	if from == m.cfg.Self {
		r.relayed = true
	}
	m.changed = r.toss.Learn(&x.Shares) || m.changed
}
