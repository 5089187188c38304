package ledger

import (
	"encoding/binary"
	"fmt"
	"iter"

	"bdtnode/internal/digest"
	"bdtnode/internal/wire"
	"bdtnode/merkle"
)

// A shard with the ledger of package paylog orders opaque payloads. Its batches have entries of the two kinds below and no
// others. The entries of a batch stay in their encoding: nothing is allocated, hashed or stored for a single one.
const (
	KindOpaque     KindID = 5 // an opaque payload
	KindIdentified KindID = 6 // an id of 32 bytes, and an opaque payload that the ledger has at most once for the id
)

// MaxOpaqueBytes is the length of the longest opaque payload. The shortest has 1 byte.
const MaxOpaqueBytes = 1 << 20

// OpaqueIDSize is the length of the id of an opaque payload in bytes.
const OpaqueIDSize = 32

// MaxOpaqueOverhead is the number of bytes that a batch with one payload has besides the payload, at most.
const MaxOpaqueOverhead = payloadHead + payloadEntry + OpaqueIDSize

// groupBytes is the number of bytes of consecutive entries that end a group. A proof of one entry has its whole group.
const groupBytes = 4 << 10

const tagOpaqueGroup = "bdt/opaque-group/1"

// OpaqueKinds is the table of kinds of a shard that orders opaque payloads.
func OpaqueKinds() Kinds {
	return Kinds{{ID: KindOpaque, Name: "payload"}, {ID: KindIdentified, Name: "identified payload"}}
}

// OpaqueID is the id of an opaque payload. The party that submits it chooses the id.
type OpaqueID [OpaqueIDSize]byte

// Opaque are the entries of a batch of opaque payloads, in their encoding: for each kind 1, length 4, and content. The zero
// Opaque has none. It is not changed after its use by a second goroutine.
type Opaque struct {
	raw   []byte
	count int
	ids   int // entries with an id
	root  digest.Digest
}

// OpaqueEntry is one opaque payload. Both fields alias the batch.
type OpaqueEntry struct {
	ID      []byte // of OpaqueIDSize bytes, nil if the payload has none
	Payload []byte
}

// AppendOpaque appends the encoding of an entry. It panics if the payload is empty or too long, or if the id is neither nil
// nor of the right length.
func AppendOpaque(b, id, payload []byte) []byte {
	if len(payload) == 0 || len(payload) > MaxOpaqueBytes || id != nil && len(id) != OpaqueIDSize {
		panic(fmt.Sprintf("ledger: an opaque payload of %d bytes with an id of %d", len(payload), len(id)))
	}
	if id == nil {
		return wire.AppendBytes(append(b, byte(KindOpaque)), payload)
	}
	b = wire.AppendU32(append(b, byte(KindIdentified)), uint32(len(id)+len(payload)))
	return append(append(b, id...), payload...)
}

// ReadOpaque checks the encoding of entries, which it keeps.
func ReadOpaque(raw []byte) (Opaque, error) {
	o := Opaque{raw: raw}
	for at := 0; at < len(raw); o.count++ {
		if len(raw)-at < payloadEntry {
			return Opaque{}, fmt.Errorf("%w: entry %d ends after %d bytes", wire.ErrMalformed, o.count, len(raw)-at)
		}
		least, size := 1, int(binary.BigEndian.Uint32(raw[at+1:]))
		switch KindID(raw[at]) {
		case KindOpaque:
		case KindIdentified:
			least += OpaqueIDSize
			o.ids++
		default:
			return Opaque{}, fmt.Errorf("%w: entry %d: kind %d is unknown", wire.ErrMalformed, o.count, raw[at])
		}
		if at += payloadEntry; size < least || size > least-1+MaxOpaqueBytes || size > len(raw)-at {
			return Opaque{}, fmt.Errorf("%w: entry %d has %d bytes, of %d that follow; a payload has 1 to %d", wire.ErrMalformed, o.count, size, len(raw)-at, MaxOpaqueBytes)
		}
		at += size
	}
	return o, nil
}

// Len is the number of entries.
func (o *Opaque) Len() int { return o.count }

// IDs is the number of entries with an id.
func (o *Opaque) IDs() int { return o.ids }

// Raw is the encoding of all entries.
func (o *Opaque) Raw() []byte { return o.raw }

// Each are the entries by position in the batch, from 0.
func (o *Opaque) Each() iter.Seq2[int, OpaqueEntry] {
	return func(yield func(int, OpaqueEntry) bool) {
		for rest, i := o.raw, 0; len(rest) > 0; i++ {
			e, size := firstOpaque(rest)
			if !yield(i, e) {
				return
			}
			rest = rest[size:]
		}
	}
}

