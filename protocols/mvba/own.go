package mvba

import (
	"fmt"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/internal/wire"
	"bdtnode/protocols"
	"bdtnode/protocols/coin"
)

// This file reports whether a message with the signature of this replica is missing in its own store. Then the store is
// older than the signature, or another process signs with the same key.

// Phase is a kind of statement that a replica signs in a round, in the order of the round.
type Phase uint8

// The phases. A yes-vote is an accept. A coin share is a Phase too, although a [Signed] with it has no signature.
const (
	PhaseEcho Phase = iota + 1
	PhaseAccept
	PhaseShare
	PhaseNoPreVote
	PhaseNoVote
)

// Signed is one statement that a replica signed in an agreement, without its justification.
type Signed struct {
	At
	Phase       Phase
	Broadcaster protocols.Index // for an echo or accept
	Digest      digest.Digest   // for an echo or accept
	Claim       uint32          // for a no-vote: round of the highest key, 0 for none
	Signature   sig.Signature
}

// SignedBySender is the statement that the sender of a message signed in it, or nil if there is none.
func SignedBySender(msg protocols.Message) *Signed {
	switch x := msg.(type) {
	case *Echo:
		return &Signed{At: x.At, Phase: PhaseEcho, Broadcaster: x.Broadcaster, Digest: x.Digest, Signature: x.Signature}
	case *Accept:
		return &Signed{At: x.At, Phase: PhaseAccept, Broadcaster: x.Broadcaster, Digest: x.Digest, Signature: x.Signature}
	case *PreVote:
		if !x.Yes {
			return &Signed{At: x.At, Phase: PhaseNoPreVote, Signature: x.Signature}
		}
	case *Vote:
		if x.Yes {
			return &Signed{At: x.At, Phase: PhaseAccept, Broadcaster: x.Leader, Digest: x.Digest, Signature: x.Signature}
		}
		return &Signed{At: x.At, Phase: PhaseNoVote, Claim: x.claim(), Signature: x.Signature}
	}
	return nil
}

// After reports whether x is of a later epoch, round or phase than y.
func (x *Signed) After(y *Signed) bool {
	switch {
	case x.Instance.Epoch != y.Instance.Epoch:
		return x.Instance.Epoch > y.Instance.Epoch
	case x.Round != y.Round:
		return x.Round > y.Round
	}
	return x.Phase > y.Phase
}

// Append encodes round, phase, broadcaster, digest, claim and signature.
func (x *Signed) Append(b []byte) []byte {
	b = wire.AppendU16(append(x.At.append(b), byte(x.Phase)), uint16(x.Broadcaster))
	b = wire.AppendU32(append(b, x.Digest[:]...), x.Claim)
	return append(b, x.Signature[:]...)
}

// DecodeSigned decodes the output of Append.
func DecodeSigned(b []byte) (*Signed, error) {
	r := wire.NewReader(b)
	x := &Signed{At: readAt(r), Phase: Phase(r.U8()), Broadcaster: protocols.Index(r.U16())}
	r.Fixed(x.Digest[:])
	x.Claim = r.U32()
	r.Fixed(x.Signature[:])
	return x, r.Done()
}

// SignatureCheck is the check of the signature of replica by. It returns an error if the phase has no signature.
func (x *Signed) SignatureCheck(c *protocols.Committee, by protocols.Index) (sig.Check, error) {
	var statement []byte
	switch x.Phase {
	case PhaseEcho:
		statement = x.echoStatement(c, x.Broadcaster, x.Digest)
	case PhaseAccept:
		statement = x.acceptStatement(c, x.Broadcaster, x.Digest)
	case PhaseNoPreVote:
		statement = x.noPreVoteStatement(c)
	case PhaseNoVote:
		statement = x.noVoteStatement(c, x.Claim)
	default:
		return sig.Check{}, fmt.Errorf("phase %d of an agreement has no signature", x.Phase)
	}
	return c.SignatureCheck(by, statement, x.Signature), nil
}

