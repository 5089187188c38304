package mvba

import (
	"fmt"

	"bdtnode/internal/digest"
	"bdtnode/internal/wire"
	"bdtnode/protocols"
	"bdtnode/protocols/coin"
)

// Want requests the value with a digest.
type Want struct {
	Instance Instance
	Digest   digest.Digest
}

// Kind is KindWant.
func (*Want) Kind() protocols.Kind { return KindWant }

// Append encodes instance and digest.
func (m *Want) Append(b []byte) []byte { return append(m.Instance.append(b), m.Digest[:]...) }

func readWant(r *wire.Reader) *Want {
	m := &Want{Instance: readInstance(r)}
	r.Fixed(m.Digest[:])
	return m
}

// Value is the answer to a Want.
type Value struct {
	Instance Instance
	Value    []byte
	digest   digest.Digest
}

// Kind is KindValue.
func (*Value) Kind() protocols.Kind { return KindValue }

// Append encodes instance and value.
func (m *Value) Append(b []byte) []byte { return wire.AppendBytes(m.Instance.append(b), m.Value) }

func newValue(in Instance, value []byte) *Value {
	return &Value{Instance: in, Value: value, digest: DigestOf(value)}
}

func readValue(r *wire.Reader) *Value {
	in := readInstance(r)
	return newValue(in, r.Bytes(MaxValue))
}

// Again is sent to a peer of which a message was refused as too far ahead: the sender has reached the round At and requests
// all messages again.
type Again struct{ At }

// Kind is KindAgain.
func (*Again) Kind() protocols.Kind { return KindAgain }

// Append encodes the round.
func (m *Again) Append(b []byte) []byte { return m.At.append(b) }

// Decode reads the body of a message of this package or of package coin. The result aliases b. It returns an error for other
// kinds and for malformed bodies.
func Decode(kind protocols.Kind, b []byte) (protocols.Message, error) {
	r := wire.NewReader(b)
	var m protocols.Message
	switch kind {
	case coin.KindRelease:
		m = coin.ReadRelease(r)
	case coin.KindRelay:
		m = coin.ReadRelay(r)
	case KindProposal:
		m = readProposal(r)
	case KindEcho:
		m = readEcho(r)
	case KindLock:
		m = readLock(r)
	case KindAccept:
		m = readAccept(r)
	case KindFinish:
		m = readFinish(r)
	case KindPreVote:
		m = readPreVote(r)
	case KindVote:
		m = readVote(r)
	case KindDecision:
		m = readDecision(r)
	case KindWant:
		m = readWant(r)
	case KindValue:
		m = readValue(r)
	case KindAgain:
		m = &Again{At: readAt(r)}
	default:
		return nil, fmt.Errorf("%w: kind %#x is not of a message of an agreement", wire.ErrMalformed, uint8(kind))
	}
	if err := r.Done(); err != nil {
		return nil, err
	}
	return m, nil
}

// InstanceOf is the instance that a message belongs to. ok is false if it is not a message of an agreement.
func InstanceOf(msg protocols.Message) (in Instance, ok bool) {
	switch m := msg.(type) {
	case *coin.Release:
		return Instance{m.Name.Epoch, m.Name.Kind, m.Name.Index}, true
	case *coin.Relay:
		return Instance{m.Name.Epoch, m.Name.Kind, m.Name.Index}, true
	case *Want:
		return m.Instance, true
	case *Value:
		return m.Instance, true
	case interface{ at() At }:
		return m.at().Instance, true
	}
	return Instance{}, false
}

func (a At) at() At { return a }

// Check lists the checks that prove that from, a replica of c, was allowed to send msg. It returns an error if no check can
// prove it; that is a fault of from.
func Check(c *protocols.Committee, from protocols.Index, msg protocols.Message) (Proof, error) {
	var p Proof
	switch m := msg.(type) {
	case *coin.Release:
		p.Tosses = append(p.Tosses, m.Check(c, from))
	case *coin.Relay:
		k, err := m.Check(c)
		if err != nil {
			return Proof{}, err
		}
		p.Tosses = append(p.Tosses, k)
	case *Want, *Value, *Again: // have no signature
	case interface {
		check(*protocols.Committee, protocols.Index, *Proof) error
	}:
		if err := m.check(c, from, &p); err != nil {
			return Proof{}, err
		}
	default:
		return Proof{}, fmt.Errorf("a message of kind %#x is not of an agreement", uint8(msg.Kind()))
	}
	return p, nil
}
