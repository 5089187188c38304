package lanes

import (
	"errors"
	"fmt"

	"bdtnode/internal/sig"
	"bdtnode/internal/wire"
	"bdtnode/protocols"
)

// Kinds of messages on the wire.
const (
	KindBatch     = protocols.KindsLanes + 0
	KindAck       = protocols.KindsLanes + 1
	KindCertified = protocols.KindsLanes + 2
	KindFetch     = protocols.KindsLanes + 3
	KindConflict  = protocols.KindsLanes + 4
	// 5 is not in use any more.
)

// Greatest lengths of encoded parts of messages, in bytes.
const (
	CutMax             = 2 + protocols.MaxReplicas*tipSize
	TipCertificateMax  = 2 + tipSize + protocols.CertificateMax
	TipCertificatesMax = 2 + protocols.MaxReplicas*TipCertificateMax
)

// Messages is the table of the messages of lanes.
var Messages = protocols.Entries(protocols.KindsLanes,
	protocols.SignedEntry{
		Kind: KindBatch, Name: "Batch", Stream: protocols.Bulk,
		Max:    headerSize + sig.SignatureSize + 4 + MaxPayload + MaxOverhead + 1 + TipCertificateMax,
		Decode: protocols.ShardDecoder(DecodeBatch), Check: protocols.ContentCheck((*Batch).SignatureChecks),
	},
	protocols.SignedEntry{
		Kind: KindAck, Name: "Ack", Max: 2 + tipSize + sig.SignatureSize,
		Decode: protocols.Decoder(DecodeAck), Check: protocols.SenderCheck((*Ack).SignatureChecks),
	},
	protocols.SignedEntry{
		Kind: KindCertified, Name: "Certified", Max: TipCertificateMax,
		Decode: protocols.Decoder(DecodeTipCertificate), Check: protocols.ContentCheck((*TipCertificate).SignatureChecks),
	},
	protocols.SignedEntry{
		Kind: KindFetch, Name: "Fetch", Max: 2 + tipSize + 8,
		Decode: protocols.Decoder(DecodeFetch), Check: protocols.ContentCheck((*Fetch).SignatureChecks),
	},
	protocols.SignedEntry{
		Kind: KindConflict, Name: "Conflict", Max: headerSize + sig.SignatureSize,
		Decode: protocols.ShardDecoder(DecodeConflict), Check: protocols.ContentCheck((*Conflict).SignatureChecks),
	},
)

// Batch is a header with its payload, from the owner of the lane or as the answer to a Fetch. Certificate, if not nil,
// proves an earlier position of the same lane: it is sent with the batch, so that a busy lane sends no certificate alone.
type Batch struct {
	SignedHeader
	Payload     []byte
	Certificate *TipCertificate
	stored      []byte // the encoding without certificate, as stored on disk
}

// Kind is KindBatch.
func (*Batch) Kind() protocols.Kind { return KindBatch }

// BatchLane is the lane that a frame, with its kind, names if it is a batch. Nothing of it has been verified.
func BatchLane(frame []byte) (protocols.Index, bool) {
	if len(frame) < 1+headerSize || protocols.Kind(frame[0]) != KindBatch {
		return 0, false
	}
	return protocols.Index(wire.NewReader(frame[1:]).U16()), true
}

// Append encodes header, signature, payload and certificate.
func (m *Batch) Append(b []byte) []byte {
	b = append(b, m.stored...)
	if m.Certificate == nil {
		return wire.AppendBool(b, false)
	}
	return m.Certificate.append(wire.AppendBool(b, true))
}

// Stored is the encoding of the batch on disk, for [DecodeStored]. It aliases the message.
func (m *Batch) Stored() []byte { return m.stored }

// SignatureChecks checks the batch without state, and lists the signature checks that prove it. It returns an error if
// the lane does not exist, if the payload does not match the header, or if the certificate is invalid or of another
// lane.
func (m *Batch) SignatureChecks(c *protocols.Committee) ([]sig.Check, error) {
	if !c.Has(m.Lane) {
		return nil, fmt.Errorf("batch of lane %d, of %d", m.Lane, c.N())
	}
	if int(m.Size) != len(m.Payload) || PayloadDigest(m.Payload) != m.Header.Payload {
		return nil, errors.New("batch does not match its header")
	}
	checks := []sig.Check{c.SignatureCheck(m.Lane, laneStatement(c, m.digest), m.Signature)}
	if m.Certificate != nil {
		if m.Certificate.Lane != m.Lane {
			return nil, errors.New("batch has a certificate of another lane")
		}
		more, err := m.Certificate.SignatureChecks(c)
		if err != nil {
			return nil, err
		}
		checks = append(checks, more...)
	}
	return checks, nil
}