// SignedBy lists the statements that replica by signed according to the certificates in a message from replica from. The
// signatures are left out.
func SignedBy(by, from protocols.Index, msg protocols.Message) []Signed {
	w := signedCollector{by: by}
	switch x := msg.(type) {
	case *Proposal:
		w.justification(At{x.Instance, x.Round - 1}, x.Justification)
	case *Lock:
		w.quorum(&x.Echoes, Signed{At: x.At, Phase: PhaseEcho, Broadcaster: from, Digest: x.Digest})
	case *Finish:
		w.quorum(&x.Accepts, Signed{At: x.At, Phase: PhaseAccept, Broadcaster: from, Digest: x.Digest})
	case *coin.Relay:
		in, _ := InstanceOf(x)
		w.shares(At{in, x.Name.Round}, &x.Shares)
	case *PreVote:
		w.quorum(&x.Echoes, Signed{At: x.At, Phase: PhaseEcho, Broadcaster: x.Leader, Digest: x.Digest})
	case *Vote:
		w.quorum(&x.Echoes, Signed{At: x.At, Phase: PhaseEcho, Broadcaster: x.Leader, Digest: x.Digest})
		w.quorum(&x.NoPreVotes, Signed{At: x.At, Phase: PhaseNoPreVote})
		w.key(x.Instance, x.Key)
	case *Decision:
		w.quorum(&x.Accepts, Signed{At: x.At, Phase: PhaseAccept, Broadcaster: x.Leader, Digest: x.Digest})
		w.shares(x.At, &x.Coin)
	}
	return w.found
}

// signedCollector collects the statements that one replica signed.
type signedCollector struct {
	by    protocols.Index
	found []Signed
}

func (w *signedCollector) quorum(cert *protocols.Certificate, x Signed) {
	if cert.Signers.Has(w.by) {
		w.found = append(w.found, x)
	}
}

func (w *signedCollector) shares(at At, s *coin.Shares) {
	if s.Holders.Has(w.by) {
		w.found = append(w.found, Signed{At: at, Phase: PhaseShare})
	}
}

func (w *signedCollector) key(in Instance, k *Key) {
	if k == nil {
		return
	}
	at := At{in, k.Round}
	w.quorum(&k.Echoes, Signed{At: at, Phase: PhaseEcho, Broadcaster: k.Leader, Digest: k.Digest})
	w.shares(at, &k.Coin)
}

func (w *signedCollector) justification(before At, j *Justification) {
	if j == nil {
		return
	}
	w.key(before.Instance, j.Key)
	w.quorum(&j.NoPreVotes, Signed{At: before, Phase: PhaseNoPreVote})
	for k, i := range j.NoVotes.Signers.Members() {
		if i == w.by {
			w.found = append(w.found, Signed{At: before, Phase: PhaseNoVote, Claim: j.NoVotes.Claims[k]})
		}
	}
}

// Lacks reports whether there is no record of a statement that this replica signed in this instance, although it would not
// have been overwritten: records of the current round are kept until the instance is decided.
func (m *Machine) Lacks(x *Signed) bool {
	if m.outcome.decision != nil || x.Round != m.round {
		return m.outcome.decision == nil && x.Round > m.round
	}
	r := m.slot(m.round)
	b, vote := &r.broadcasts, r.ballot.votes[m.cfg.Self]
	switch x.Phase {
	case PhaseEcho:
		return !b.echoed.Has(x.Broadcaster) || m.digestFor(r, KindEcho, x.Broadcaster) != x.Digest
	case PhaseAccept:
		if vote != nil && vote.Yes && vote.Leader == x.Broadcaster && vote.Digest == x.Digest {
			return false
		}
		return !b.accepted.Has(x.Broadcaster) || m.digestFor(r, KindAccept, x.Broadcaster) != x.Digest
	case PhaseShare:
		return !r.election.released
	case PhaseNoPreVote:
		v := r.ballot.preVotes[m.cfg.Self]
		return v == nil || v.Yes
	default:
		return vote == nil || vote.Yes || vote.claim() != x.Claim
	}
}

// digestFor is the digest that this replica echoed or accepted for a broadcaster in the current round, zero if none.
func (m *Machine) digestFor(r *round, kind protocols.Kind, broadcaster protocols.Index) digest.Digest {
	if broadcaster == m.cfg.Self {
		return r.broadcasts.own.Digest
	}
	return m.out.digestFor(kind, broadcaster)
}
