package mvba

import (
	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/protocols"
	"bdtnode/protocols/coin"
)

// knowledge is what the adversary learns from every message that an honest replica sends, and what it can make of
// it with the Byzantine replicas' keys: certificates, justifications, and the coin as soon as it is out, which is
// when f+1 shares, its own among them, are.
type knowledge struct {
	w      *world
	rounds map[uint32]*known
	values map[digest.Digest][]byte
	last   uint32
}

type broadcastName struct {
	by protocols.Index
	d  digest.Digest
}

// known is about one round.
type known struct {
	at        At
	proposals map[protocols.Index]digest.Digest
	echoes    map[broadcastName]map[protocols.Index]sig.Signature
	accepts   map[broadcastName]map[protocols.Index]sig.Signature
	noPre     map[protocols.Index]sig.Signature
	noVotes   map[protocols.Index]*Vote
	shares    map[protocols.Index]coin.Share
	out       bool
	leader    protocols.Index
	proof     coin.Shares
}

func newKnowledge(w *world) *knowledge {
	return &knowledge{w: w, rounds: make(map[uint32]*known), values: make(map[digest.Digest][]byte)}
}

func (k *knowledge) round(n uint32) *known {
	r := k.rounds[n]
	if r == nil {
		r = &known{at: At{theInstance, n},
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

// learn takes an honest replica's message.
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
	case *Lock: // it has its broadcaster's signature, which nobody saw before
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

// toss tries to learn the coin.
func (k *knowledge) toss(r *known) {
	if r.out {
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
	r.out, r.leader, r.proof = true, v.Leader(k.w.n), all
}

// certificate adds the Byzantine replicas' signatures to honest ones.
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

func (k *knowledge) lockOf(r *known, by protocols.Index, d digest.Digest) (protocols.Certificate, bool) {
	return k.certificate(r.echoes[broadcastName{by, d}], r.at.echoStatement(k.w.committee, by, d))
}

func (k *knowledge) acceptOf(r *known, by protocols.Index, d digest.Digest) (protocols.Certificate, bool) {
	return k.certificate(r.accepts[broadcastName{by, d}], r.at.acceptStatement(k.w.committee, by, d))
}

func (k *knowledge) noPreOf(r *known) (protocols.Certificate, bool) {
	return k.certificate(r.noPre, r.at.noPreVoteStatement(k.w.committee))
}

// complete is how many broadcasts of a round can be complete by now.
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

// key is the key of a round, if the adversary can have it.
func (k *knowledge) key(n uint32) *Key {
	r := k.rounds[n]
	if r == nil || !r.out {
		return nil
	}
	for _, d := range k.digests(r, r.leader) {
		if cert, ok := k.lockOf(r, r.leader, d); ok {
			return &Key{Round: n, Leader: r.leader, Digest: d, Echoes: cert, Coin: r.proof}
		}
	}
	return nil
}

// digests lists what by is known to have proposed to anyone, in a fixed order.
func (k *knowledge) digests(r *known, by protocols.Index) []digest.Digest {
	var out []digest.Digest
	for name := range r.echoes {
		if name.by == by {
			out = append(out, name.d)
		}
	}
	sortDigests(out)
	return out
}

// justify finds reasons to enter round n: by the key of the round before, and by its no-votes with the lowest
// claims that there are.
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
	for claim := range n { // ascending, Byzantine ones claim nothing
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

// holdBack says which messages the adversary delays once it knows the coin: what would help the elected value.
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
	return r != nil && r.out && r.leader == e.from
}
