package ledger

import (
	"fmt"

	"bdtnode/internal/digest"
	"bdtnode/internal/wire"
	"bdtnode/merkle"
)

// ReceiptVersion is the version of a receipt's encoding, its first byte.
const ReceiptVersion = 1

// ReceiptSize is the length of an encoded receipt in bytes.
const ReceiptSize = 1 + digest.Size + 2 + 8 + 4 + 1 + 1 + 8

const tagReceipt = "bdt/receipt/1"

// Verdict is the result of a transaction in one shard.
type Verdict uint8

// The verdicts. A transaction inside one shard is settled or rejected by the block that orders it. For a transaction
// between shards, each input shard first gives its verdict, spent or rejected, and sends it to the other shards
// involved.
const (
	VerdictSettled  Verdict = 1 // its inputs in this shard are consumed and its outputs in this shard exist
	VerdictRejected Verdict = 2 // it changed nothing in this shard and never will
	VerdictSpent    Verdict = 3 // its inputs in this shard are in escrow until all input shards have given their verdict
	VerdictReturned Verdict = 4 // its inputs in this shard were in escrow and are returned to the owners as new outputs
)

// String is "settled", "rejected", "spent" or "returned".
func (v Verdict) String() string {
	switch v {
	case VerdictSettled:
		return "settled"
	case VerdictRejected:
		return "rejected"
	case VerdictSpent:
		return "spent"
	case VerdictReturned:
		return "returned"
	}
	return fmt.Sprintf("verdict_%d", uint8(v))
}

// Final reports whether the verdict is the last one on the transaction in its shard: all but VerdictSpent are.
func (v Verdict) Final() bool { return v != VerdictSpent }

// allows reports whether a receipt may combine the verdict with the reason. Settled and spent have no reason.
// Rejected and returned have a final reason or, between shards, ReasonUnknownInput: other shards wait for the
// verdict, so the shard cannot wait for the input.
func (v Verdict) allows(r Reason) bool {
	switch v {
	case VerdictSettled, VerdictSpent:
		return r == ReasonNone
	case VerdictRejected, VerdictReturned:
		return r < reasonsEnd && (r.Final() || r == ReasonUnknownInput)
	}
	return false
}

// Receipt is the result of a transaction in one block. A transaction between shards may have two receipts in each
// shard: spent, then settled or returned.
type Receipt struct {
	Tx       TxID
	Shard    uint16
	Height   uint64
	Position uint32 // among the receipts of its block, from 0
	Verdict  Verdict
	Reason   Reason // of a rejection or return
	TimeMS   uint64 // block time
}

// Append encodes the receipt, [ReceiptSize] bytes.
func (r *Receipt) Append(b []byte) []byte {
	b = append(b, ReceiptVersion)
	b = append(b, r.Tx[:]...)
	b = wire.AppendU16(b, r.Shard)
	b = wire.AppendU64(b, r.Height)
	b = wire.AppendU32(b, r.Position)
	b = append(b, byte(r.Verdict), byte(r.Reason))
	return wire.AppendU64(b, r.TimeMS)
}

// Encode is the canonical encoding.
func (r *Receipt) Encode() []byte { return r.Append(make([]byte, 0, ReceiptSize)) }

// Leaf is the leaf of the receipt in the Merkle tree of the header's receipt root.
func (r *Receipt) Leaf() digest.Digest { return digest.Of(tagReceipt, r.Encode()) }

// DecodeReceipt decodes exactly one receipt; it is an error if bytes are left over.
func DecodeReceipt(b []byte) (Receipt, error) {
	d := wire.NewReader(b)
	if v := d.U8(); v != ReceiptVersion {
		d.Fail("receipt version %d is unknown", v)
	}
	var r Receipt
	d.Fixed(r.Tx[:])
	r.Shard = d.U16()
	r.Height = d.U64()
	r.Position = d.U32()
	r.Verdict, r.Reason = Verdict(d.U8()), Reason(d.U8())
	r.TimeMS = d.U64()
	if !r.Verdict.allows(r.Reason) {
		d.Fail("verdict %d with reason %d", r.Verdict, r.Reason)
	}
	if err := d.Done(); err != nil {
		return Receipt{}, fmt.Errorf("receipt: %w", err)
	}
	return r, nil
}

// Prove reports whether p proves that the receipt is in the block of h, which has count receipts.
func (r *Receipt) Prove(h *Header, p merkle.Proof, count int) bool {
	return r.Shard == h.Shard && r.Height == h.Height && p.Verify(h.Receipts, r.Leaf(), int(r.Position), count)
}
