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
	KindChain     = protocols.KindsLanes + 5
)

// Batch is a header with its payload, from the lane's owner or in answer to a Fetch. Certificate, if not nil,
// proves an earlier position of the same lane: it rides along so that a busy lane sends none alone.
type Batch struct {
	SignedHeader
	Payload     []byte
	Certificate *TipCertificate
	stored      []byte // the encoding without certificate, as it is kept on disk
}

// Kind is KindBatch.
func (*Batch) Kind() protocols.Kind { return KindBatch }

// Append encodes header, signature, payload and certificate.
func (m *Batch) Append(b []byte) []byte {
	b = append(b, m.stored...)
	if m.Certificate == nil {
		return wire.AppendBool(b, false)
	}
	return m.Certificate.append(wire.AppendBool(b, true))
}

// Stored is the batch as it is kept on disk, to be read again by [DecodeStored]. It aliases the message.
func (m *Batch) Stored() []byte { return m.stored }

// Items checks what needs no state, and names the signatures that prove the batch: its header is signed by the
// lane's owner and matches the payload.
func (m *Batch) Items(c *protocols.Committee) ([]sig.Item, error) {
	if !c.Has(m.Lane) {
		return nil, fmt.Errorf("batch of lane %d, of %d", m.Lane, c.N())
	}
	if int(m.Size) != len(m.Payload) || PayloadDigest(m.Payload) != m.Header.Payload {
		return nil, errors.New("batch does not match its header")
	}
	items := []sig.Item{c.Item(m.Lane, laneStatement(c, m.digest), m.Signature)}
	if m.Certificate != nil {
		if m.Certificate.Lane != m.Lane {
			return nil, errors.New("batch carries another lane's certificate")
		}
		more, err := m.Certificate.Items(c)
		if err != nil {
			return nil, err
		}
		items = append(items, more...)
	}
	return items, nil
}

// DecodeBatch reads a Batch's body. The result aliases b.
func DecodeBatch(c *protocols.Committee, b []byte) (*Batch, error) {
	r := wire.NewReader(b)
	m := readStored(c, r)
	m.stored = b[: len(b)-r.Len() : len(b)-r.Len()]
	if r.Bool() {
		m.Certificate = readTipCertificate(r)
	}
	return m, r.Done()
}

// DecodeStored reads what [Batch.Stored] gave. The result aliases b.
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
	m.Payload = r.Bytes(MaxPayload)
	m.digest = headerDigest(c, &m.Header)
	return m
}

// NewBatch signs a batch of the signer's own lane.
func NewBatch(c *protocols.Committee, s sig.Signer, h Header, payload []byte) *Batch {
	h.Size, h.Payload = uint32(len(payload)), PayloadDigest(payload)
	m := &Batch{SignedHeader: SignedHeader{Header: h, digest: headerDigest(c, &h)}, Payload: payload}
	m.Signature = s.Sign(laneStatement(c, m.digest))
	b := make([]byte, 0, headerSize+sig.SignatureSize+4+len(payload)+1)
	b = append(h.append(b), m.Signature[:]...)
	m.stored = wire.AppendBytes(b, payload)
	return m
}

// Ack tells a lane's owner that the sender holds everything up to a position, and will acknowledge no other
// header at its number.
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

// Items names the signature that proves the ack to be from.
func (m *Ack) Items(c *protocols.Committee, from protocols.Index) ([]sig.Item, error) {
	if !c.Has(m.Lane) {
		return nil, fmt.Errorf("ack for lane %d, of %d", m.Lane, c.N())
	}
	return []sig.Item{c.Item(from, ackStatement(c, m.Lane, m.Tip), m.Signature)}, nil
}

// DecodeAck reads an Ack's body.
func DecodeAck(b []byte) (*Ack, error) {
	r := wire.NewReader(b)
	m := &Ack{}
	m.Lane, m.Tip = readLaneTip(r)
	r.Fixed(m.Signature[:])
	return m, r.Done()
}

// TipCertificate proves a position available: n-f replicas acknowledged it.
type TipCertificate struct {
	Lane        protocols.Index
	Tip         Tip
	Certificate protocols.Certificate
}

// Kind is KindCertified: an idle lane's owner sends the certificate alone.
func (*TipCertificate) Kind() protocols.Kind { return KindCertified }

// Append encodes lane, position and certificate.
func (m *TipCertificate) Append(b []byte) []byte { return m.append(b) }

func (m *TipCertificate) append(b []byte) []byte {
	return m.Certificate.Append(appendLaneTip(b, m.Lane, m.Tip))
}