// firstOpaque is the first of checked entries, and the length of its encoding.
func firstOpaque(raw []byte) (e OpaqueEntry, size int) {
	size = payloadEntry + int(binary.BigEndian.Uint32(raw[1:]))
	e.Payload = raw[payloadEntry:size:size]
	if KindID(raw[0]) == KindIdentified {
		e.ID, e.Payload = e.Payload[:OpaqueIDSize:OpaqueIDSize], e.Payload[OpaqueIDSize:]
	}
	return e, size
}

// Part is the encoding of the first entries, as many as have at most so many bytes, but at least one unless there is none,
// and their number.
func (o *Opaque) Part(bytes, most int) (raw []byte, count int) {
	if len(o.raw) <= bytes && o.count <= most {
		return o.raw, o.count
	}
	end := 0
	for count < min(o.count, most) {
		next := end + payloadEntry + int(binary.BigEndian.Uint32(o.raw[end+1:]))
		if next > bytes && count > 0 {
			break
		}
		end, count = next, count+1
	}
	return o.raw[:end:end], count
}

// After are the entries without the first ones that [Opaque.Part] returned.
func (o *Opaque) After(raw []byte, count int) Opaque {
	return Opaque{raw: o.raw[len(raw):], count: o.count - count}
}

// OpaqueGroup are consecutive entries of a batch that have one leaf in its tree.
type OpaqueGroup struct {
	First int // position of the first entry
	Count int
	Raw   []byte // encoding of the entries
}

// Leaf is the digest of the group in the tree of its batch.
func (g *OpaqueGroup) Leaf() digest.Digest {
	var head [8]byte
	binary.BigEndian.PutUint32(head[:], uint32(g.First))
	binary.BigEndian.PutUint32(head[4:], uint32(g.Count))
	return digest.Of(tagOpaqueGroup, head[:], g.Raw)
}

// Groups are the groups of the entries: a group ends with the entry with which it has 4 KiB or more.
func (o *Opaque) Groups() iter.Seq2[int, OpaqueGroup] {
	return func(yield func(int, OpaqueGroup) bool) {
		g := OpaqueGroup{}
		number, start, at := 0, 0, 0
		for at < len(o.raw) {
			at += payloadEntry + int(binary.BigEndian.Uint32(o.raw[at+1:]))
			g.Count++
			if at-start < groupBytes && at < len(o.raw) {
				continue
			}
			g.Raw = o.raw[start:at:at]
			if !yield(number, g) {
				return
			}
			number, start, g = number+1, at, OpaqueGroup{First: g.First + g.Count}
		}
	}
}

// Root is the Merkle root over the groups. It is computed once.
func (o *Opaque) Root() digest.Digest {
	if o.root.IsZero() && o.count > 0 {
		o.root = merkle.Root(o.leaves())
	}
	return o.root
}

func (o *Opaque) leaves() []digest.Digest {
	leaves := make([]digest.Digest, 0, len(o.raw)/groupBytes+1)
	for _, g := range o.Groups() {
		leaves = append(leaves, g.Leaf())
	}
	return leaves
}

// Prove returns the group of the entry at a position, its number among the groups, their number, and the path from the
// group to the root. It panics if there is no such entry.
func (o *Opaque) Prove(position int) (g OpaqueGroup, index, groups int, path merkle.Proof) {
	leaves := o.leaves()
	for i, x := range o.Groups() {
		if position < x.First+x.Count && position >= x.First {
			return x, i, len(leaves), merkle.Prove(leaves, i)
		}
	}
	panic(fmt.Sprintf("ledger: a proof of entry %d of %d", position, o.count))
}

