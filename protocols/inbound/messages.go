package inbound

import (
	"fmt"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/internal/wire"
	"bdtnode/protocols"
	"bdtnode/protocols/lanes"
)

// Kinds of messages on the wire.
const (
	KindLD      = protocols.KindsInbound + 0
	KindSIGN    = protocols.KindsInbound + 1
	KindFetchLD = protocols.KindsInbound + 2
	// 3 is not in use any more.
)

// positionSize is the length of an encoded position in a channel, in bytes.
const positionSize = 2 + 8 + digest.Size

// Messages is the table of the messages of channels. The content of an LD is of the parent, which decodes it: the decoded
// message embeds an [LD], and its encoding has at most maxLD bytes. The parent also verifies LDs.
func Messages(maxLD int, decodeLD func(*protocols.Committee, []byte) (protocols.Message, error)) []protocols.SignedEntry {
	return protocols.Entries(protocols.KindsInbound,
		protocols.SignedEntry{Kind: KindLD, Name: "LD", Stream: protocols.Bulk, Max: maxLD, Decode: decodeLD},
		protocols.SignedEntry{
			Kind: KindSIGN, Name: "SIGN", Max: positionSize + sig.SignatureSize,
			Decode: protocols.Decoder(DecodeSIGN), Check: protocols.SenderCheck((*SIGN).SignatureChecks),
			Source: protocols.Field(func(m *SIGN) uint16 { return m.Source }),
		},
		protocols.SignedEntry{
			Kind: KindFetchLD, Name: "FetchLD", Max: positionSize + 8, Decode: protocols.Decoder(DecodeFetchLD),
			Source: protocols.Field(func(m *FetchLD) uint16 { return m.Source }),
		},
		protocols.SignedEntry{
			Kind: KindCertificate, Name: "TipCertificate", Max: positionSize + protocols.CertificateMax,
			Decode: protocols.Decoder(DecodeTipCertificate), Check: protocols.ContentCheck((*TipCertificate).SignatureChecks),
			Source: protocols.Field(func(m *TipCertificate) uint16 { return m.Source }),
		},
	)
}

// LD is a checked ledger delivery, reduced to the fields that consensus needs: its position in the channel, and its bytes.
// The content and its certificate were checked before.
type LD struct {
	Source   uint16
	Number   uint64 // from 1, without gaps
	Previous digest.Digest
	Digest   digest.Digest
	Raw      []byte
}

// Tip is the LD's position in its channel.
func (m *LD) Tip() lanes.Tip { return lanes.Tip{Seq: m.Number, Digest: m.Digest} }

// Kind is KindLD.
func (*LD) Kind() protocols.Kind { return KindLD }

// Append appends the bytes of the LD.
func (m *LD) Append(b []byte) []byte { return append(b, m.Raw...) }

// SIGN states that its sender holds an LD and all LDs of the channel before it.
type SIGN struct {
	Source    uint16
	Tip       lanes.Tip
	Signature sig.Signature
}

// Kind is KindSIGN.
func (*SIGN) Kind() protocols.Kind { return KindSIGN }

// Append encodes channel, position and signature.
func (m *SIGN) Append(b []byte) []byte {
	return append(appendPosition(b, m.Source, m.Tip), m.Signature[:]...)
}

// SignatureChecks lists the signature check that proves the SIGN from replica from.
func (m *SIGN) SignatureChecks(c *protocols.Committee, from protocols.Index) ([]sig.Check, error) {
	return []sig.Check{c.SignatureCheck(from, statement(c, m.Source, m.Tip), m.Signature)}, nil
}

// DecodeSIGN reads the body of a SIGN.
func DecodeSIGN(b []byte) (*SIGN, error) {
	r := wire.NewReader(b)
	m := &SIGN{}
	m.Source, m.Tip = readPosition(r)
	r.Fixed(m.Signature[:])
	return m, r.Done()
}

// FetchLD requests the LDs of a channel from Tip down to After, without After itself: at least 1 and at most [Window].
type FetchLD struct {
	Source uint16
	Tip    lanes.Tip
	After  uint64
}

// Kind is KindFetchLD.
func (*FetchLD) Kind() protocols.Kind { return KindFetchLD }

// Append encodes channel, position and the number After.
func (m *FetchLD) Append(b []byte) []byte {
	return wire.AppendU64(appendPosition(b, m.Source, m.Tip), m.After)
}

// DecodeFetchLD reads the body of a FetchLD. It refuses a request for no LD or for more than [Window].
func DecodeFetchLD(b []byte) (*FetchLD, error) {
	r := wire.NewReader(b)
	m := &FetchLD{}
	m.Source, m.Tip = readPosition(r)
	if m.After = r.U64(); m.After >= m.Tip.Seq || m.Tip.Seq-m.After > Window {
		r.Fail("a fetch of LDs above %d up to %d", m.After, m.Tip.Seq)
	}
	return m, r.Done()
}

// LDRange names the stored LDs of a channel from Tip down to After, without After itself. They are sent newest first.
type LDRange struct {
	Source uint16
	Tip    lanes.Tip
	After  uint64
}

// Range implements [protocols.Range].
func (LDRange) Range() {}

func appendPosition(b []byte, source uint16, t lanes.Tip) []byte {
	b = wire.AppendU16(b, source)
	b = wire.AppendU64(b, t.Seq)
	return append(b, t.Digest[:]...)
}

func readPosition(r *wire.Reader) (uint16, lanes.Tip) {
	source := r.U16()
	t := lanes.Tip{Seq: r.U64()}
	r.Fixed(t.Digest[:])
	if t.Seq == 0 || t.Digest.IsZero() {
		r.Fail("LD number %d with digest %s", t.Seq, t.Digest.Short())
	}
	return source, t
}

func statement(c *protocols.Committee, source uint16, t lanes.Tip) []byte {
	return c.Statement("bdt/SIGN/1", appendPosition(nil, source, t))
}

// StoredKey is the key of an LD in the store: source and number, then digest.
func StoredKey(source uint16, t lanes.Tip) []byte {
	return appendPosition(append(make([]byte, 0, 3+2+8+digest.Size), "i/l"...), source, t)
}

// signedKey is the key of the record that this replica signed an LD: source, then number. Its value is the digest.
func signedKey(source uint16, number uint64) []byte {
	return wire.AppendU64(wire.AppendU16([]byte("i/s"), source), number)
}

// EncodeStored encodes an LD for the store, with its position and the digest of the LD before it: this package cannot read
// them from the bytes of the LD.
func (m *LD) EncodeStored() []byte {
	b := appendPosition(make([]byte, 0, 2+8+2*digest.Size+len(m.Raw)), m.Source, m.Tip())
	return append(append(b, m.Previous[:]...), m.Raw...)
}

// DecodeStored decodes the output of EncodeStored. The result aliases b.
func DecodeStored(b []byte) (*LD, error) {
	r := wire.NewReader(b)
	m := &LD{}
	var t lanes.Tip
	m.Source, t = readPosition(r)
	m.Number, m.Digest = t.Seq, t.Digest
	r.Fixed(m.Previous[:])
	m.Raw = r.Raw(r.Len())
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("stored LD: %w", err)
	}
	return m, nil
}
