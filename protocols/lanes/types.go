package lanes

import (
	"slices"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/internal/wire"
	"bdtnode/protocols"
)

// Limits of one batch, and of the uncommitted part of a lane. A lane that fills its window waits for commits.
const (
	MaxPayload    = 1 << 20  // bytes of one batch's payload, without the encoding of a single entry
	MaxOverhead   = 64       // bytes of that encoding: an entry of MaxPayload bytes fits into a batch of its own
	MaxCount      = 1 << 14  // entries of one batch
	WindowHeaders = 256      // headers of a lane above the last commit
	WindowBytes   = 16 << 20 // payload bytes of a lane above the last commit

	// maxGrowth is the largest distance above the last commit, in numbers, at which headers of a lane are accepted without a
	// request and uncertified tips of a cut can be voted for. An honest lane stays below it, even as seen by a replica that
	// knows fewer commits than the owner.
	maxGrowth = 2 * WindowHeaders
)

const (
	headerSize = 2 + 8 + digest.Size + digest.Size + 4 + 4 + 8
	tipSize    = 8 + digest.Size
)

// Tip is a position in a lane: a header's number and digest. The zero Tip is the lane's origin, before number 1.
type Tip struct {
	Seq    uint64
	Digest digest.Digest
}

// Cut is a position in every lane, by lane; or, for inbound channels, a position in every channel, by source shard.
type Cut []Tip

// Append encodes the cut: the number of positions (2 bytes), then number (8 bytes) and digest of each.
func (c Cut) Append(b []byte) []byte {
	b = slices.Grow(b, c.Size())
	b = wire.AppendU16(b, uint16(len(c)))
	for i := range c {
		b = wire.AppendU64(b, c[i].Seq)
		b = append(b, c[i].Digest[:]...)
	}
	return b
}

// Size is the length of the encoding, in bytes.
func (c Cut) Size() int { return 2 + len(c)*tipSize }

// ReadCut decodes the output of Append. It refuses a number 0 with a digest and another number without one.
func ReadCut(r *wire.Reader) Cut {
	c := make(Cut, r.Count(protocols.MaxReplicas, tipSize))
	for i := range c {
		c[i].Seq = r.U64()
		r.Fixed(c[i].Digest[:])
		if (c[i].Seq == 0) != c[i].Digest.IsZero() {
			r.Fail("lane %d: number %d with digest %s", i, c[i].Seq, c[i].Digest.Short())
		}
	}
	return c
}

// Extends reports whether c is at or after p in every lane, with equal digests where the numbers are equal. It is false for
// another number of lanes.
func (c Cut) Extends(p Cut) bool {
	if len(c) != len(p) {
		return false
	}
	for i := range c {
		if c[i].Seq < p[i].Seq || c[i].Seq == p[i].Seq && c[i].Digest != p[i].Digest {
			return false
		}
	}
	return true
}

// Header is the signed header of one batch. Its digest identifies the batch and, through Parent, all batches before it.
type Header struct {
	Lane    protocols.Index
	Seq     uint64        // from 1, without gaps
	Parent  digest.Digest // zero for Seq 1
	Payload digest.Digest
	Size    uint32 // bytes of the payload, at most MaxPayload + MaxOverhead
	Count   uint32 // entries in it, at most MaxCount
	TimeMS  uint64 // clock of the owner in ms since the Unix epoch, for operators; the protocol does not use it
}

func (h *Header) append(b []byte) []byte {
	b = wire.AppendU16(b, uint16(h.Lane))
	b = wire.AppendU64(b, h.Seq)
	b = append(b, h.Parent[:]...)
	b = append(b, h.Payload[:]...)
	b = wire.AppendU32(b, h.Size)
	b = wire.AppendU32(b, h.Count)
	return wire.AppendU64(b, h.TimeMS)
}

func readHeader(r *wire.Reader) Header {
	h := Header{Lane: protocols.Index(r.U16()), Seq: r.U64()}
	r.Fixed(h.Parent[:])
	r.Fixed(h.Payload[:])
	h.Size, h.Count, h.TimeMS = r.U32(), r.U32(), r.U64()
	if h.Seq == 0 || (h.Seq == 1) != h.Parent.IsZero() {
		r.Fail("lane header %d with parent %s", h.Seq, h.Parent.Short())
	}
	if h.Size > MaxPayload+MaxOverhead || h.Count > MaxCount || h.Count == 0 {
		r.Fail("lane header of %d bytes and %d entries, at most %d and %d", h.Size, h.Count, MaxPayload+MaxOverhead, MaxCount)
	}
	return h
}

// SignedHeader is a header with the signature of its owner.
type SignedHeader struct {
	Header
	Signature sig.Signature
	digest    digest.Digest
}

// Digest identifies the batch within its network and shard. It is computed when the header is decoded or signed.
func (h *SignedHeader) Digest() digest.Digest { return h.digest }

// Tip is the header's position.
func (h *SignedHeader) Tip() Tip { return Tip{h.Seq, h.digest} }

func headerDigest(c *protocols.Committee, h *Header) digest.Digest {
	n := c.Network()
	b := make([]byte, 0, digest.Size+2+headerSize)
	b = append(b, n[:]...)
	b = wire.AppendU16(b, c.Shard())
	return digest.Of("bdt/lane-header/1", h.append(b))
}

// PayloadDigest is the digest of a payload, as in its header.
func PayloadDigest(payload []byte) digest.Digest { return digest.Of("bdt/lane-payload/1", payload) }

func laneStatement(c *protocols.Committee, d digest.Digest) []byte {
	return c.Statement("bdt/lane/1", d[:])
}

func ackStatement(c *protocols.Committee, lane protocols.Index, t Tip) []byte {
	var b []byte
	b = wire.AppendU16(b, uint16(lane))
	b = wire.AppendU64(b, t.Seq)
	return c.Statement("bdt/ack/1", b, t.Digest[:])
}
