package mvba

import (
	"bdtnode/internal/digest"
	"bdtnode/internal/wire"
	"bdtnode/protocols"
)

// FetchValue requests the value with a digest.
type FetchValue struct {
	Instance Instance
	Digest   digest.Digest
}

// Kind is KindFetchValue.
func (*FetchValue) Kind() protocols.Kind { return KindFetchValue }

// Append encodes instance and digest.
func (m *FetchValue) Append(b []byte) []byte { return append(m.Instance.append(b), m.Digest[:]...) }

func decodeFetchValue(b []byte) (*FetchValue, error) {
	r := wire.NewReader(b)
	m := &FetchValue{Instance: readInstance(r)}
	r.Fixed(m.Digest[:])
	return m, r.Done()
}

// Value is the answer to a FetchValue.
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

func decodeValue(b []byte) (*Value, error) {
	r := wire.NewReader(b)
	in := readInstance(r)
	m := newValue(in, r.Bytes(MaxValue))
	return m, r.Done()
}

// ResendRequest is sent to a peer of which a message was refused as too far ahead: the sender has reached the round At
// and requests all messages again.
type ResendRequest struct{ At }

// Kind is KindResendRequest.
func (*ResendRequest) Kind() protocols.Kind { return KindResendRequest }

// Append encodes the round.
func (m *ResendRequest) Append(b []byte) []byte { return m.At.append(b) }

func decodeResendRequest(b []byte) (*ResendRequest, error) {
	r := wire.NewReader(b)
	m := &ResendRequest{At: readAt(r)}
	return m, r.Done()
}
