package lanes

import (
	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/internal/wire"
	"bdtnode/protocols"
)

// Limits of one batch and of what a lane may have uncommitted. A lane that reaches its window waits for commits.
const (
	MaxPayload    = 1 << 20 // bytes of one batch's payload
	MaxCount      = 1 << 14 // entries of one batch
	WindowHeaders = 256     // headers of a lane above the last commit
	WindowBytes   = 16 << 20

	// maxGrowth is how many numbers above the last commit headers of a lane are taken, and above the parent's how many an
	// uncertified tip of a cut may be: more than an honest lane comes to, seen by who is behind its owner.
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

// Cut is a position in every lane, in lane order; or, for inbound channels, in every channel by source shard.
type Cut []Tip

// Append encodes the cut: count, then each position.
func (c Cut) Append(b []byte) []byte {
	b = wire.AppendU16(b, uint16(len(c)))
	for i := range c {
		b = wire.AppendU64(b, c[i].Seq)
		b = append(b, c[i].Digest[:]...)
	}
	return b
}

// ReadCut decodes what Append wrote. It refuses an origin with a digest and a position without one.
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

// Extends reports whether no position of c is behind p's, and none has another digest at one number.
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

// Header is the signed head of one batch. Its digest names the batch and, through Parent, all before it.
type Header struct {
	Lane    protocols.Index
	Seq     uint64        // from 1, without gaps
	Parent  digest.Digest // zero for Seq 1
	Payload digest.Digest
	Size    uint32 // bytes of the payload, at most MaxPayload
	Count   uint32 // entries in it, at most MaxCount
	TimeMS  uint64 // owner's clock, for operators; nothing depends on it
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
	if h.Size > MaxPayload || h.Count > MaxCount || h.Count == 0 {
		r.Fail("lane header of %d bytes and %d entries, at most %d and %d", h.Size, h.Count, MaxPayload, MaxCount)
	}
	return h
}

// SignedHeader is a header with its owner's signature.
type SignedHeader struct {
	Header
	Signature sig.Signature
	digest    digest.Digest
}

// Digest names the batch within its network and shard. It is computed at decoding or signing.
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

// PayloadDigest is the digest of a payload that headers carry.
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