// DecodeBatch reads the body of a Batch. The result aliases b.
func DecodeBatch(c *protocols.Committee, b []byte) (*Batch, error) {
	r := wire.NewReader(b)
	m := readStored(c, r)
	m.stored = b[: len(b)-r.Len() : len(b)-r.Len()]
	if r.Bool() {
		m.Certificate = readTipCertificate(r)
	}
	return m, r.Done()
}

// DecodeStored reads the output of [Batch.Stored]. The result aliases b.
func DecodeStored(c *protocols.Committee, b []byte) (*Batch, error) {
	r := wire.NewReader(b)
	m := readStored(c, r)
	m.stored = b
	return m, r.Done()
}

func readStored(c *protocols.Committee, r *wire.Reader) *Batch {
	m := &Batch{}
	m.Header = readHeader(r)
	r.Fixed(m.Signature[:])
	m.Payload = r.Bytes(MaxPayload + MaxOverhead)
	m.digest = headerDigest(c, &m.Header)
	return m
}

// NewBatch makes and signs a batch of the lane of s. It sets size and payload digest in h.
func NewBatch(c *protocols.Committee, s sig.Signer, h Header, payload []byte) *Batch {
	h.Size, h.Payload = uint32(len(payload)), PayloadDigest(payload)
	m := &Batch{SignedHeader: SignedHeader{Header: h, digest: headerDigest(c, &h)}, Payload: payload}
	m.Signature = s.Sign(laneStatement(c, m.digest))
	b := make([]byte, 0, headerSize+sig.SignatureSize+4+len(payload)+1)
	b = append(h.append(b), m.Signature[:]...)
	m.stored = wire.AppendBytes(b, payload)
	return m
}

// Ack states to the owner of a lane that the sender holds the batch at a position, and every batch below it that is neither
// certified nor committed, and that it will acknowledge no other header at that number.
type Ack struct {
	Lane      protocols.Index
	Tip       Tip
	Signature sig.Signature
}

// Kind is KindAck.
func (*Ack) Kind() protocols.Kind { return KindAck }

// Append encodes lane, position and signature.
func (m *Ack) Append(b []byte) []byte {
	return append(appendLaneTip(b, m.Lane, m.Tip), m.Signature[:]...)
}

// SignatureChecks lists the signature check that proves the ack from replica from.
func (m *Ack) SignatureChecks(c *protocols.Committee, from protocols.Index) ([]sig.Check, error) {
	if !c.Has(m.Lane) {
		return nil, fmt.Errorf("ack for lane %d, of %d", m.Lane, c.N())
	}
	return []sig.Check{c.SignatureCheck(from, ackStatement(c, m.Lane, m.Tip), m.Signature)}, nil
}

// DecodeAck reads the body of an Ack.
func DecodeAck(b []byte) (*Ack, error) {
	r := wire.NewReader(b)
	m := &Ack{}
	m.Lane, m.Tip = readLaneTip(r)
	r.Fixed(m.Signature[:])
	return m, r.Done()
}

// TipCertificate proves that the data up to a position is available: n-f replicas acknowledged the position.
type TipCertificate struct {
	Lane        protocols.Index
	Tip         Tip
	Certificate protocols.Certificate
}

// Kind is KindCertified. The owner of an idle lane sends its certificate alone.
func (*TipCertificate) Kind() protocols.Kind { return KindCertified }

// Append encodes lane, position and certificate.
func (m *TipCertificate) Append(b []byte) []byte { return m.append(b) }

func (m *TipCertificate) append(b []byte) []byte {
	return m.Certificate.Append(appendLaneTip(b, m.Lane, m.Tip))
}

// SignatureChecks lists the signature checks that prove the certificate.
func (m *TipCertificate) SignatureChecks(c *protocols.Committee) ([]sig.Check, error) {
	if !c.Has(m.Lane) {
		return nil, fmt.Errorf("certificate of lane %d, of %d", m.Lane, c.N())
	}
	return c.SignatureChecks(&m.Certificate, c.Quorum(), ackStatement(c, m.Lane, m.Tip))
}

// DecodeTipCertificate reads the body of a TipCertificate.
func DecodeTipCertificate(b []byte) (*TipCertificate, error) {
	r := wire.NewReader(b)
	m := readTipCertificate(r)
	return m, r.Done()
}

// AppendTipCertificates encodes a list of certificates: their number (2 bytes), then each one.
func AppendTipCertificates(b []byte, certs []*TipCertificate) []byte {
	b = wire.AppendU16(b, uint16(len(certs)))
	for _, c := range certs {
		b = c.append(b)
	}
	return b
}