// Items names the signatures that prove the certificate.
func (m *TipCertificate) Items(c *protocols.Committee) ([]sig.Item, error) {
	if !c.Has(m.Lane) {
		return nil, fmt.Errorf("certificate of lane %d, of %d", m.Lane, c.N())
	}
	return c.Items(&m.Certificate, c.Quorum(), ackStatement(c, m.Lane, m.Tip))
}

// DecodeTipCertificate reads a TipCertificate's body.
func DecodeTipCertificate(b []byte) (*TipCertificate, error) {
	r := wire.NewReader(b)
	m := readTipCertificate(r)
	return m, r.Done()
}

// AppendTipCertificates encodes a list of certificates.
func AppendTipCertificates(b []byte, certs []*TipCertificate) []byte {
	b = wire.AppendU16(b, uint16(len(certs)))
	for _, c := range certs {
		b = c.append(b)
	}
	return b
}

// ReadTipCertificates decodes a list of certificates, at most one for each lane and in lane order.
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

// Fetch asks for the batches of a lane from Tip back to, but without, number After. A zero Digest asks the owner
// for its own lane above After, as far as it is uncommitted.
type Fetch struct {
	Lane  protocols.Index
	Tip   Tip
	After uint64
}

// Kind is KindFetch.
func (*Fetch) Kind() protocols.Kind { return KindFetch }

// Append encodes lane, position and end.
func (m *Fetch) Append(b []byte) []byte {
	return wire.AppendU64(appendLaneTip(b, m.Lane, m.Tip), m.After)
}

// Items checks what needs no state; a Fetch carries no signature.
func (m *Fetch) Items(c *protocols.Committee) ([]sig.Item, error) {
	if !c.Has(m.Lane) || (!m.Tip.Digest.IsZero() && m.Tip.Seq <= m.After) {
		return nil, fmt.Errorf("fetch of lane %d from %d to %d", m.Lane, m.Tip.Seq, m.After)
	}
	return nil, nil
}

// DecodeFetch reads a Fetch's body.
func DecodeFetch(b []byte) (*Fetch, error) {
	r := wire.NewReader(b)
	m := &Fetch{}
	m.Lane, m.Tip = readLaneTip(r)
	m.After = r.U64()
	return m, r.Done()
}

// Conflict is a header that its sender acknowledged, for a replica that named another one at its number. Both
// signed by the owner, they are evidence against it.
type Conflict struct{ SignedHeader }

// Kind is KindConflict.
func (*Conflict) Kind() protocols.Kind { return KindConflict }

// Append encodes header and signature.
func (m *Conflict) Append(b []byte) []byte {
	return append(m.Header.append(b), m.Signature[:]...)
}

// Items names the owner's signature.
func (m *Conflict) Items(c *protocols.Committee) ([]sig.Item, error) {
	if !c.Has(m.Lane) {
		return nil, fmt.Errorf("header of lane %d, of %d", m.Lane, c.N())
	}
	return []sig.Item{c.Item(m.Lane, laneStatement(c, m.digest), m.Signature)}, nil
}

// DecodeConflict reads a Conflict's body.
func DecodeConflict(c *protocols.Committee, b []byte) (*Conflict, error) {
	r := wire.NewReader(b)
	m := &Conflict{}
	m.Header = readHeader(r)
	r.Fixed(m.Signature[:])
	m.digest = headerDigest(c, &m.Header)
	return m, r.Done()
}

// Chain stands for stored batches, from Tip back to but without number After, that whoever carries out the step
// reads from the store and sends as Batch messages, newest first. It never goes over the wire itself.
type Chain struct {
	Lane  protocols.Index
	Tip   Tip
	After uint64
}

// Kind is KindChain.
func (*Chain) Kind() protocols.Kind { return KindChain }

// Append panics: a Chain is expanded, never encoded.
func (*Chain) Append([]byte) []byte { panic("lanes: a Chain is not a wire message") }

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

// StoredKey is where a batch is kept: by lane, number and digest, in that order, so that a lane can be scanned.
func StoredKey(lane protocols.Index, t Tip) []byte {
	b := append(make([]byte, 0, 3+2+tipSize), "l/b"...)
	return appendLaneTip(b, lane, t)
}

func ackedKey(lane protocols.Index, seq uint64) []byte {
	b := append(make([]byte, 0, 3+2+8), "l/a"...)
	return wire.AppendU64(wire.AppendU16(b, uint16(lane)), seq)
}

func markKey(lane protocols.Index) []byte { return wire.AppendU16([]byte("l/m"), uint16(lane)) }
