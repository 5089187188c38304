package bolt

import (
	"fmt"
	"slices"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/internal/wire"
	"bdtnode/protocols"
	"bdtnode/protocols/lanes"
)

// Kinds of messages on the wire.
const (
	KindPropose    = protocols.KindsBolt + 0
	KindVote       = protocols.KindsBolt + 1
	KindFinalize   = protocols.KindsBolt + 2
	KindFetchBlock = protocols.KindsBolt + 3
)

// slotSize is the length of an encoded epoch, slot and digest, in bytes.
const slotSize = 8 + 8 + digest.Size

// Messages is the table of the messages of the fast lane.
var Messages = protocols.Entries(protocols.KindsBolt,
	protocols.SignedEntry{
		Kind: KindPropose, Name: "Propose", Max: 2 + BlockMax + lanes.TipCertificatesMax + sig.SignatureSize,
		Decode: protocols.ShardDecoder(DecodePropose), Check: protocols.ContentCheck((*Propose).SignatureChecks),
		Epoch: protocols.Field(func(m *Propose) uint64 { return m.Block.Epoch }),
	},
	protocols.SignedEntry{
		Kind: KindVote, Name: "Vote", Max: slotSize + sig.SignatureSize,
		Decode: protocols.Decoder(DecodeVote), Check: protocols.SenderCheck((*Vote).SignatureChecks),
		Epoch: protocols.Field(func(m *Vote) uint64 { return m.Epoch }),
	},
	protocols.SignedEntry{
		Kind: KindFinalize, Name: "Finalize", Max: slotSize, Decode: protocols.Decoder(DecodeFinalize),
		Epoch: protocols.Field(func(m *Finalize) uint64 { return m.Epoch }),
	},
	protocols.SignedEntry{
		Kind: KindFetchBlock, Name: "FetchBlock", Max: slotSize, Decode: protocols.Decoder(DecodeFetchBlock),
		Epoch: protocols.Field(func(m *FetchBlock) uint64 { return m.Epoch }),
	},
)

// Propose is the block of the leader for a slot, with certificates of tips that some replicas may not have acknowledged.
type Propose struct {
	Leader       protocols.Index
	Block        *Block
	Certificates []*lanes.TipCertificate
	Signature    sig.Signature
}

// Kind is KindPropose.
func (*Propose) Kind() protocols.Kind { return KindPropose }

// Append encodes leader, block, certificates and signature.
func (m *Propose) Append(b []byte) []byte {
	b = slices.Grow(b, 2+m.Block.size()+2+sig.SignatureSize) // with certificates it grows once more
	b = m.Block.Append(wire.AppendU16(b, uint16(m.Leader)))
	b = lanes.AppendTipCertificates(b, m.Certificates)
	return append(b, m.Signature[:]...)
}

// SignatureChecks lists the signature checks that prove the proposal of Leader and the certificates. It returns an
// error if Leader is not a replica of the shard or a certificate has too few signers.
func (m *Propose) SignatureChecks(c *protocols.Committee) ([]sig.Check, error) {
	if !c.Has(m.Leader) {
		return nil, fmt.Errorf("proposal of replica %d, of %d", m.Leader, c.N())
	}
	checks := []sig.Check{c.SignatureCheck(m.Leader, proposeStatement(c, m.Leader, m.Block), m.Signature)}
	for _, tc := range m.Certificates {
		more, err := tc.SignatureChecks(c)
		if err != nil {
			return nil, err
		}
		checks = append(checks, more...)
	}
	return checks, nil
}

// DecodePropose reads the body of a Propose. It refuses a last block, and epoch, slot or height 0.
func DecodePropose(c *protocols.Committee, b []byte) (*Propose, error) {
	r := wire.NewReader(b)
	m := &Propose{Leader: protocols.Index(r.U16())}
	m.Block = ReadBlock(c, r)
	m.Certificates = lanes.ReadTipCertificates(r)
	r.Fixed(m.Signature[:])
	if err := r.Done(); err != nil {
		return nil, err
	}
	if m.Block.Last || m.Block.Height == 0 || m.Block.Epoch == 0 {
		return nil, fmt.Errorf("%w: a proposal needs a slot, and epoch and height are at least 1", wire.ErrMalformed)
	}
	return m, nil
}

// Vote is the signature of a replica on the block of a slot.
type Vote struct {
	Epoch, Slot uint64
	Digest      digest.Digest
	Signature   sig.Signature
}

// Kind is KindVote.
func (*Vote) Kind() protocols.Kind { return KindVote }