// ReadTipCertificates decodes a list of certificates. It refuses a list that is not in strictly ascending order of lane, so
// it has at most one certificate for each lane.
func ReadTipCertificates(r *wire.Reader) []*TipCertificate {
	n := r.Count(protocols.MaxReplicas, 2+tipSize+2)
	out := make([]*TipCertificate, 0, n)
	for range n {
		c := readTipCertificate(r)
		if len(out) > 0 && c.Lane <= out[len(out)-1].Lane {
			r.Fail("certificates out of lane order")
		}
		out = append(out, c)
	}
	return out
}

func readTipCertificate(r *wire.Reader) *TipCertificate {
	m := &TipCertificate{}
	m.Lane, m.Tip = readLaneTip(r)
	m.Certificate = protocols.ReadCertificate(r)
	return m
}

// Fetch requests the batches of a lane from Tip down to After, without number After itself. A zero Digest requests, from the
// owner, the uncommitted batches of its own lane above After.
type Fetch struct {
	Lane  protocols.Index
	Tip   Tip
	After uint64
}

// Kind is KindFetch.
func (*Fetch) Kind() protocols.Kind { return KindFetch }

// Append encodes lane, position and the number After.
func (m *Fetch) Append(b []byte) []byte {
	return wire.AppendU64(appendLaneTip(b, m.Lane, m.Tip), m.After)
}

// SignatureChecks checks the request without any state. A Fetch has no signature.
func (m *Fetch) SignatureChecks(c *protocols.Committee) ([]sig.Check, error) {
	if !c.Has(m.Lane) || (!m.Tip.Digest.IsZero() && m.Tip.Seq <= m.After) {
		return nil, fmt.Errorf("fetch of lane %d from %d to %d", m.Lane, m.Tip.Seq, m.After)
	}
	return nil, nil
}

// DecodeFetch reads the body of a Fetch.
func DecodeFetch(b []byte) (*Fetch, error) {
	r := wire.NewReader(b)
	m := &Fetch{}
	m.Lane, m.Tip = readLaneTip(r)
	m.After = r.U64()
	return m, r.Done()
}

// Conflict is a header that its sender acknowledged, sent to a replica that named another header at the same number. Both
// headers are signed by the owner, so together they are evidence against the owner.
type Conflict struct{ SignedHeader }

// Kind is KindConflict.
func (*Conflict) Kind() protocols.Kind { return KindConflict }

// Append encodes header and signature.
func (m *Conflict) Append(b []byte) []byte {
	return append(m.Header.append(b), m.Signature[:]...)
}

// SignatureChecks lists the check of the owner's signature.
func (m *Conflict) SignatureChecks(c *protocols.Committee) ([]sig.Check, error) {
	if !c.Has(m.Lane) {
		return nil, fmt.Errorf("header of lane %d, of %d", m.Lane, c.N())
	}
	return []sig.Check{c.SignatureCheck(m.Lane, laneStatement(c, m.digest), m.Signature)}, nil
}

// DecodeConflict reads the body of a Conflict.
func DecodeConflict(c *protocols.Committee, b []byte) (*Conflict, error) {
	r := wire.NewReader(b)
	m := &Conflict{}
	m.Header = readHeader(r)
	r.Fixed(m.Signature[:])
	m.digest = headerDigest(c, &m.Header)
	return m, r.Done()
}

// BatchRange names the stored batches of a lane from Tip down to After, without number After itself. They are sent as
// Batch messages, newest first.
type BatchRange struct {
	Lane  protocols.Index
	Tip   Tip
	After uint64
}

// Range implements [protocols.Range].
func (BatchRange) Range() {}

func appendLaneTip(b []byte, lane protocols.Index, t Tip) []byte {
	b = wire.AppendU16(b, uint16(lane))
	b = wire.AppendU64(b, t.Seq)
	return append(b, t.Digest[:]...)
}

func readLaneTip(r *wire.Reader) (protocols.Index, Tip) {
	lane := protocols.Index(r.U16())
	t := Tip{Seq: r.U64()}
	r.Fixed(t.Digest[:])
	return lane, t
}

// StoredKey is the key of a batch in the store: lane, number and digest, in that order, so that a lane can be scanned.
func StoredKey(lane protocols.Index, t Tip) []byte {
	b := append(make([]byte, 0, 3+2+tipSize), "l/b"...)
	return appendLaneTip(b, lane, t)
}

func ackedKey(lane protocols.Index, seq uint64) []byte {
	b := append(make([]byte, 0, 3+2+8), "l/a"...)
	return wire.AppendU64(wire.AppendU16(b, uint16(lane)), seq)
}

func markKey(lane protocols.Index) []byte { return wire.AppendU16([]byte("l/m"), uint16(lane)) }
