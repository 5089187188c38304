package mvba

import (
	"fmt"

	"bdtnode/internal/digest"
	"bdtnode/internal/wire"
	"bdtnode/protocols"
	"bdtnode/protocols/coin"
)

// Want asks for the value with a digest.
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

// Value answers a Want.
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

// Again tells a peer, some of whose messages were refused as too far ahead, that its sender has come to a round
// and wants them again.
type Again struct{ At }

// Kind is KindAgain.
func (*Again) Kind() protocols.Kind { return KindAgain }

// Append encodes the round.
func (m *Again) Append(b []byte) []byte { return m.At.append(b) }

// Decode reads the body of a message of this package or of the coin's. The result aliases b.
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
		return nil, fmt.Errorf("%w: no message of an agreement has kind %#x", wire.ErrMalformed, uint8(kind))
	}
	if err := r.Done(); err != nil {
		return nil, err
	}
	return m, nil
}

// InstanceOf is the instance a message belongs to; ok is false if it is none of an agreement.
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

// Check lists what proves that from, a replica of c, may have sent msg. It is an error, and from's fault, if
// nothing can.
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
	case *Want, *Value, *Again: // nothing is signed
	case interface {
		check(*protocols.Committee, protocols.Index, *Proof) error
	}:
		if err := m.check(c, from, &p); err != nil {
			return Proof{}, err
		}
	default:
		return Proof{}, fmt.Errorf("message of kind %#x is none of an agreement", uint8(msg.Kind()))
	}
	return p, nil
}
