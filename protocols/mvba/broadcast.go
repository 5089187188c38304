package mvba

import (
	"bdtnode/internal/digest"
	"bdtnode/protocols"
	"bdtnode/protocols/coin"
)

// broadcasts is the first part of a round (Speeding Dumbo, section 5, "strong provable broadcast"): every replica broadcasts a
// value in two phases. It has the first message of each kind from each peer, and the progress of this replica.
type broadcasts struct {
	*shared
	at        At
	toss      *coin.Toss // of the round: once it is known, nothing is signed for a broadcast any more
	proposals []*Proposal
	locks     []*Lock
	finishes  []*Finish
	finished  protocols.Set // broadcasters of finishes
	echoed    protocols.Set // broadcasters echoed by this replica
	accepted  protocols.Set // broadcasters accepted by this replica
	refused   protocols.Set // broadcasters of invalid values

	own               *Proposal        // own proposal; nil before
	echoes            *protocols.Tally // for own
	accepts           *protocols.Tally // for own
	locked, completed bool             // Lock, and Finish, of own were sent
}

func newBroadcasts(x *shared, at At, toss *coin.Toss) broadcasts {
	n := x.cfg.Committee.N()
	return broadcasts{
		shared: x, at: at, toss: toss, proposals: make([]*Proposal, n), locks: make([]*Lock, n), finishes: make([]*Finish, n),
	}
}

// upon entering a round: start the own broadcast, as soon as the value to propose is held. That is the value of the key in
// the justification of the round, or the input of this replica if there is no such key.
func (b *broadcasts) propose(s *Step, input digest.Digest, why *Justification) {
	if b.own != nil {
		return
	}
	d := input
	if why != nil && why.Key != nil {
		if d = why.Key.Digest; b.values.held[d] == nil {
			b.values.request(s, d, why.Key.Echoes.Signers)
			return
		}
	}
	if d.IsZero() {
		return
	}
	b.values.store(s, d)
	p := &Proposal{At: b.at, Digest: d, Justification: why}
	if b.at.Round == 1 {
		p.Value = b.values.held[d].bytes
	}
	b.post(s, protocols.Everyone, p)
}

// upon Proposal of broadcaster j: the first one counts.
func (b *broadcasts) handleProposal(s *Step, from protocols.Index, x *Proposal) {
	if first := b.proposals[from]; first != nil {
		if first.Digest != x.Digest {
			s.Blame(from, "proposes two values in round %d of agreement %s", x.Round, x.Instance)
		}
		return
	}
	b.proposals[from] = x
	if x.Round == 1 {
		b.values.hold(x.Digest, x.Value)
	}
	if from == b.cfg.Self {
		b.own, b.echoes, b.accepts = x, protocols.NewTally(x.Digest), protocols.NewTally(x.Digest)
	}
}

// upon a proposal whose value is held and valid: sign its first phase, at most one value for each broadcaster, until the coin
// is known.
func (b *broadcasts) echo(s *Step) {
	if b.toss.Known() {
		return
	}
	for j, p := range b.proposals {
		j := protocols.Index(j)
		if p == nil || b.echoed.Has(j) || b.refused.Has(j) {
			continue
		}
		v := b.values.held[p.Digest]
		if v == nil {
			b.values.ask(s, p.Digest, j)
			continue
		}
		if err := b.values.valid(v); err != nil {
			b.refused.Add(j)
			delete(b.values.held, p.Digest)
			s.Blame(j, "proposes an invalid value in round %d of agreement %s: %v", b.at.Round, b.at.Instance, err)
			continue
		}
		b.echoed.Add(j)
		b.values.store(s, p.Digest)
		statement := b.at.echoStatement(b.cfg.Committee, j, p.Digest)
		b.post(s, protocols.To(j), &Echo{b.at, j, p.Digest, b.cfg.Signer.Sign(statement)})
	}
}

// upon Echo for the own broadcast: count it.
func (b *broadcasts) handleEcho(s *Step, from protocols.Index, x *Echo) {
	if from == b.cfg.Self {
		b.echoed.Add(x.Broadcaster)
	}
	if x.Broadcaster != b.cfg.Self {
		return
	}
	if b.own == nil || x.Digest != b.own.Digest {
		s.Blame(from, "echoes a value that was not proposed to it in round %d of agreement %s", x.Round, x.Instance)
		return
	}
	b.echoes.Add(from, x.Signature)
}

// upon n-f echoes for the own broadcast: the first phase ends; send their certificate.
func (b *broadcasts) lock(s *Step) {
	if b.own == nil || b.locked || b.toss.Known() || b.echoes.Len() < b.cfg.Committee.Quorum() {
		return
	}
	b.post(s, protocols.Everyone, &Lock{b.at, b.own.Digest, b.echoes.Certificate()})
}

// upon Lock of broadcaster j: keep the first-phase proof.
func (b *broadcasts) handleLock(from protocols.Index, x *Lock) {
	if from == b.cfg.Self {
		b.locked = true
	}
	if b.locks[from] == nil {
		b.locks[from] = x
	}
}

// upon a first-phase proof whose value is held: sign the second phase, until the coin is known. It must stop then: the
// elected broadcast must not complete if this replica pre-voted no.
func (b *broadcasts) accept(s *Step) {
	if b.toss.Known() {
		return
	}
	for j, l := range b.locks {
		j := protocols.Index(j)
		if l == nil || b.accepted.Has(j) || b.values.held[l.Digest] == nil {
			continue
		}
		b.accepted.Add(j)
		b.values.store(s, l.Digest)
		s.Record(b.cfg.Instance.evidenceKey(j), messageRecord(l))
		statement := b.at.acceptStatement(b.cfg.Committee, j, l.Digest)
		b.post(s, protocols.To(j), &Accept{b.at, j, l.Digest, b.cfg.Signer.Sign(statement)})
	}
}

// upon Accept for the own broadcast: count it.
func (b *broadcasts) handleAccept(s *Step, from protocols.Index, x *Accept) {
	if from == b.cfg.Self {
		b.accepted.Add(x.Broadcaster)
	}
	if x.Broadcaster != b.cfg.Self {
		return
	}
	if b.own == nil || x.Digest != b.own.Digest {
		s.Blame(from, "accepts a value that was not proposed to it in round %d of agreement %s", x.Round, x.Instance)
		return
	}
	b.accepts.Add(from, x.Signature)
}

// upon n-f accepts for the own broadcast: the second phase ends; send their certificate.
func (b *broadcasts) finish(s *Step) {
	if b.own == nil || b.completed || b.accepts.Len() < b.cfg.Committee.Quorum() {
		return
	}
	b.post(s, protocols.Everyone, &Finish{b.at, b.own.Digest, b.accepts.Certificate()})
}

// upon Finish of broadcaster j: its broadcast is complete.
func (b *broadcasts) handleFinish(from protocols.Index, x *Finish) {
	if from == b.cfg.Self {
		b.completed = true
	}
	if b.finished.Add(from) {
		b.finishes[from] = x
	}
}
