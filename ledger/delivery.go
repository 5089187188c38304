package ledger

import (
	"errors"
	"fmt"

	"bdtnode/internal/digest"
	"bdtnode/internal/wire"
	"bdtnode/merkle"
)

// DeliveryVersion is the version of a delivery's encoding, its first byte.
const DeliveryVersion = 1

// MaxDeliveryBytes bounds the encoding of a Delivery. Entries of a block for one destination beyond it go into
// further deliveries.
const MaxDeliveryBytes = 224 << 10

// Sizes in bytes of the parts of a delivery.
const (
	deliveryHead = 1 + 2 + 2 + 8 + digest.Size + 8 + 4
	deliveryItem = 1 + 1 + 4
)

// Tags under which deliveries are hashed.
const (
	tagDelivery = "bdt/delivery/1"
	tagEntry    = "bdt/entry/1"
)

// Entry is one shard's final verdict on one transaction: VerdictSpent, or VerdictRejected with a reason.
type Entry struct {
	Verdict Verdict
	Reason  Reason // of a rejection
	Tx      *Tx
}

// Delivery has verdicts that one block of a source shard sends to a destination shard: it is the content of an LD
// without the proof. A block may make several deliveries for one destination, and one without entries if only Applied
// has to be sent. A Delivery is immutable.
type Delivery struct {
	Source      uint16
	Destination uint16
	Number      uint64        // counts from 1 without gaps for each pair of source and destination
	Previous    digest.Digest // digest of the delivery with the number before, zero for the first
	Applied     uint64        // number of the last delivery of Destination that Source has applied
	Entries     []Entry
	digest      digest.Digest
}

// NewDelivery returns the delivery with its digest computed.
func NewDelivery(d Delivery) *Delivery {
	leaves := make([]digest.Digest, len(d.Entries))
	for i := range d.Entries {
		e := &d.Entries[i]
		leaves[i] = digest.Of(tagEntry, []byte{byte(e.Verdict), byte(e.Reason)}, e.Tx.id[:])
	}
	root := merkle.Root(leaves)
	head := wire.AppendU16(wire.AppendU16(nil, d.Source), d.Destination)
	head = append(wire.AppendU64(head, d.Number), d.Previous[:]...)
	head = wire.AppendU32(wire.AppendU64(head, d.Applied), uint32(len(d.Entries)))
	d.digest = digest.Of(tagDelivery, head, root[:])
	return &d
}

// Digest is the digest of the delivery. It covers all fields and, through Previous, all earlier deliveries of the
// channel. It is also the delivery's leaf in the Merkle tree of the outbox root of its block's header.
func (d *Delivery) Digest() digest.Digest { return d.digest }

// Append encodes the delivery: version 1 byte, source 2, destination 2, number 8, previous 32, applied 8, number of
// entries 4, and for each entry verdict 1, reason 1, length of the transaction 4 and the transaction.
func (d *Delivery) Append(b []byte) []byte {
	b = append(b, DeliveryVersion)
	b = wire.AppendU16(wire.AppendU16(b, d.Source), d.Destination)
	b = append(wire.AppendU64(b, d.Number), d.Previous[:]...)
	b = wire.AppendU32(wire.AppendU64(b, d.Applied), uint32(len(d.Entries)))
	for i := range d.Entries {
		e := &d.Entries[i]
		b = wire.AppendBytes(append(b, byte(e.Verdict), byte(e.Reason)), e.Tx.raw)
	}
	return b
}

// Size is the length of the encoding in bytes.
func (d *Delivery) Size() int {
	size := deliveryHead
	for i := range d.Entries {
		size += d.Entries[i].size()
	}
	return size
}

func (e *Entry) size() int { return deliveryItem + len(e.Tx.raw) }

