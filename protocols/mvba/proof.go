package mvba

import (
	"fmt"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/internal/wire"
	"bdtnode/protocols"
	"bdtnode/protocols/coin"
)

// Proof has the checks that must succeed before a message is handled. They need no state, so workers can do them.
type Proof struct {
	Signatures []sig.Check
	Tosses     []coin.Check
}

// SignatureProof is the proof of a message that is proved by signatures alone.
func SignatureProof(checks []sig.Check) Proof { return Proof{Signatures: checks} }

// Verify does all checks. It returns an error if one fails.
func (p *Proof) Verify(signatures sig.Scheme, tosses coin.Scheme) error {
	if !signatures.VerifyAll(p.Signatures) {
		return fmt.Errorf("at least one of %d signatures is invalid", len(p.Signatures))
	}
	return p.verifyTosses(tosses)
}

// verifyTosses does the checks of coin shares.
func (p *Proof) verifyTosses(tosses coin.Scheme) error {
	for k := range p.Tosses {
		if err := p.Tosses[k].Verify(tosses); err != nil {
			return err
		}
	}
	return nil
}

// quorum adds the check of a certificate on statement. It returns an error unless the certificate has exactly n-f signers:
// more would only add cost.
func (p *Proof) quorum(c *protocols.Committee, cert *protocols.Certificate, statement []byte) error {
	if len(cert.Signatures) != c.Quorum() {
		return fmt.Errorf("certificate has %d signers, want %d", len(cert.Signatures), c.Quorum())
	}
	checks, err := c.SignatureChecks(cert, c.Quorum(), statement)
	p.Signatures = append(p.Signatures, checks...)
	return err
}

// coin adds the check that the coin of a round elects leader.
func (p *Proof) coin(c *protocols.Committee, at At, leader protocols.Index, shares *coin.Shares) error {
	k, err := coin.NewCheck(c, at.toss(), shares)
	if err != nil {
		return err
	}
	p.Tosses = append(p.Tosses, k.Electing(leader))
	return nil
}

// Key is the first-phase proof of the broadcast that a round elected. In each round at most one digest has a key, and only a
// digest with a key can be decided.
type Key struct {
	Round  uint32
	Leader protocols.Index
	Digest digest.Digest
	Echoes protocols.Certificate // n-f signers
	Coin   coin.Shares           // f+1 shares, which elect Leader
}

func (k *Key) append(b []byte) []byte {
	b = wire.AppendU16(wire.AppendU32(b, k.Round), uint16(k.Leader))
	b = append(b, k.Digest[:]...)
	return k.Coin.Append(k.Echoes.Append(b))
}

func readKey(r *wire.Reader) *Key {
	k := &Key{Round: r.U32(), Leader: protocols.Index(r.U16())}
	r.Fixed(k.Digest[:])
	k.Echoes = protocols.ReadCertificate(r)
	k.Coin = coin.ReadShares(r)
	if k.Round == 0 {
		r.Fail("a key of round 0")
	}
	return k
}

func (k *Key) check(c *protocols.Committee, in Instance, p *Proof) error {
	at := At{in, k.Round}
	if err := p.quorum(c, &k.Echoes, at.echoStatement(c, k.Leader, k.Digest)); err != nil {
		return fmt.Errorf("key of round %d: %w", k.Round, err)
	}
	if err := p.coin(c, at, k.Leader, &k.Coin); err != nil {
		return fmt.Errorf("key of round %d: %w", k.Round, err)
	}
	return nil
}

// NoVotes has the signatures of distinct replicas on their no-votes of one round. Each claims the round of the highest key
// of its signer, 0 for none.
type NoVotes struct {
	Signers    protocols.Set
	Claims     []uint32 // in ascending order of signers
	Signatures []sig.Signature
}

// highest is the round of the highest claimed key.
func (n *NoVotes) highest() uint32 {
	var h uint32
	for _, c := range n.Claims {
		h = max(h, c)
	}
	return h
}

func (n *NoVotes) append(b []byte) []byte {
	b = wire.AppendU16(b, uint16(len(n.Signatures)))
	for k, i := range n.Signers.Members() {
		b = wire.AppendU32(wire.AppendU16(b, uint16(i)), n.Claims[k])
		b = append(b, n.Signatures[k][:]...)
	}
	return b
}

