// Package logproof checks proofs of opaque payloads, in networks whose genesis has the ledger "log": that a block of the log
// has a payload at a place. It needs the genesis and no network. Formats are in docs/wire.md.
//
// Guarantee: a proof that is right shows that f+1 replicas of a shard signed a header over the payload, so an honest one
// executed a block that has it. It does not show that a log has no other payloads.
package logproof

import (
	"encoding/binary"
	"fmt"

	"bdtnode/internal/digest"
	"bdtnode/internal/wire"
	"bdtnode/merkle"
	"bdtnode/shard/proof"
)

// Bounds of opaque payloads and of the batches that have them.
const (
	MaxPayloadBytes = 1 << 20
	maxBatchBytes   = 4 << 20
	maxBatchEntries = 1 << 14
	maxBatches      = 1 << 16 // of one block
	opaqueIDSize    = 32
	entryHead       = 1 + 4
	groupBytes      = 4 << 10
)

// Kinds of entries.
const (
	kindOpaque     = 5
	kindIdentified = 6
)

// Version is the version of the encodings of [Block] and [Proof], their first byte.
const Version = 1

// Block proves which batches a block of a log has. The batches themselves are not in it: see [Batch.Check].
type Block struct {
	Header     []byte            // encoded, [proof.HeaderSize] bytes
	Signatures []proof.Signature // on the header, of distinct replicas in ascending order
	Batches    [][]byte          // the records of all batches, encoded
}

// Batch is the record of a batch.
type Batch struct {
	Lane     uint16
	Number   uint64   // in the lane
	Digest   [32]byte // of the batch's header in the lane
	Count    uint32   // entries, those that are repeated included
	Bytes    uint32   // length of the encoding of all entries
	Root     [32]byte // Merkle root over the groups of entries
	Repeated []uint32 // positions of entries that are not in the log, since a payload with their id is; ascending
}

// BlockFinding is the content of a [Block] that is right.
type BlockFinding struct {
	Shard   uint16
	Height  uint64
	TimeMS  uint64 // block time, Unix milliseconds
	Header  [32]byte
	Signers []uint16
	Batches []Batch
}

// Encode is the only encoding: version 1, header, signatures, number of batches 4, and each record with its length 4.
func (x *Block) Encode() []byte {
	b := appendSigned([]byte{Version}, x.Header, x.Signatures)
	b = wire.AppendU32(b, uint32(len(x.Batches)))
	for _, raw := range x.Batches {
		b = wire.AppendBytes(b, raw)
	}
	return b
}

// DecodeBlock reads the output of Encode. It checks the form only.
func DecodeBlock(b []byte) (*Block, error) {
	r := wire.NewReader(b)
	readVersion(r)
	x := &Block{}
	x.Header, x.Signatures = readSigned(r)
	n := int(r.U32())
	if n > maxBatches || n*4 > r.Len() {
		r.Fail("%d batches", n)
	}
	for ; n > 0 && r.Err() == nil; n-- {
		x.Batches = append(x.Batches, r.Bytes(maxBatchBytes))
	}
	if err := r.Done(); err != nil {
		return nil, wrong(proof.PartEncoding, "%v", err)
	}
	return x, nil
}

func readVersion(r *wire.Reader) {
	if v := r.U8(); v != Version && r.Err() == nil {
		r.Fail("version %d of a proof of payloads, this program reads version %d", v, Version)
	}
}

func appendSigned(b, header []byte, signatures []proof.Signature) []byte {
	b = wire.AppendU16(append(b, header...), uint16(len(signatures)))
	for i := range signatures {
		b = append(wire.AppendU16(b, signatures[i].Signer), signatures[i].Bytes[:]...)
	}
	return b
}

func readSigned(r *wire.Reader) (header []byte, signatures []proof.Signature) {
	header = r.Raw(proof.HeaderSize)
	for n := r.Count(1<<10, 2+64); n > 0 && r.Err() == nil; n-- {
		s := proof.Signature{Signer: r.U16()}
		r.Fixed(s.Bytes[:])
		signatures = append(signatures, s)
	}
	return header, signatures
}

