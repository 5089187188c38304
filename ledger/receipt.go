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

// Verdict is a shard's word on a transaction.
type Verdict uint8

// The verdicts. Inside one shard a transaction is settled or rejected by the block that orders it. Between shards each
// input shard first has its say, spent or rejected, and tells it to the others.
const (
	VerdictSettled  Verdict = 1 // its inputs here are gone and its outputs here exist
	VerdictRejected Verdict = 2 // it changed nothing here and never will
	VerdictSpent    Verdict = 3 // its inputs here are in escrow until all its input shards have had their say
	VerdictReturned Verdict = 4 // its inputs here were in escrow and are given back as new outputs
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

// Final reports whether nothing more becomes of the transaction in the shard: all but VerdictSpent.
func (v Verdict) Final() bool { return v != VerdictSpent }

// allows reports whether the verdict may have the reason: one of a rejection or return, and none otherwise. Between
// shards an unknown input is reason enough, since others wait for the word.
func (v Verdict) allows(r Reason) bool {
	switch v {
	case VerdictSettled, VerdictSpent:
		return r == ReasonNone
	case VerdictRejected, VerdictReturned:
		return r < reasonsEnd && (r.Final() || r == ReasonUnknownInput)
	}
	return false
}

// Receipt is what became of a transaction in one block. A transaction between shards may have two in each: of its
// inputs being spent, and of its end.
type Receipt struct {
	Tx       TxID
	Shard    uint16
	Height   uint64
	Position uint32 // among the receipts of its block
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

// Leaf is the receipt's leaf under its header's receipt root.
func (r *Receipt) Leaf() digest.Digest { return digest.Of(tagReceipt, r.Encode()) }

// DecodeReceipt decodes exactly one receipt.
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

// Prove reports whether p shows that the receipt is in the block of h, which has count receipts.
func (r *Receipt) Prove(h *Header, p merkle.Proof, count int) bool {
	return r.Shard == h.Shard && r.Height == h.Height && p.Verify(h.Receipts, r.Leaf(), int(r.Position), count)
}
