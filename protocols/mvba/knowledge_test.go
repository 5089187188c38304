package mvba

import (
	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/protocols"
	"bdtnode/protocols/coin"
)

// knowledge is the information of the adversary: everything that it learns from messages of honest replicas and can compute
// with the keys of the Byzantine replicas: certificates, justifications, and the coin of a round as soon as f+1 shares exist,
// its own included.
type knowledge struct {
	w      *world
	rounds map[uint32]*roundKnowledge
	values map[digest.Digest][]byte
	last   uint32
}

type broadcastName struct {
	by protocols.Index
	d  digest.Digest
}

// roundKnowledge is the knowledge about one round.
type roundKnowledge struct {
	at        At
	proposals map[protocols.Index]digest.Digest
	echoes    map[broadcastName]map[protocols.Index]sig.Signature
	accepts   map[broadcastName]map[protocols.Index]sig.Signature
	noPre     map[protocols.Index]sig.Signature
	noVotes   map[protocols.Index]*Vote
	shares    map[protocols.Index]coin.Share
	coinKnown bool // leader and proof are known
	leader    protocols.Index
	proof     coin.Shares
}

func newKnowledge(w *world) *knowledge {
	return &knowledge{w: w, rounds: make(map[uint32]*roundKnowledge), values: make(map[digest.Digest][]byte)}
}

func (k *knowledge) round(n uint32) *roundKnowledge {
	r := k.rounds[n]
	if r == nil {
		r = &roundKnowledge{at: At{theInstance, n},
			proposals: make(map[protocols.Index]digest.Digest),
			echoes:    make(map[broadcastName]map[protocols.Index]sig.Signature),
			accepts:   make(map[broadcastName]map[protocols.Index]sig.Signature),
			noPre:     make(map[protocols.Index]sig.Signature),
			noVotes:   make(map[protocols.Index]*Vote),
			shares:    make(map[protocols.Index]coin.Share),
		}
		k.rounds[n] = r
		k.last = max(k.last, n)
	}
	return r
}

func count(m map[broadcastName]map[protocols.Index]sig.Signature, by protocols.Index, d digest.Digest, i protocols.Index, s sig.Signature) {
	name := broadcastName{by, d}
	if m[name] == nil {
		m[name] = make(map[protocols.Index]sig.Signature)
	}
	m[name][i] = s
}

// learn adds a message of an honest replica.
func (k *knowledge) learn(from protocols.Index, msg protocols.Message) {
	switch m := msg.(type) {
	case *Proposal:
		k.round(m.Round).proposals[from] = m.Digest
		if m.Round == 1 {
			k.values[m.Digest] = m.Value
		}
	case *Echo:
		count(k.round(m.Round).echoes, m.Broadcaster, m.Digest, from, m.Signature)
	case *Accept:
		count(k.round(m.Round).accepts, m.Broadcaster, m.Digest, from, m.Signature)
	case *Lock: // it has the broadcaster's own signature, which no Echo showed
		for n, i := range m.Echoes.Signers.Members() {
			count(k.round(m.Round).echoes, from, m.Digest, i, m.Echoes.Signatures[n])
		}
	case *Finish:
		for n, i := range m.Accepts.Signers.Members() {
			count(k.round(m.Round).accepts, from, m.Digest, i, m.Accepts.Signatures[n])
		}
	case *PreVote:
		if !m.Yes {
			k.round(m.Round).noPre[from] = m.Signature
		}
	case *Vote:
		if m.Yes {
			count(k.round(m.Round).accepts, m.Leader, m.Digest, from, m.Signature)
		} else {
			k.round(m.Round).noVotes[from] = m
		}
	case *coin.Release:
		r := k.round(m.Name.Round)
		r.shares[from] = m.Share
		k.toss(r)
	}
}

// toss computes the coin of a round, if there are enough shares.
func (k *knowledge) toss(r *roundKnowledge) {
	if r.coinKnown {
		return
	}
	statement := r.at.toss().Statement(k.w.committee)
	for _, b := range k.w.byz() {
		r.shares[b] = k.w.holders[b].Share(statement)
	}
	var all coin.Shares
	for i := range protocols.Index(k.w.n) {
		if s, ok := r.shares[i]; ok && len(all.Shares) < k.w.committee.WeakQuorum() {
			all.Holders.Add(i)
			all.Shares = append(all.Shares, s)
		}
	}
	if len(all.Shares) < k.w.committee.WeakQuorum() {
		return
	}
	v, err := k.w.coin.Combine(statement, &all)
	if err != nil {
		panic(err)
	}
	r.coinKnown, r.leader, r.proof = true, v.Leader(k.w.n), all
}