// ReadDelivery decodes a delivery that Append encoded. The transactions alias the input of r. ReadDelivery checks the
// encoding only, see [Delivery.Check].
func ReadDelivery(r *wire.Reader) *Delivery {
	if r.Len() > MaxDeliveryBytes {
		r.Fail("a delivery of %d bytes, at most %d allowed", r.Len(), MaxDeliveryBytes)
	}
	if v := r.U8(); v != DeliveryVersion {
		r.Fail("delivery version %d is unknown", v)
	}
	d := Delivery{Source: r.U16(), Destination: r.U16(), Number: r.U64()}
	r.Fixed(d.Previous[:])
	d.Applied = r.U64()
	n := int(r.U32())
	switch {
	case d.Source >= MaxShards || d.Destination >= MaxShards || d.Source == d.Destination:
		r.Fail("a delivery from shard %d to %d", d.Source, d.Destination)
	case d.Number == 0 || (d.Number == 1) != d.Previous.IsZero():
		r.Fail("delivery %d after %s", d.Number, d.Previous.Short())
	case n*(deliveryItem+minTxBytes) > r.Len():
		r.Fail("%d entries in %d bytes", n, r.Len())
	}
	for i := 0; i < n && r.Err() == nil; i++ {
		e := Entry{Verdict: Verdict(r.U8()), Reason: Reason(r.U8())}
		raw := r.Bytes(MaxTxBytes)
		if r.Err() != nil {
			break
		}
		if e.Verdict != VerdictSpent && e.Verdict != VerdictRejected || !e.Verdict.allows(e.Reason) {
			r.Fail("entry %d has verdict %d with reason %d", i, e.Verdict, e.Reason)
			break
		}
		tx, err := DecodeTx(raw)
		if err != nil {
			r.Fail("entry %d: %v", i, err)
			break
		}
		e.Tx = tx
		d.Entries = append(d.Entries, e)
	}
	if r.Err() != nil {
		return &Delivery{}
	}
	return NewDelivery(d)
}

// DecodeDelivery decodes exactly one delivery; it is an error if bytes are left over.
func DecodeDelivery(b []byte) (*Delivery, error) {
	r := wire.NewReader(b)
	d := ReadDelivery(r)
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("delivery: %w", err)
	}
	return d, nil
}

// Check returns the first rule that an entry violates for every state of the ledger, or nil. It does not verify
// signatures. An honest source shard never sends a delivery that fails Check.
func (d *Delivery) Check(network digest.Digest, home func(Address) uint16) error {
	seen := make(map[TxID]struct{}, len(d.Entries))
	for i := range d.Entries {
		tx := d.Entries[i].Tx
		if r := tx.Check(network); r != nil {
			return fmt.Errorf("entry %d, transaction %s: %w", i, tx.id, r)
		}
		p := tx.Shards(home)
		switch {
		case !p.Inputs.Has(d.Source):
			return fmt.Errorf("entry %d, transaction %s: shard %d gives a verdict but has none of its inputs", i, tx.id, d.Source)
		case !p.All().Has(d.Destination):
			return fmt.Errorf("entry %d, transaction %s: shard %d is the destination but is not involved in it", i, tx.id, d.Destination)
		}
		if _, twice := seen[tx.id]; twice {
			return fmt.Errorf("entry %d, transaction %s: a second verdict", i, tx.id)
		}
		seen[tx.id] = struct{}{}
	}
	return nil
}

// Outgoing is a delivery with its position and Merkle path under the outbox root of the block that made it.
type Outgoing struct {
	Height   uint64 // of the block
	Index    uint32 // of its leaf, from 0
	Count    uint32 // number of leaves
	Path     merkle.Proof
	Delivery *Delivery
}

func (o *Outgoing) encode() []byte {
	b := wire.AppendU64(make([]byte, 0, 64+len(o.Path.Path)*digest.Size+o.Delivery.Size()), o.Height)
	b = o.Path.Append(wire.AppendU32(wire.AppendU32(b, o.Index), o.Count))
	return o.Delivery.Append(b)
}

func decodeOutgoing(v []byte) (Outgoing, error) {
	r := wire.NewReader(v)
	o := Outgoing{Height: r.U64(), Index: r.U32(), Count: r.U32(), Path: merkle.ReadProof(r)}
	o.Delivery = ReadDelivery(r)
	if err := r.Done(); err != nil {
		return Outgoing{}, errors.Join(errors.New("a delivery in the outbox is damaged"), err)
	}
	return o, nil
}
