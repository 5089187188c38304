package sim

import (
	"bdtnode/internal/digest"
	"bdtnode/node/replica"
	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/lanes"
	"bdtnode/protocols/votes"
)

// lateFork shows each replica that has started again a chain of its lane that leaves the right one a few numbers below
// its top, and goes one beyond. With the acks of those who forgot that they acknowledged another it has a certificate.
type lateFork struct {
	lives map[protocols.Index]int
	own   []*lanes.Batch // by number, from 1
	top   uint64         // that the fork was made at
	fork  []*lanes.Batch
	tally map[digest.Digest]*protocols.Tally
}

// below is how far under the top the fork begins.
const below = 3

func (*lateFork) String() string { return "forks its lane from below what is committed" }

func (a *lateFork) tamper(n *node, to protocols.Index, m protocols.Message) []packet {
	if a.lives == nil {
		a.lives, a.tally = make(map[protocols.Index]int), make(map[digest.Digest]*protocols.Tally)
	}
	if b, ok := m.(*lanes.Batch); ok && b.Lane == n.id && b.Seq == uint64(len(a.own))+1 {
		a.own = append(a.own, b)
	}
	out := honestly(m)
	life := n.s.nodes[to].life
	if _, connects := m.(*replica.Position); !connects || life == a.lives[to] {
		return out
	}
	first := a.lives[to] == 0
	if a.lives[to] = life; first || len(a.own) <= below {
		return out
	}
	for _, b := range a.made(n) {
		out = append(out, honestly(b)...)
	}
	return out
}

// made is the fork for the present top.
func (a *lateFork) made(n *node) []*lanes.Batch {
	if top := uint64(len(a.own)); top != a.top {
		a.top, a.fork = top, nil
		on := a.own[top-1-below].Tip()
		for range below + 1 {
			h := lanes.Header{Lane: n.id, Seq: on.Seq + 1, Parent: on.Digest, Count: 1}
			b := lanes.NewBatch(n.s.committee, n.s.signers[n.id], h, encodePayload([][]byte{n.s.clients.junk().Encode()}))
			a.fork, on = append(a.fork, b), b.Tip()
		}
		t := protocols.NewTally(on.Digest)
		t.Add(n.id, n.signAck(n.id, on).Signature)
		a.tally[on.Digest] = t
	}
	return a.fork
}

func (a *lateFork) hear(n *node, from protocols.Index, m protocols.Message) {
	x, ok := m.(*lanes.Ack)
	if !ok || x.Lane != n.id || a.tally[x.Tip.Digest] == nil {
		return
	}
	if t := a.tally[x.Tip.Digest]; t.Add(from, x.Signature) && t.Len() == n.s.committee.Quorum() {
		n.tell(protocols.Everyone, &lanes.TipCertificate{Lane: x.Lane, Tip: x.Tip, Certificate: t.Certificate()})
	}
}

// commitsToOne keeps its batches and votes from replica 1 and sends its Commits to that one alone. It
// certifies no header, so that the others do not learn of the commit in that way.
type commitsToOne struct{}

func (*commitsToOne) String() string { return "sends Commits to replica 1 alone" }

func (*commitsToOne) tamper(n *node, to protocols.Index, m protocols.Message) []packet {
	switch x := m.(type) {
	case *lanes.Batch:
		if to == 1 && x.Lane == n.id {
			return nil
		}
	case *votes.VOTE:
		return nil
	case *bolt.Vote:
		if to == 1 {
			return nil
		}
	case *bolt.Commit:
		if to != 1 {
			return nil
		}
	}
	return honestly(m)
}
