package ledger

import (
	"fmt"

	"bdtnode/internal/digest"
	"bdtnode/internal/wire"
)

// HeaderVersion is the version of a header's encoding, its first byte. Version 2 added the last five fields, so that
// proofs made before these fields are used stay valid afterwards.
const HeaderVersion = 2

// HeaderSize is the length of an encoded header in bytes.
const HeaderSize = 1 + digest.Size + 2 + 3*8 + 1 + 6*digest.Size + 2*8 + 8 + digest.Size + 4 + 2*digest.Size

const tagHeader = "bdt/header/2"

// Header describes the effect of one block on the ledger. Replicas that executed the same blocks have equal headers;
// f+1 signatures on a header prove it, since one of the signers is honest.
type Header struct {
	Network  digest.Digest
	Shard    uint16
	Height   uint64 // 0 is the genesis
	Epoch    uint64
	Slot     uint64
	Last     bool          // the block that ended its epoch
	Parent   digest.Digest // digest of the header at Height-1, zero at height 0
	Block    digest.Digest // digest of the consensus block, zero at height 0
	TxRoot   digest.Digest // Merkle root over the ids of the transactions that got a receipt, in order, and the digests of bad batches
	Receipts digest.Digest // Merkle root over the receipts, in the same order, and the leaves of bad batches
	Outbox   digest.Digest // Merkle root over the deliveries to other shards, zero if there are none
	WriteSet digest.Digest // digest of every change that later blocks depend on, chained on the WriteSet of the parent
	TimeMS   uint64        // block time, Unix milliseconds, not below the parent's
	Txs      uint64        // number of receipts in this block and in all earlier blocks

	// The fields below are zero until the parts that set them are built (docs/design.md §13).
	StateHeight uint64        // height whose state StateRoot covers
	StateRoot   digest.Digest // root of the whole state at StateHeight
	Committee   uint32        // version of the committee that certifies the header; 0 is the one in the genesis
	NextRoster  digest.Digest // digest of the members of the next version of the committee, in its predecessor's last header
	History     digest.Digest // root over all earlier headers
}

// Append encodes the header, [HeaderSize] bytes.
func (h *Header) Append(b []byte) []byte {
	b = append(b, HeaderVersion)
	b = append(b, h.Network[:]...)
	b = wire.AppendU16(b, h.Shard)
	b = wire.AppendU64(b, h.Height)
	b = wire.AppendU64(b, h.Epoch)
	b = wire.AppendU64(b, h.Slot)
	b = wire.AppendBool(b, h.Last)
	for _, d := range []*digest.Digest{&h.Parent, &h.Block, &h.TxRoot, &h.Receipts, &h.Outbox, &h.WriteSet} {
		b = append(b, d[:]...)
	}
	b = wire.AppendU64(wire.AppendU64(b, h.TimeMS), h.Txs)
	b = append(wire.AppendU64(b, h.StateHeight), h.StateRoot[:]...)
	b = append(wire.AppendU32(b, h.Committee), h.NextRoster[:]...)
	return append(b, h.History[:]...)
}

// Encode is the canonical encoding.
func (h *Header) Encode() []byte { return h.Append(make([]byte, 0, HeaderSize)) }

// Digest is the tagged hash of the header. A VOTE signs it.
func (h *Header) Digest() digest.Digest { return digest.Of(tagHeader, h.Encode()) }

// ReadHeader decodes a header that Append encoded.
func ReadHeader(r *wire.Reader) Header {
	var h Header
	if v := r.U8(); v != HeaderVersion {
		r.Fail("header version %d is unknown, this program reads version %d", v, HeaderVersion)
	}
	r.Fixed(h.Network[:])
	h.Shard = r.U16()
	h.Height = r.U64()
	h.Epoch = r.U64()
	h.Slot = r.U64()
	h.Last = r.Bool()
	for _, d := range []*digest.Digest{&h.Parent, &h.Block, &h.TxRoot, &h.Receipts, &h.Outbox, &h.WriteSet} {
		r.Fixed(d[:])
	}
	h.TimeMS = r.U64()
	h.Txs = r.U64()
	h.StateHeight = r.U64()
	r.Fixed(h.StateRoot[:])
	h.Committee = r.U32()
	r.Fixed(h.NextRoster[:])
	r.Fixed(h.History[:])
	return h
}

// DecodeHeader decodes exactly one header; it is an error if bytes are left over.
func DecodeHeader(b []byte) (Header, error) {
	r := wire.NewReader(b)
	h := ReadHeader(r)
	if err := r.Done(); err != nil {
		return Header{}, fmt.Errorf("header: %w", err)
	}
	return h, nil
}
