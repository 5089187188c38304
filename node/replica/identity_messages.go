package replica

import (
	"encoding/binary"
	"fmt"

	"bdtnode/internal/sig"
	"bdtnode/internal/wire"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/lanes"
	"bdtnode/protocols/mvba"
)

// Kinds of the messages that show a replica at its start whether its store has all statements that it signed.
const (
	KindHello  = protocols.KindsCatchup + 4
	KindKnown  = protocols.KindsCatchup + 5
	KindFenced = protocols.KindsCatchup + 6
)

// maxKnownPart bounds each part of a [Known], in bytes. The largest part is a claim with a position for each lane and
// channel.
const maxKnownPart = 64 << 10

// Hello opens a session. It has the sender's start and its position.
type Hello struct {
	Boot, Nonce uint64
	Epoch, Slot uint64
	Number      uint64 // of the newest batch of its lane
}

// Kind is KindHello.
func (*Hello) Kind() protocols.Kind { return KindHello }

// Append encodes the numbers.
func (m *Hello) Append(b []byte) []byte {
	for _, x := range []uint64{m.Boot, m.Nonce, m.Epoch, m.Slot, m.Number} {
		b = wire.AppendU64(b, x)
	}
	return b
}

func decodeHello(b []byte) (*Hello, error) {
	r := wire.NewReader(b)
	m := &Hello{Boot: r.U64(), Nonce: r.U64(), Epoch: r.U64(), Slot: r.U64(), Number: r.U64()}
	if m.Boot == 0 {
		r.Fail("starts count from 1")
	}
	return m, r.Done()
}

// Known answers a Hello with the newest start and signatures of the replica that the sender knew before that Hello.
type Known struct {
	Member      protocols.Index // the replica that the answer is about
	To          uint64          // nonce of the Hello
	Boot, Nonce uint64          // 0 if the sender knew of no start
	Header      *lanes.Conflict // of its lane; like the next four, nil if the sender knows of none
	Vote        *bolt.Vote
	Status      *bdt.SignedClaim
	Proposal    *bolt.SignedProposal
	Agreement   *mvba.Signed
}

// Kind is KindKnown.
func (*Known) Kind() protocols.Kind { return KindKnown }

// Append encodes all fields.
func (m *Known) Append(b []byte) []byte {
	b = wire.AppendU64(wire.AppendU16(b, uint16(m.Member)), m.To)
	b = wire.AppendU64(wire.AppendU64(b, m.Boot), m.Nonce)
	return m.appendSigned(b)
}

// appendSigned encodes the signed parts. A nil part has length 0.
func (m *Known) appendSigned(b []byte) []byte {
	b = appendPart(b, m.Header != nil, m.Header.Append)
	b = appendPart(b, m.Vote != nil, m.Vote.Append)
	b = appendPart(b, m.Status != nil, m.Status.Append)
	b = appendPart(b, m.Proposal != nil, m.Proposal.Append)
	return appendPart(b, m.Agreement != nil, m.Agreement.Append)
}

// appendPart encodes the length of a part and the part, or length 0 if there is none.
func appendPart(b []byte, some bool, part func([]byte) []byte) []byte {
	b = wire.AppendU32(b, 0)
	if at := len(b); some {
		b = part(b)
		binary.BigEndian.PutUint32(b[at-4:], uint32(len(b)-at))
	}
	return b
}

func (m *Known) readSigned(c *protocols.Committee, r *wire.Reader) {
	part := func(name string, decode func(b []byte) error) {
		b := r.Bytes(maxKnownPart)
		if len(b) == 0 || r.Err() != nil {
			return
		}
		if err := decode(b); err != nil {
			r.Fail("%s: %v", name, err)
		}
	}
	part("header", func(b []byte) (err error) { m.Header, err = lanes.DecodeConflict(c, b); return err })
	part("vote", func(b []byte) (err error) { m.Vote, err = bolt.DecodeVote(b); return err })
	part("Status", func(b []byte) (err error) { m.Status, err = bdt.DecodeSignedClaim(c, b); return err })
	part("proposal", func(b []byte) (err error) { m.Proposal, err = bolt.DecodeSignedProposal(b); return err })
	part("agreement", func(b []byte) (err error) { m.Agreement, err = mvba.DecodeSigned(b); return err })
}

func decodeKnown(c *protocols.Committee, b []byte) (*Known, error) {
	r := wire.NewReader(b)
	m := &Known{Member: protocols.Index(r.U16()), To: r.U64(), Boot: r.U64(), Nonce: r.U64()}
	m.readSigned(c, r)
	return m, r.Done()
}

// items returns the signatures of the parts, all of the member.
func (m *Known) items(c *protocols.Committee) ([]sig.Check, error) {
	if !c.Has(m.Member) {
		return nil, fmt.Errorf("a Known about replica %d of %d", m.Member, c.N())
	}
	var items []sig.Check
	if m.Header != nil {
		if m.Header.Lane != m.Member {
			return nil, fmt.Errorf("a Known about replica %d with a header of lane %d", m.Member, m.Header.Lane)
		}
		more, err := m.Header.SignatureChecks(c)
		if err != nil {
			return nil, err
		}
		items = append(items, more...)
	}
	if m.Vote != nil {
		more, err := m.Vote.SignatureChecks(c, m.Member)
		if err != nil {
			return nil, err
		}
		items = append(items, more...)
	}
	if m.Status != nil {
		if m.Status.Replica != m.Member {
			return nil, fmt.Errorf("a Known about replica %d with a Status of replica %d", m.Member, m.Status.Replica)
		}
		items = append(items, m.Status.SignatureCheck(c))
	}
	if m.Proposal != nil {
		if m.Proposal.Leader != m.Member {
			return nil, fmt.Errorf("a Known about replica %d with a proposal of replica %d", m.Member, m.Proposal.Leader)
		}
		items = append(items, m.Proposal.SignatureCheck(c))
	}
	if m.Agreement != nil {
		item, err := m.Agreement.SignatureCheck(c, m.Member)
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	return items, nil
}

// Fenced tells a process that its peer accepts another process of the same replica: the one of the later start, or the
// first of two processes of one start.
type Fenced struct{ Boot, Nonce uint64 } // of the accepted process

// Kind is KindFenced.
func (*Fenced) Kind() protocols.Kind { return KindFenced }

// Append encodes the start.
func (m *Fenced) Append(b []byte) []byte { return wire.AppendU64(wire.AppendU64(b, m.Boot), m.Nonce) }

func decodeFenced(b []byte) (*Fenced, error) {
	r := wire.NewReader(b)
	m := &Fenced{Boot: r.U64(), Nonce: r.U64()}
	return m, r.Done()
}
