package mvba

import (
	"fmt"

	"bdtnode/internal/digest"
	"bdtnode/protocols"
	"bdtnode/protocols/coin"
)

// arbitraryAdversary is the adversary that sends arbitrary messages that pass the checks: conflicting proposals with every possible
// justification, late proofs of its broadcasts, both votes, shares to some replicas. It also sends messages that must be
// refused.
type arbitraryAdversary struct{ wanted []wanting }

type wanting struct {
	from, to protocols.Index
	d        digest.Digest
}

func (p *arbitraryAdversary) start(w *world) {
	for _, b := range w.byz() {
		p.propose(w, b, 1)
	}
}

func (p *arbitraryAdversary) receive(_ *world, from, to protocols.Index, msg protocols.Message) {
	if m, ok := msg.(*FetchValue); ok {
		p.wanted = append(p.wanted, wanting{from, to, m.Digest})
	}
}

func (p *arbitraryAdversary) act(w *world) {
	byz := w.byz()
	if len(byz) == 0 || w.know.last == 0 || w.rng.IntN(2) > 0 {
		return
	}
	b := byz[w.rng.IntN(len(byz))]
	n := w.know.last
	if n > 1 && w.rng.IntN(3) == 0 {
		n--
	}
	r := w.know.round(n)
	switch w.rng.IntN(10) {
	case 0:
		p.propose(w, b, n)
	case 1:
		p.propose(w, b, n+1)
	case 2:
		for _, d := range w.know.digests(r, b) {
			if cert, ok := w.know.lockOf(r, b, d); ok {
				p.sendToSome(w, b, &Lock{r.at, d, cert})
			}
		}
	case 3:
		for _, d := range w.know.digests(r, b) {
			if cert, ok := w.know.acceptOf(r, b, d); ok {
				p.sendToSome(w, b, &Finish{r.at, d, cert})
			}
		}
	case 4:
		for j := range protocols.Index(w.n) {
			if d, ok := r.proposals[j]; ok && w.rng.IntN(2) == 0 {
				w.send(b, j, &Echo{r.at, j, d, w.signers[b].Sign(r.at.echoStatement(w.committee, j, d))})
				w.send(b, j, &Accept{r.at, j, d, w.signers[b].Sign(r.at.acceptStatement(w.committee, j, d))})
			}
		}
	case 5:
		name := r.at.toss()
		p.sendToSome(w, b, &coin.Release{Name: name, Share: w.holders[b].Share(name.Statement(w.committee))})
		if r.coinKnown {
			p.sendToSome(w, b, &coin.Relay{Name: name, Shares: r.proof})
		}
	case 6:
		p.preVote(w, b, r)
	case 7:
		p.vote(w, b, r)
	case 8:
		if r.coinKnown {
			for _, d := range w.know.digests(r, r.leader) {
				if cert, ok := w.know.acceptOf(r, r.leader, d); ok {
					p.sendToSome(w, b, &Decision{r.at, r.leader, d, cert, r.proof})
				}
			}
		}
	case 9:
		p.sendUnproven(w, b, r)
	}
	for _, x := range p.wanted {
		if v, ok := w.know.values[x.d]; ok && w.rng.IntN(2) == 0 {
			w.send(x.to, x.from, newValue(theInstance, v))
		}
	}
	p.wanted = nil
}

// sendUnproven sends messages that lack one of their proofs and must be refused.
func (p *arbitraryAdversary) sendUnproven(w *world, b protocols.Index, r *roundKnowledge) {
	// A missing certificate is replaced by signatures on another statement.
	var none protocols.Certificate
	for i := range protocols.Index(w.committee.Quorum()) {
		none.Signers.Add(i)
		none.Signatures = append(none.Signatures, w.signers[b].Sign(nil))
	}
	if d, ok := r.proposals[protocols.Index(w.rng.IntN(w.n))]; ok {
		p.sendToSome(w, b, &Lock{r.at, d, none})
		p.sendToSome(w, b, &Finish{r.at, d, none})
	}
	if !r.coinKnown {
		return
	}
	p.sendToSome(w, b, &Vote{At: r.at, Leader: r.leader, NoPreVotes: none,
		Signature: w.signers[b].Sign(r.at.noVoteStatement(w.committee, 0))})
	if key := w.know.key(r.at.Round); key != nil {
		p.sendToSome(w, b, &Proposal{At: At{theInstance, r.at.Round + 1}, Digest: key.Digest, Justification: &Justification{Key: key, NoPreVotes: none}})
	}
	for by := range protocols.Index(w.n) {
		for _, d := range w.know.digests(r, by) {
			if cert, ok := w.know.acceptOf(r, by, d); ok {
				p.sendToSome(w, b, &Decision{r.at, by, d, cert, r.proof})
			}
		}
	}
}

// sendToSome sends a message to each honest replica with probability 1/2.
func (p *arbitraryAdversary) sendToSome(w *world, b protocols.Index, msg protocols.Message) {
	for to, r := range w.replicas {
		if r != nil && w.rng.IntN(2) == 0 {
			w.send(b, protocols.Index(to), msg)
		}
	}
}

// propose starts conflicting broadcasts with all possible justifications.
func (p *arbitraryAdversary) propose(w *world, b protocols.Index, n uint32) {
	fresh := func() ([]byte, digest.Digest) {
		v := fmt.Appendf(nil, "ok:evil %d/%d/%d", b, n, w.rng.IntN(4))
		if w.rng.IntN(8) == 0 {
			v = fmt.Appendf(nil, "bad:%d", b)
		}
		d := DigestOf(v)
		w.know.values[d] = v
		return v, d
	}
	if n == 1 {
		for range 1 + w.rng.IntN(2) {
			v, d := fresh()
			p.sendToSome(w, b, &Proposal{At: At{theInstance, 1}, Value: v, Digest: d})
		}
		return
	}
	for _, why := range w.know.justify(n) {
		var d digest.Digest
		if why.Key != nil {
			d = why.Key.Digest
		} else {
			_, d = fresh()
		}
		p.sendToSome(w, b, &Proposal{At: At{theInstance, n}, Digest: d, Justification: why})
	}
}

func (p *arbitraryAdversary) preVote(w *world, b protocols.Index, r *roundKnowledge) {
	if !r.coinKnown {
		return
	}
	p.sendToSome(w, b, &PreVote{At: r.at, Leader: r.leader, Signature: w.signers[b].Sign(r.at.noPreVoteStatement(w.committee))})
	if key := w.know.key(r.at.Round); key != nil {
		p.sendToSome(w, b, &PreVote{At: r.at, Leader: r.leader, Yes: true, Digest: key.Digest, Echoes: key.Echoes})
	}
}

func (p *arbitraryAdversary) vote(w *world, b protocols.Index, r *roundKnowledge) {
	if !r.coinKnown {
		return
	}
	no := func() {
		if cert, ok := w.know.noPreOf(r); ok {
			p.sendToSome(w, b, &Vote{At: r.at, Leader: r.leader, NoPreVotes: cert, Signature: w.signers[b].Sign(r.at.noVoteStatement(w.committee, 0))})
		}
	}
	yes := func() {
		if key := w.know.key(r.at.Round); key != nil {
			p.sendToSome(w, b, &Vote{At: r.at, Leader: r.leader, Yes: true, Digest: key.Digest, Echoes: key.Echoes,
				Signature: w.signers[b].Sign(r.at.acceptStatement(w.committee, r.leader, key.Digest))})
		}
	}
	if w.rng.IntN(2) == 0 {
		no()
		yes()
	} else {
		yes()
		no()
	}
}
