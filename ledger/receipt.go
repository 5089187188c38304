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

// Verdict is the final word on a transaction.
type Verdict uint8

// The verdicts.
const (
	VerdictSettled  Verdict = 1 // its inputs are gone and its outputs exist
	VerdictRejected Verdict = 2 // it changed nothing and never will
)

// String is "settled" or "rejected".
func (v Verdict) String() string {
	switch v {
	case VerdictSettled:
		return "settled"
	case VerdictRejected:
		return "rejected"
	}
	return fmt.Sprintf("verdict_%d", uint8(v))
}

// Receipt is what became of a transaction in the block that decided it. It is final.
type Receipt struct {
	Tx       TxID
	Shard    uint16
	Height   uint64
	Position uint32 // among the receipts of its block
	Verdict  Verdict
	Reason   Reason // of a rejection
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

// DecodeReceipt decodes exactly one receipt. A settled one has no reason, a rejected one a final one.
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
	switch {
	case r.Verdict == VerdictSettled && r.Reason == ReasonNone:
	case r.Verdict == VerdictRejected && r.Reason < reasonsEnd && r.Reason.Final():
	default:
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