// EncodeOpaque encodes the payload of a batch from parts of encoded entries, see [AppendOpaque]. It panics if there are no
// entries, or more entries or bytes than the limits allow.
func EncodeOpaque(count int, parts ...[]byte) []byte {
	size := payloadHead
	for _, p := range parts {
		size += len(p)
	}
	if count == 0 || count > MaxPayloadEntries || size > MaxPayloadBytes {
		panic(fmt.Sprintf("ledger: a payload of %d entries in %d bytes", count, size))
	}
	b := wire.AppendU32(append(make([]byte, 0, size), PayloadVersion), uint32(count))
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

// CountOpaque is the number of entries in encoded parts.
func CountOpaque(parts [][]byte) (count int) {
	for _, p := range parts {
		for at := 0; at < len(p); count++ {
			at += payloadEntry + int(binary.BigEndian.Uint32(p[at+1:]))
		}
	}
	return count
}

// decodeOpaque decodes the entries of a payload of opaque payloads.
func decodeOpaque(count int, raw []byte) (*Payload, error) {
	o, err := ReadOpaque(raw)
	switch {
	case err != nil:
		return nil, err
	case o.count != count:
		return nil, fmt.Errorf("%w: a payload of %d entries says it has %d", wire.ErrMalformed, o.count, count)
	}
	return &Payload{Opaque: o}, nil
}

// LogPlace names an opaque payload in the log of a shard.
type LogPlace struct {
	Height   uint64
	Batch    uint32 // among the batches of the block, from 0
	Position uint32 // among the entries of the batch, from 0
}

// LogRepeat is an entry that is not in the log, since a payload with its id is.
type LogRepeat struct {
	Position uint32   // of the entry in its batch
	Of       LogPlace // the payload with the id
}

// LogBatch is the record of a batch of opaque payloads in a block: everything of it but the entries.
type LogBatch struct {
	Lane     uint16
	Seq      uint64
	Digest   digest.Digest // of the batch's header, which names the batch in its lane
	Count    uint32        // entries, those that are repeated included
	Bytes    uint32        // length of the encoding of all entries
	Root     digest.Digest // Merkle root over the groups of entries
	Repeated []LogRepeat   // by position
}

const (
	logBatchSize  = 2 + 8 + 2*digest.Size + 2*4 + 4
	logRepeatSize = 4 + 8 + 4 + 4
)

// Append encodes the record: lane 2, number 8, digest 32, count 4, bytes 4, root 32, number of repeated entries 4, and for
// each position 4, height 8, batch 4 and position 4.
func (x *LogBatch) Append(b []byte) []byte {
	b = wire.AppendU64(wire.AppendU16(b, x.Lane), x.Seq)
	b = append(b, x.Digest[:]...)
	b = wire.AppendU32(wire.AppendU32(b, x.Count), x.Bytes)
	b = wire.AppendU32(append(b, x.Root[:]...), uint32(len(x.Repeated)))
	for i := range x.Repeated {
		r := &x.Repeated[i]
		b = wire.AppendU64(wire.AppendU32(b, r.Position), r.Of.Height)
		b = wire.AppendU32(wire.AppendU32(b, r.Of.Batch), r.Of.Position)
	}
	return b
}

// ReadLogBatch decodes a record that Append encoded.
func ReadLogBatch(r *wire.Reader) (x LogBatch) {
	x.Lane, x.Seq = r.U16(), r.U64()
	r.Fixed(x.Digest[:])
	x.Count, x.Bytes = r.U32(), r.U32()
	r.Fixed(x.Root[:])
	n := int(r.U32())
	if n > int(x.Count) || n > MaxPayloadEntries || n*logRepeatSize > r.Len() {
		r.Fail("%d repeated entries of %d", n, x.Count)
		return x
	}
	if n > 0 {
		x.Repeated = make([]LogRepeat, n)
	}
	for i := range x.Repeated {
		x.Repeated[i] = LogRepeat{r.U32(), LogPlace{r.U64(), r.U32(), r.U32()}}
		if p := x.Repeated[i].Position; p >= x.Count || i > 0 && p <= x.Repeated[i-1].Position {
			r.Fail("repeated entry %d of %d is not in order", p, x.Count)
		}
	}
	return x
}

// Size is the length of the encoding.
func (x *LogBatch) Size() int { return logBatchSize + len(x.Repeated)*logRepeatSize }

// Leaf is the digest of the record in the tree of its block.
func (x *LogBatch) Leaf() digest.Digest {
	return digest.Of("bdt/log-batch/1", x.Append(make([]byte, 0, x.Size())))
}

// LogRoot is the Merkle root over the batches of a block, which is the root of receipts in the header of its block.
func LogRoot(batches []LogBatch) digest.Digest {
	leaves := make([]digest.Digest, len(batches))
	for i := range batches {
		leaves[i] = batches[i].Leaf()
	}
	return merkle.Root(leaves)
}

// ProveLogBatch is the path from a batch of a block to the root of receipts, see [LogRoot].
func ProveLogBatch(batches []LogBatch, i int) []digest.Digest {
	leaves := make([]digest.Digest, len(batches))
	for k := range batches {
		leaves[k] = batches[k].Leaf()
	}
	return merkle.Prove(leaves, i).Path
}