func readNoVotes(r *wire.Reader) NoVotes {
	count := r.Count(protocols.MaxReplicas, 2+4+sig.SignatureSize)
	var n NoVotes
	last := -1
	for range count {
		i := int(r.U16())
		if i <= last || i >= protocols.MaxReplicas {
			r.Fail("no-votes name signer %d after %d", i, last)
			return NoVotes{}
		}
		last = i
		n.Signers.Add(protocols.Index(i))
		n.Claims = append(n.Claims, r.U32())
		var s sig.Signature
		r.Fixed(s[:])
		n.Signatures = append(n.Signatures, s)
	}
	return n
}

// Justification proves that a round r > 1 may be entered, and determines the values that may be proposed there. It is one of
//   - the key of r-1 and n-f no-pre-votes of r-1: only the value of the key;
//   - n-f no-votes of r-1, and the highest key that they claim: only the value of that key, or any value if none claims a key.
type Justification struct {
	Key        *Key
	NoPreVotes protocols.Certificate
	NoVotes    NoVotes
}

// byKey reports whether the justification is of the first kind.
func (j *Justification) byKey() bool { return len(j.NoVotes.Signatures) == 0 }

// Wire forms of a justification.
const (
	justifiedByKey = iota + 1
	justifiedByNoVotes
	justifiedByNoVotesWithKey
)

func (j *Justification) append(b []byte) []byte {
	switch {
	case j.byKey():
		return j.NoPreVotes.Append(j.Key.append(append(b, justifiedByKey)))
	case j.Key == nil:
		return j.NoVotes.append(append(b, justifiedByNoVotes))
	default:
		return j.Key.append(j.NoVotes.append(append(b, justifiedByNoVotesWithKey)))
	}
}

func readJustification(r *wire.Reader) *Justification {
	j := &Justification{}
	switch form := r.U8(); form {
	case justifiedByKey:
		j.Key = readKey(r)
		j.NoPreVotes = protocols.ReadCertificate(r)
	case justifiedByNoVotes, justifiedByNoVotesWithKey:
		j.NoVotes = readNoVotes(r)
		if len(j.NoVotes.Signatures) == 0 {
			r.Fail("a justification without no-votes")
		}
		if form == justifiedByNoVotesWithKey {
			j.Key = readKey(r)
		}
	default:
		r.Fail("a justification of form %d", form)
	}
	return j
}

// check adds the checks that prove that round may be entered. It returns an error if none can prove it.
func (j *Justification) check(c *protocols.Committee, in Instance, round uint32, p *Proof) error {
	before := At{in, round - 1}
	if j.Key != nil {
		if err := j.Key.check(c, in, p); err != nil {
			return err
		}
	}
	if j.byKey() {
		if j.Key == nil || j.Key.Round != before.Round {
			return fmt.Errorf("round %d is justified by a key of another round than the one before", round)
		}
		return p.quorum(c, &j.NoPreVotes, before.noPreVoteStatement(c))
	}
	if len(j.NoVotes.Signatures) != c.Quorum() {
		return fmt.Errorf("round %d is justified by %d no-votes, want %d", round, len(j.NoVotes.Signatures), c.Quorum())
	}
	highest := j.NoVotes.highest()
	switch {
	case highest >= before.Round:
		return fmt.Errorf("a no-vote of round %d claims a key of round %d", before.Round, highest)
	case highest == 0 && j.Key != nil, highest > 0 && (j.Key == nil || j.Key.Round != highest):
		return fmt.Errorf("no-votes of round %d lack the key of round %d that they claim", before.Round, highest)
	}
	for k, i := range j.NoVotes.Signers.Members() {
		if !c.Has(i) {
			return fmt.Errorf("a no-vote of replica %d of %d", i, c.N())
		}
		p.Signatures = append(p.Signatures, c.SignatureCheck(i, before.noVoteStatement(c, j.NoVotes.Claims[k]), j.NoVotes.Signatures[k]))
	}
	return nil
}
