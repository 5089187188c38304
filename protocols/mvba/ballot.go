package mvba

import (
	"fmt"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/protocols"
	"bdtnode/protocols/coin"
)

// ballot is the third part of a round (Speeding Dumbo, section 5). If the elected broadcast is not known to be complete,
// pre-votes and votes decide its value or lead to the next round. It has the first message of each kind from each peer.
type ballot struct {
	*shared
	at       At
	toss     *coin.Toss
	preVotes []*PreVote
	votes    []*Vote
	key      *Key // key of the elected broadcast; nil before

	preVoted, voted bool // own messages were sent
}

func newBallot(x *shared, at At, toss *coin.Toss) ballot {
	n := x.cfg.Committee.N()
	return ballot{shared: x, at: at, toss: toss, preVotes: make([]*PreVote, n), votes: make([]*Vote, n)}
}

// learnKey keeps the first-phase proof of the broadcast that the coin of the round elected. It panics if there is one for
// another digest already.
func (b *ballot) learnKey(d digest.Digest, echoes protocols.Certificate) {
	if b.key != nil {
		if b.key.Digest != d {
			panic(fmt.Sprintf("mvba: round %d of %s has two first-phase proofs for one broadcast: more than f replicas are Byzantine",
				b.at.Round, b.at.Instance))
		}
		return
	}
	b.key = &Key{Round: b.at.Round, Leader: b.toss.Leader(), Digest: d, Echoes: echoes, Coin: b.toss.Proof()}
	b.raise(b.key)
}

// upon the coin: pre-vote at once, yes with the first-phase proof of the elected broadcast if it is held, else no. The state
// of the own broadcast does not matter.
func (b *ballot) preVote(s *Step, locks []*Lock) {
	if !b.toss.Known() {
		return
	}
	leader := b.toss.Leader()
	if l := locks[leader]; l != nil {
		b.learnKey(l.Digest, l.Echoes)
	}
	if b.preVoted {
		return
	}
	v := &PreVote{At: b.at, Leader: leader}
	if b.key != nil {
		v.Yes, v.Digest, v.Echoes = true, b.key.Digest, b.key.Echoes
	} else {
		v.Signature = b.cfg.Signer.Sign(b.at.noPreVoteStatement(b.cfg.Committee))
	}
	b.post(s, protocols.Everyone, v)
}

// upon PreVote: the first of each peer counts.
func (b *ballot) handlePreVote(s *Step, from protocols.Index, x *PreVote) {
	if from == b.cfg.Self {
		b.preVoted = true
	}
	if first := b.preVotes[from]; first != nil {
		if first.Yes != x.Yes || first.Digest != x.Digest {
			s.Blame(from, "pre-votes twice in round %d of agreement %s", x.Round, x.Instance)
		}
		return
	}
	b.preVotes[from] = x
}

// upon the first-phase proof of the elected broadcast, from any message, once its value is held: cast a yes-vote. Upon n-f
// no-pre-votes: cast a no-vote.
func (b *ballot) vote(s *Step) {
	if !b.toss.Known() {
		return
	}
	leader := b.toss.Leader()
	for i, v := range b.preVotes {
		switch {
		case v == nil:
		case v.Leader != leader:
			s.Blame(protocols.Index(i), "pre-votes on replica %d in round %d of agreement %s, which elects %d", v.Leader, v.Round, v.Instance, leader)
			b.preVotes[i] = nil
		case v.Yes:
			b.learnKey(v.Digest, v.Echoes)
		}
	}
	for i, v := range b.votes {
		switch {
		case v == nil:
		case v.Leader != leader:
			s.Blame(protocols.Index(i), "votes on replica %d in round %d of agreement %s, which elects %d", v.Leader, v.Round, v.Instance, leader)
			b.votes[i] = nil
		case v.Yes:
			b.learnKey(v.Digest, v.Echoes)
		}
	}
	if b.voted {
		return
	}
	if b.key != nil {
		if b.values.held[b.key.Digest] == nil {
			b.values.request(s, b.key.Digest, b.key.Echoes.Signers)
			return
		}
		b.values.store(s, b.key.Digest)
		statement := b.at.acceptStatement(b.cfg.Committee, leader, b.key.Digest)
		b.post(s, protocols.Everyone, &Vote{At: b.at, Leader: leader, Yes: true, Digest: b.key.Digest, Echoes: b.key.Echoes,
			Signature: b.cfg.Signer.Sign(statement)})
		return
	}
	no, ok := signatures(b.cfg.Committee, func(i protocols.Index) (sig.Signature, bool) {
		if v := b.preVotes[i]; v != nil && !v.Yes {
			return v.Signature, true
		}
		return sig.Signature{}, false
	})
	if !ok {
		return
	}
	v := &Vote{At: b.at, Leader: leader, NoPreVotes: no, Key: b.high}
	v.Signature = b.cfg.Signer.Sign(b.at.noVoteStatement(b.cfg.Committee, v.claim()))
	b.post(s, protocols.Everyone, v)
}

// upon Vote: the first of each peer counts.
func (b *ballot) handleVote(s *Step, from protocols.Index, x *Vote) {
	if from == b.cfg.Self {
		b.voted = true
	}
	if first := b.votes[from]; first != nil {
		if first.Yes != x.Yes || first.Digest != x.Digest {
			s.Blame(from, "votes twice in round %d of agreement %s", x.Round, x.Instance)
		}
		return
	}
	b.votes[from] = x
}

// upon n-f yes-votes: decide. Upon n-f votes with some no among them: enter the next round, with the elected value if there
// was a yes-vote, else with the value of the highest key that n-f no-votes claim, or with any value if they claim none. At
// most one of the results is not nil.
func (b *ballot) conclude() (*Decision, *Justification) {
	if !b.toss.Known() {
		return nil, nil
	}
	yes, ok := signatures(b.cfg.Committee, func(i protocols.Index) (sig.Signature, bool) {
		if v := b.votes[i]; v != nil && v.Yes {
			return v.Signature, true
		}
		return sig.Signature{}, false
	})
	if ok {
		return &Decision{b.at, b.toss.Leader(), b.key.Digest, yes, b.toss.Proof()}, nil
	}
	var no []*Vote
	var refusing NoVotes
	total := 0
	for i, v := range b.votes {
		if v == nil {
			continue
		}
		total++
		if !v.Yes && len(no) < b.cfg.Committee.Quorum() {
			no = append(no, v)
			refusing.Signers.Add(protocols.Index(i))
			refusing.Claims = append(refusing.Claims, v.claim())
			refusing.Signatures = append(refusing.Signatures, v.Signature)
		}
	}
	if total < b.cfg.Committee.Quorum() {
		return nil, nil
	}
	if b.key != nil {
		return nil, &Justification{Key: b.key, NoPreVotes: no[0].NoPreVotes}
	}
	why := &Justification{NoVotes: refusing}
	for _, v := range no {
		if v.claim() == refusing.highest() {
			why.Key = v.Key
		}
	}
	return nil, why
}