// certificate makes a certificate of honest signatures and those of the Byzantine replicas. It reports whether there are
// enough.
func (k *knowledge) certificate(honest map[protocols.Index]sig.Signature, statement []byte) (protocols.Certificate, bool) {
	t := protocols.NewTally(digest.Digest{})
	for i := range protocols.Index(k.w.n) {
		if t.Len() == k.w.committee.Quorum() {
			break
		}
		if s, ok := honest[i]; ok {
			t.Add(i, s)
		} else if k.w.replicas[i] == nil {
			t.Add(i, k.w.signers[i].Sign(statement))
		}
	}
	return t.Certificate(), t.Len() == k.w.committee.Quorum()
}

// lockOf makes a first-phase proof, if it is possible.
func (k *knowledge) lockOf(r *roundKnowledge, by protocols.Index, d digest.Digest) (protocols.Certificate, bool) {
	return k.certificate(r.echoes[broadcastName{by, d}], r.at.echoStatement(k.w.committee, by, d))
}

// acceptOf makes a second-phase proof, if it is possible.
func (k *knowledge) acceptOf(r *roundKnowledge, by protocols.Index, d digest.Digest) (protocols.Certificate, bool) {
	return k.certificate(r.accepts[broadcastName{by, d}], r.at.acceptStatement(k.w.committee, by, d))
}

// noPreOf makes a certificate of no-pre-votes, if it is possible.
func (k *knowledge) noPreOf(r *roundKnowledge) (protocols.Certificate, bool) {
	return k.certificate(r.noPre, r.at.noPreVoteStatement(k.w.committee))
}

// complete is the number of broadcasts of a round that can be complete now.
func (k *knowledge) complete(n uint32) int {
	r := k.round(n)
	done := 0
	for by := range protocols.Index(k.w.n) {
		for name := range r.accepts {
			if _, ok := k.acceptOf(r, by, name.d); ok && name.by == by {
				done++
				break
			}
		}
	}
	return done
}

// key is the key of a round, if the adversary can make it; else nil.
func (k *knowledge) key(n uint32) *Key {
	r := k.rounds[n]
	if r == nil || !r.coinKnown {
		return nil
	}
	for _, d := range k.digests(r, r.leader) {
		if cert, ok := k.lockOf(r, r.leader, d); ok {
			return &Key{Round: n, Leader: r.leader, Digest: d, Echoes: cert, Coin: r.proof}
		}
	}
	return nil
}

// digests lists the digests of by's broadcast in a round that were echoed, in a fixed order.
func (k *knowledge) digests(r *roundKnowledge, by protocols.Index) []digest.Digest {
	var out []digest.Digest
	for name := range r.echoes {
		if name.by == by {
			out = append(out, name.d)
		}
	}
	sortDigests(out)
	return out
}

// justify makes the possible justifications of round n: by the key of the round before, and by its no-votes with the lowest
// claims.
func (k *knowledge) justify(n uint32) []*Justification {
	before := k.rounds[n-1]
	if before == nil {
		return nil
	}
	var out []*Justification
	if key := k.key(n - 1); key != nil {
		if cert, ok := k.noPreOf(before); ok {
			out = append(out, &Justification{Key: key, NoPreVotes: cert})
		}
	}
	type vote struct {
		i protocols.Index
		v *Vote
	}
	var votes []vote
	for claim := range n { // in ascending order; Byzantine replicas claim no key
		for i := range protocols.Index(k.w.n) {
			if len(votes) == k.w.committee.Quorum() {
				break
			}
			if k.w.replicas[i] == nil && claim == 0 {
				votes = append(votes, vote{i, &Vote{Signature: k.w.signers[i].Sign(before.at.noVoteStatement(k.w.committee, 0))}})
			} else if v := before.noVotes[i]; v != nil && v.claim() == claim {
				votes = append(votes, vote{i, v})
			}
		}
	}
	if len(votes) < k.w.committee.Quorum() {
		return out
	}
	j := &Justification{}
	for i := range protocols.Index(k.w.n) {
		for _, v := range votes {
			if v.i == i {
				j.NoVotes.Signers.Add(i)
				j.NoVotes.Claims = append(j.NoVotes.Claims, v.v.claim())
				j.NoVotes.Signatures = append(j.NoVotes.Signatures, v.v.Signature)
				if v.v.Key != nil && (j.Key == nil || v.v.Key.Round > j.Key.Round) {
					j.Key = v.v.Key
				}
			}
		}
	}
	return append(out, j)
}

// holdBack reports whether the adversary delays a message: once it knows the coin, it delays messages that help the elected
// value to be decided.
func (k *knowledge) holdBack(e *envelope) bool {
	var n uint32
	switch m := e.msg.(type) {
	case *Lock:
		n = m.Round
	case *Finish:
		n = m.Round
	case *PreVote:
		return m.Yes
	case *Vote:
		return m.Yes && k.w.victims.Has(e.to)
	default:
		return false
	}
	r := k.rounds[n]
	return r != nil && r.coinKnown && r.leader == e.from
}