// Verify checks header, certificate and records. The error is an [*proof.Error].
func (x *Block) Verify(n *proof.Network) (*BlockFinding, error) {
	h, err := n.CheckHeader(x.Header, x.Signatures)
	if err != nil {
		return nil, err
	}
	f := &BlockFinding{Shard: h.Shard, Height: h.Height, TimeMS: h.TimeMS, Header: h.Digest, Signers: h.Signers}
	leaves := make([]digest.Digest, len(x.Batches))
	for i, raw := range x.Batches {
		b, err := readBatch(raw)
		if err != nil {
			return nil, wrong(proof.PartEncoding, "%s: batch %d: %v", name(h), i, err)
		}
		f.Batches, leaves[i] = append(f.Batches, b), recordLeaf(raw)
	}
	if merkle.Root(leaves) != h.Receipts {
		return nil, wrong(proof.PartInclusion, "%s: the records of %d batches are not those of the header", name(h), len(leaves))
	}
	return f, nil
}

func recordLeaf(record []byte) digest.Digest { return digest.Of("bdt/log-batch/1", record) }

func readBatch(raw []byte) (x Batch, err error) {
	r := wire.NewReader(raw)
	x.Lane, x.Number = r.U16(), r.U64()
	r.Fixed(x.Digest[:])
	x.Count, x.Bytes = r.U32(), r.U32()
	r.Fixed(x.Root[:])
	n := int(r.U32())
	if n > maxBatchEntries || n > int(x.Count) {
		r.Fail("%d repeated entries of %d", n, x.Count)
	}
	for i := 0; i < n && r.Err() == nil; i++ {
		x.Repeated = append(x.Repeated, r.U32())
		r.Raw(8 + 4 + 4) // place of the payload with the id
		if p := x.Repeated[i]; p >= x.Count || i > 0 && p <= x.Repeated[i-1] {
			r.Fail("repeated entry %d of %d is not in order", p, x.Count)
		}
	}
	return x, r.Done()
}

// Check compares the entries of the whole batch, in their encoding, with the record.
func (x *Batch) Check(entries []byte) error {
	var leaves []digest.Digest
	var count, first uint32
	start := 0
	for at := 0; at < len(entries); {
		_, size, err := readEntry(entries[at:])
		if err != nil {
			return wrong(proof.PartEncoding, "entry %d: %v", count, err)
		}
		at, count = at+size, count+1
		if at-start >= groupBytes || at == len(entries) {
			leaves = append(leaves, groupLeaf(first, count-first, entries[start:at]))
			first, start = count, at
		}
	}
	if count != x.Count || len(entries) != int(x.Bytes) || merkle.Root(leaves) != x.Root {
		return wrong(proof.PartInclusion, "%d entries of %d bytes are not those of the record of %d entries in %d bytes", count, len(entries), x.Count, x.Bytes)
	}
	return nil
}

func groupLeaf(first, count uint32, raw []byte) digest.Digest {
	return digest.Of("bdt/opaque-group/1", wire.AppendU32(wire.AppendU32(nil, first), count), raw)
}

// entry is one entry of a batch.
type entry struct{ id, payload []byte }

// readEntry reads the first entry, and returns the length of its encoding.
func readEntry(b []byte) (e entry, size int, err error) {
	if len(b) < entryHead {
		return e, 0, fmt.Errorf("%d bytes are no entry", len(b))
	}
	length := int(binary.BigEndian.Uint32(b[1:]))
	if length > len(b)-entryHead {
		return e, 0, fmt.Errorf("an entry of %d bytes, %d follow", length, len(b)-entryHead)
	}
	size = entryHead + length
	e.payload = b[entryHead:size]
	switch b[0] {
	case kindOpaque:
	case kindIdentified:
		if length < opaqueIDSize {
			return e, 0, fmt.Errorf("an entry of %d bytes has no id", length)
		}
		e.id, e.payload = e.payload[:opaqueIDSize], e.payload[opaqueIDSize:]
	default:
		return e, 0, fmt.Errorf("kind %d is unknown", b[0])
	}
	if len(e.payload) == 0 || len(e.payload) > MaxPayloadBytes {
		return e, 0, fmt.Errorf("a payload of %d bytes, want 1 to %d", len(e.payload), MaxPayloadBytes)
	}
	return e, size, nil
}

// Proof proves one payload of a log without the rest of its batch: a path from a group of entries to the record of the
// batch, and one from the record to the header.
type Proof struct {
	Header     []byte
	Signatures []proof.Signature
	Batch      uint32 // number of the batch in the block
	Batches    uint32 // number of batches in the block
	Record     []byte // of the batch, encoded
	InBlock    [][32]byte
	Group      uint32 // number of the group in the batch
	Groups     uint32 // number of groups in the batch
	First      uint32 // position of the first entry of the group
	Entries    []byte // of the group, encoded
	InBatch    [][32]byte
	Position   uint32 // of the payload among the entries of the batch
}

