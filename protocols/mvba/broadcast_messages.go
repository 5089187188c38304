package mvba

import (
	"errors"
	"fmt"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/internal/wire"
	"bdtnode/protocols"
)

// MaxValue is the largest size of a value in bytes. A proposal with it fits into one control frame.
const MaxValue = 2<<20 - 1<<10

// Proposal starts the sender's broadcast of a round. In round 1 it contains the value. In later rounds it contains only the
// digest, since almost all replicas hold the value already; a replica without it requests it from the sender.
type Proposal struct {
	At
	Value         []byte         // in round 1 only
	Digest        digest.Digest  // of the value
	Justification *Justification // reason to enter the round; from round 2 on
}

// Kind is KindProposal.
func (*Proposal) Kind() protocols.Kind { return KindProposal }

// Append encodes round, then the value or digest and justification.
func (m *Proposal) Append(b []byte) []byte {
	b = m.At.append(b)
	if m.Round == 1 {
		return wire.AppendBytes(b, m.Value)
	}
	return m.Justification.append(append(b, m.Digest[:]...))
}

func decodeProposal(b []byte) (*Proposal, error) {
	r := wire.NewReader(b)
	m := &Proposal{At: readAt(r)}
	if m.Round == 1 {
		m.Value = r.Bytes(MaxValue)
		m.Digest = DigestOf(m.Value)
		return m, r.Done()
	}
	r.Fixed(m.Digest[:])
	m.Justification = readJustification(r)
	return m, r.Done()
}

func (m *Proposal) check(c *protocols.Committee, _ protocols.Index, p *Proof) error {
	if m.Round == 1 {
		return nil
	}
	if m.Justification == nil {
		return fmt.Errorf("a proposal of round %d without justification", m.Round)
	}
	if m.Justification.Key != nil && m.Justification.Key.Digest != m.Digest {
		return errors.New("a proposal of another value than that of the key in its justification")
	}
	return m.Justification.check(c, m.Instance, m.Round, p)
}

// Echo is a first-phase signature, sent to the broadcaster.
type Echo struct {
	At
	Broadcaster protocols.Index
	Digest      digest.Digest
	Signature   sig.Signature
}

// Kind is KindEcho.
func (*Echo) Kind() protocols.Kind { return KindEcho }

// Append encodes round, broadcaster, digest and signature.
func (m *Echo) Append(b []byte) []byte {
	b = wire.AppendU16(m.At.append(b), uint16(m.Broadcaster))
	return append(append(b, m.Digest[:]...), m.Signature[:]...)
}

func decodeEcho(b []byte) (*Echo, error) {
	r := wire.NewReader(b)
	m := &Echo{At: readAt(r), Broadcaster: protocols.Index(r.U16())}
	r.Fixed(m.Digest[:])
	r.Fixed(m.Signature[:])
	return m, r.Done()
}

func (m *Echo) check(c *protocols.Committee, from protocols.Index, p *Proof) error {
	p.Signatures = append(p.Signatures, c.SignatureCheck(from, m.echoStatement(c, m.Broadcaster, m.Digest), m.Signature))
	return nil
}

// Lock is the first-phase proof of the sender's broadcast. No other digest of that broadcast can have one.
type Lock struct {
	At
	Digest digest.Digest
	Echoes protocols.Certificate // n-f signers
}

// Kind is KindLock.
func (*Lock) Kind() protocols.Kind { return KindLock }

// Append encodes round, digest and certificate.
func (m *Lock) Append(b []byte) []byte {
	return m.Echoes.Append(append(m.At.append(b), m.Digest[:]...))
}

func decodeLock(b []byte) (*Lock, error) {
	r := wire.NewReader(b)
	m := &Lock{At: readAt(r)}
	r.Fixed(m.Digest[:])
	m.Echoes = protocols.ReadCertificate(r)
	return m, r.Done()
}

func (m *Lock) check(c *protocols.Committee, from protocols.Index, p *Proof) error {
	return p.quorum(c, &m.Echoes, m.echoStatement(c, from, m.Digest))
}

// Accept is a second-phase signature, sent to the broadcaster.
type Accept struct {
	At
	Broadcaster protocols.Index
	Digest      digest.Digest
	Signature   sig.Signature
}

// Kind is KindAccept.
func (*Accept) Kind() protocols.Kind { return KindAccept }

// Append encodes round, broadcaster, digest and signature.
func (m *Accept) Append(b []byte) []byte {
	b = wire.AppendU16(m.At.append(b), uint16(m.Broadcaster))
	return append(append(b, m.Digest[:]...), m.Signature[:]...)
}

func decodeAccept(b []byte) (*Accept, error) {
	r := wire.NewReader(b)
	m := &Accept{At: readAt(r), Broadcaster: protocols.Index(r.U16())}
	r.Fixed(m.Digest[:])
	r.Fixed(m.Signature[:])
	return m, r.Done()
}

func (m *Accept) check(c *protocols.Committee, from protocols.Index, p *Proof) error {
	p.Signatures = append(p.Signatures, c.SignatureCheck(from, m.acceptStatement(c, m.Broadcaster, m.Digest), m.Signature))
	return nil
}

// Finish is the second-phase proof of the sender's broadcast. With it the broadcast is complete.
type Finish struct {
	At
	Digest  digest.Digest
	Accepts protocols.Certificate // n-f signers
}

// Kind is KindFinish.
func (*Finish) Kind() protocols.Kind { return KindFinish }

// Append encodes round, digest and certificate.
func (m *Finish) Append(b []byte) []byte {
	return m.Accepts.Append(append(m.At.append(b), m.Digest[:]...))
}

func decodeFinish(b []byte) (*Finish, error) {
	r := wire.NewReader(b)
	m := &Finish{At: readAt(r)}
	r.Fixed(m.Digest[:])
	m.Accepts = protocols.ReadCertificate(r)
	return m, r.Done()
}

func (m *Finish) check(c *protocols.Committee, from protocols.Index, p *Proof) error {
	return p.quorum(c, &m.Accepts, m.acceptStatement(c, from, m.Digest))
}
