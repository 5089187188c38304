package mvba

import (
	"fmt"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/internal/wire"
	"bdtnode/protocols"
	"bdtnode/protocols/coin"
)

// PreVote states whether its sender holds the first-phase proof of the elected broadcast. A yes contains the proof, a no is
// signed.
type PreVote struct {
	At
	Leader    protocols.Index
	Yes       bool
	Digest    digest.Digest         // for a yes
	Echoes    protocols.Certificate // for a yes
	Signature sig.Signature         // for a no
}

// Kind is KindPreVote.
func (*PreVote) Kind() protocols.Kind { return KindPreVote }

// Append encodes round, leader, and the fields of a yes or a no.
func (m *PreVote) Append(b []byte) []byte {
	b = wire.AppendBool(wire.AppendU16(m.At.append(b), uint16(m.Leader)), m.Yes)
	if m.Yes {
		return m.Echoes.Append(append(b, m.Digest[:]...))
	}
	return append(b, m.Signature[:]...)
}

func decodePreVote(b []byte) (*PreVote, error) {
	r := wire.NewReader(b)
	m := &PreVote{At: readAt(r), Leader: protocols.Index(r.U16()), Yes: r.Bool()}
	if m.Yes {
		r.Fixed(m.Digest[:])
		m.Echoes = protocols.ReadCertificate(r)
	} else {
		r.Fixed(m.Signature[:])
	}
	return m, r.Done()
}

func (m *PreVote) check(c *protocols.Committee, from protocols.Index, p *Proof) error {
	if m.Yes {
		return p.quorum(c, &m.Echoes, m.echoStatement(c, m.Leader, m.Digest))
	}
	p.Signatures = append(p.Signatures, c.SignatureCheck(from, m.noPreVoteStatement(c), m.Signature))
	return nil
}

// Vote decides a round. A yes contains the first-phase proof of the elected broadcast and accepts it. A no contains n-f
// no-pre-votes, so it cannot be cast against a broadcast that completed, and the highest key of the sender.
type Vote struct {
	At
	Leader     protocols.Index
	Yes        bool
	Digest     digest.Digest         // for a yes
	Echoes     protocols.Certificate // for a yes
	NoPreVotes protocols.Certificate // for a no
	Key        *Key                  // for a no, if the sender has one
	Signature  sig.Signature         // on the accept statement, or on the no-vote with the round of Key
}

// claim is the round of the key in a no-vote, 0 for none.
func (m *Vote) claim() uint32 {
	if m.Key == nil {
		return 0
	}
	return m.Key.Round
}

// Kind is KindVote.
func (*Vote) Kind() protocols.Kind { return KindVote }

// Append encodes round, leader, the fields of a yes or a no, and the signature.
func (m *Vote) Append(b []byte) []byte {
	b = wire.AppendBool(wire.AppendU16(m.At.append(b), uint16(m.Leader)), m.Yes)
	if m.Yes {
		b = m.Echoes.Append(append(b, m.Digest[:]...))
	} else {
		b = wire.AppendBool(m.NoPreVotes.Append(b), m.Key != nil)
		if m.Key != nil {
			b = m.Key.append(b)
		}
	}
	return append(b, m.Signature[:]...)
}

func decodeVote(b []byte) (*Vote, error) {
	r := wire.NewReader(b)
	m := &Vote{At: readAt(r), Leader: protocols.Index(r.U16()), Yes: r.Bool()}
	if m.Yes {
		r.Fixed(m.Digest[:])
		m.Echoes = protocols.ReadCertificate(r)
	} else {
		m.NoPreVotes = protocols.ReadCertificate(r)
		if r.Bool() {
			m.Key = readKey(r)
		}
	}
	r.Fixed(m.Signature[:])
	return m, r.Done()
}

func (m *Vote) check(c *protocols.Committee, from protocols.Index, p *Proof) error {
	if m.Yes {
		p.Signatures = append(p.Signatures, c.SignatureCheck(from, m.acceptStatement(c, m.Leader, m.Digest), m.Signature))
		return p.quorum(c, &m.Echoes, m.echoStatement(c, m.Leader, m.Digest))
	}
	if m.Key != nil {
		if m.Key.Round >= m.Round {
			return fmt.Errorf("a no-vote of round %d with a key of round %d", m.Round, m.Key.Round)
		}
		if err := m.Key.check(c, m.Instance, p); err != nil {
			return err
		}
	}
	p.Signatures = append(p.Signatures, c.SignatureCheck(from, m.noVoteStatement(c, m.claim()), m.Signature))
	return p.quorum(c, &m.NoPreVotes, m.noPreVoteStatement(c))
}

// Decision is a decision certificate: the coin of its round elected Leader, and n-f replicas accepted the broadcast of
// Leader, in its second phase or with a yes-vote. It is checked without other messages and ends the instance.
type Decision struct {
	At
	Leader  protocols.Index
	Digest  digest.Digest
	Accepts protocols.Certificate // n-f signers
	Coin    coin.Shares           // f+1 shares; without them any complete broadcast would pass as decided
}

// Kind is KindDecision.
func (*Decision) Kind() protocols.Kind { return KindDecision }

// Append encodes round, leader, digest, certificate and coin.
func (m *Decision) Append(b []byte) []byte {
	b = wire.AppendU16(m.At.append(b), uint16(m.Leader))
	return m.Coin.Append(m.Accepts.Append(append(b, m.Digest[:]...)))
}

func decodeDecision(b []byte) (*Decision, error) {
	r := wire.NewReader(b)
	m := &Decision{At: readAt(r), Leader: protocols.Index(r.U16())}
	r.Fixed(m.Digest[:])
	m.Accepts = protocols.ReadCertificate(r)
	m.Coin = coin.ReadShares(r)
	return m, r.Done()
}

func (m *Decision) check(c *protocols.Committee, _ protocols.Index, p *Proof) error {
	if err := p.quorum(c, &m.Accepts, m.acceptStatement(c, m.Leader, m.Digest)); err != nil {
		return err
	}
	return p.coin(c, m.At, m.Leader, &m.Coin)
}