// Encode is the only encoding: version 1, header, signatures, then the fields in their order; byte strings have a length of
// 4 bytes, paths a length of 1 byte.
func (p *Proof) Encode() []byte {
	b := appendSigned([]byte{Version}, p.Header, p.Signatures)
	b = wire.AppendBytes(wire.AppendU32(wire.AppendU32(b, p.Batch), p.Batches), p.Record)
	b = path(p.InBlock).Append(b)
	b = wire.AppendU32(wire.AppendU32(wire.AppendU32(b, p.Group), p.Groups), p.First)
	b = path(p.InBatch).Append(wire.AppendBytes(b, p.Entries))
	return wire.AppendU32(b, p.Position)
}

// Decode reads the output of Encode. It checks the form only.
func Decode(b []byte) (*Proof, error) {
	r := wire.NewReader(b)
	readVersion(r)
	p := &Proof{}
	p.Header, p.Signatures = readSigned(r)
	p.Batch, p.Batches, p.Record = r.U32(), r.U32(), r.Bytes(maxBatchBytes)
	p.InBlock = siblings(merkle.ReadProof(r))
	p.Group, p.Groups, p.First = r.U32(), r.U32(), r.U32()
	p.Entries = r.Bytes(maxBatchBytes)
	p.InBatch = siblings(merkle.ReadProof(r))
	p.Position = r.U32()
	if err := r.Done(); err != nil {
		return nil, wrong(proof.PartEncoding, "%v", err)
	}
	return p, nil
}

func wrong(p proof.Part, format string, args ...any) error {
	return &proof.Error{Part: p, Detail: fmt.Sprintf(format, args...)}
}

// name names the block of a header in errors.
func name(h *proof.Signed) string { return fmt.Sprintf("shard %d, block %d", h.Shard, h.Height) }

func path(siblings [][32]byte) merkle.Proof {
	p := merkle.Proof{Path: make([]digest.Digest, len(siblings))}
	for i := range siblings {
		p.Path[i] = siblings[i]
	}
	return p
}

func siblings(p merkle.Proof) [][32]byte {
	out := make([][32]byte, len(p.Path))
	for i := range p.Path {
		out[i] = p.Path[i]
	}
	return out
}

// Finding is the content of a [Proof] that is right.
type Finding struct {
	Shard    uint16
	Height   uint64
	Batch    uint32
	Position uint32
	TimeMS   uint64 // block time, Unix milliseconds
	ID       []byte // of 32 bytes, nil if the payload has none
	Payload  []byte
	Signers  []uint16
}

// Verify checks the proof. The error is an [*proof.Error].
func (p *Proof) Verify(n *proof.Network) (*Finding, error) {
	h, err := n.CheckHeader(p.Header, p.Signatures)
	if err != nil {
		return nil, err
	}
	record, err := readBatch(p.Record)
	switch {
	case err != nil:
		return nil, wrong(proof.PartEncoding, "%s: the record of batch %d: %v", name(h), p.Batch, err)
	case !path(p.InBlock).Verify(h.Receipts, recordLeaf(p.Record), int(p.Batch), int(p.Batches)):
		return nil, wrong(proof.PartInclusion, "%s: no path shows the record of batch %d of %d", name(h), p.Batch, p.Batches)
	}
	var found *entry
	count := uint32(0)
	for rest := p.Entries; len(rest) > 0; count++ {
		e, size, err := readEntry(rest)
		if err != nil {
			return nil, wrong(proof.PartEncoding, "%s: entry %d: %v", name(h), p.First+count, err)
		}
		if p.First+count == p.Position {
			found = &e
		}
		rest = rest[size:]
	}
	if !path(p.InBatch).Verify(record.Root, groupLeaf(p.First, count, p.Entries), int(p.Group), int(p.Groups)) {
		return nil, wrong(proof.PartInclusion, "%s: no path shows group %d of %d in batch %d", name(h), p.Group, p.Groups, p.Batch)
	}
	if found == nil {
		return nil, wrong(proof.PartInclusion, "%s: entry %d of batch %d is not in the proof", name(h), p.Position, p.Batch)
	}
	for _, at := range record.Repeated {
		if at == p.Position {
			return nil, wrong(proof.PartInclusion, "%s: entry %d of batch %d repeats an id and is not in the log", name(h), p.Position, p.Batch)
		}
	}
	return &Finding{
		Shard: h.Shard, Height: h.Height, Batch: p.Batch, Position: p.Position, TimeMS: h.TimeMS,
		ID: found.id, Payload: found.payload, Signers: h.Signers,
	}, nil
}