// Append encodes epoch, slot, digest and signature.
func (m *Vote) Append(b []byte) []byte {
	b = slices.Grow(b, slotSize+sig.SignatureSize)
	return append(appendSlot(b, m.Epoch, m.Slot, m.Digest), m.Signature[:]...)
}

// SignatureChecks lists the signature check that proves the vote from replica from.
func (m *Vote) SignatureChecks(c *protocols.Committee, from protocols.Index) ([]sig.Check, error) {
	return []sig.Check{c.SignatureCheck(from, voteStatement(c, m.Epoch, m.Slot, m.Digest), m.Signature)}, nil
}

// DecodeVote reads the body of a Vote.
func DecodeVote(b []byte) (*Vote, error) {
	r := wire.NewReader(b)
	m := &Vote{}
	m.Epoch, m.Slot, m.Digest = readSlot(r)
	r.Fixed(m.Signature[:])
	return m, r.Done()
}

// Finalize states that its sender holds a QC for the block of a slot. It has no signature: it is authenticated by the
// stream on which it arrives, and the receiver never shows it to others.
type Finalize struct {
	Epoch, Slot uint64
	Digest      digest.Digest
}

// Kind is KindFinalize.
func (*Finalize) Kind() protocols.Kind { return KindFinalize }

// Append encodes epoch, slot and digest.
func (m *Finalize) Append(b []byte) []byte { return appendSlot(b, m.Epoch, m.Slot, m.Digest) }

// DecodeFinalize reads the body of a Finalize.
func DecodeFinalize(b []byte) (*Finalize, error) {
	r := wire.NewReader(b)
	m := &Finalize{}
	m.Epoch, m.Slot, m.Digest = readSlot(r)
	return m, r.Done()
}

// FetchBlock requests the proposal with a digest.
type FetchBlock struct {
	Epoch, Slot uint64
	Digest      digest.Digest
}

// Kind is KindFetchBlock.
func (*FetchBlock) Kind() protocols.Kind { return KindFetchBlock }

// Append encodes epoch, slot and digest.
func (m *FetchBlock) Append(b []byte) []byte { return appendSlot(b, m.Epoch, m.Slot, m.Digest) }

// DecodeFetchBlock reads the body of a FetchBlock.
func DecodeFetchBlock(b []byte) (*FetchBlock, error) {
	r := wire.NewReader(b)
	m := &FetchBlock{}
	m.Epoch, m.Slot, m.Digest = readSlot(r)
	return m, r.Done()
}

// QC has n-f votes on one (epoch, slot, block).
type QC struct {
	Epoch, Slot uint64
	Digest      digest.Digest
	Certificate protocols.Certificate
}

// Append encodes epoch, slot, digest and certificate.
func (q *QC) Append(b []byte) []byte {
	b = slices.Grow(b, slotSize+q.Certificate.Size())
	return q.Certificate.Append(appendSlot(b, q.Epoch, q.Slot, q.Digest))
}

// ReadQC decodes the output of Append.
func ReadQC(r *wire.Reader) *QC {
	q := &QC{}
	q.Epoch, q.Slot, q.Digest = readSlot(r)
	q.Certificate = protocols.ReadCertificate(r)
	return q
}

// SignatureChecks lists the signature checks that prove the QC. It returns an error for fewer than n-f signers.
func (q *QC) SignatureChecks(c *protocols.Committee) ([]sig.Check, error) {
	return c.SignatureChecks(&q.Certificate, c.Quorum(), voteStatement(c, q.Epoch, q.Slot, q.Digest))
}

func appendSlot(b []byte, epoch, slot uint64, d digest.Digest) []byte {
	b = wire.AppendU64(wire.AppendU64(slices.Grow(b, slotSize), epoch), slot)
	return append(b, d[:]...)
}

func readSlot(r *wire.Reader) (epoch, slot uint64, d digest.Digest) {
	epoch, slot = r.U64(), r.U64()
	r.Fixed(d[:])
	if epoch == 0 || slot == 0 || d.IsZero() {
		r.Fail("epoch %d slot %d digest %s", epoch, slot, d.Short())
	}
	return epoch, slot, d
}

func voteStatement(c *protocols.Committee, epoch, slot uint64, d digest.Digest) []byte {
	return c.Statement("bdt/vote/1", appendSlot(nil, epoch, slot, d))
}

func proposeStatement(c *protocols.Committee, leader protocols.Index, b *Block) []byte {
	return slotProposed(c, leader, b.Epoch, b.Slot, b.digest)
}

func slotProposed(c *protocols.Committee, leader protocols.Index, epoch, slot uint64, d digest.Digest) []byte {
	return c.Statement("bdt/propose/1", wire.AppendU16(nil, uint16(leader)), appendSlot(nil, epoch, slot, d))
}
