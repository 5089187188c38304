package proof

import (
	"math/bits"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/internal/wire"
)

// Versions of the formats that a proof contains.
const (
	headerVersion  = 2
	receiptVersion = 1
	txVersion      = 1
)

// Bounds of a transaction.
const (
	maxInputs  = 64
	maxOutputs = 64
)

// HeaderSize is the length of a header in bytes.
const HeaderSize = 376

// header has the fields of a header that the check uses.
type header struct {
	digest    digest.Digest
	network   digest.Digest
	shard     uint16
	height    uint64
	timeMS    uint64
	txRoot    digest.Digest
	receipts  digest.Digest
	committee uint32
}

// readHeader decodes a header. Its fields are listed in docs/wire.md.
func readHeader(b []byte) (header, error) {
	r := wire.NewReader(b)
	if v := r.U8(); v != headerVersion && r.Err() == nil {
		r.Fail("header version %d is unknown, this program reads version %d", v, headerVersion)
	}
	h := header{digest: digest.Of("bdt/header/2", b)}
	r.Fixed(h.network[:])
	h.shard, h.height = r.U16(), r.U64()
	r.Raw(2 * 8) // epoch and slot
	r.Bool()
	r.Raw(2 * digest.Size) // parent and consensus block
	r.Fixed(h.txRoot[:])
	r.Fixed(h.receipts[:])
	r.Raw(2 * digest.Size) // outbox root and write set
	h.timeMS = r.U64()
	r.Raw(8 + 8 + digest.Size) // number of receipts so far, state height and state root
	h.committee = r.U32()
	r.Raw(2 * digest.Size) // next roster and history
	return h, r.Done()
}

// receiptLeaf is the leaf of a receipt of a transaction under the receipt root.
func receiptLeaf(tx digest.Digest, h *header, x Result) digest.Digest {
	b := append([]byte{receiptVersion}, tx[:]...)
	b = wire.AppendU64(wire.AppendU16(b, h.shard), h.height)
	b = append(wire.AppendU32(b, x.Position), byte(x.Verdict), x.Reason)
	return digest.Of("bdt/receipt/1", wire.AppendU64(b, h.timeMS))
}

// Transaction is the content of a transaction.
type Transaction struct {
	ID       [32]byte
	Network  [32]byte
	ExpiryMS uint64 // last block time at which it may settle, Unix milliseconds
	Inputs   []Input
	Outputs  []Output
	Fee      uint64
}

// Input is one output that the transaction spends.
type Input struct {
	Tx     [32]byte // transaction that made the output
	Index  uint16
	Owner  [32]byte // address
	Amount uint64
	Shard  uint16 // home shard of the owner
}

// Output is one output that the transaction creates if it settles: its outpoint is the transaction's id and its index in
// the list.
type Output struct {
	Owner  [32]byte // address
	Amount uint64
	Shard  uint16 // home shard of the owner
}

// readTx decodes a transaction of a network with so many shards. It verifies neither amounts nor signatures: the shards
// have done so before they gave a receipt.
func readTx(b []byte, shards int) (*Transaction, error) {
	r := wire.NewReader(b)
	if len(b) > MaxTxBytes {
		r.Fail("a transaction of %d bytes, at most %d allowed", len(b), MaxTxBytes)
	}
	if v := r.U8(); v != txVersion && r.Err() == nil {
		r.Fail("transaction version %d is unknown, this program reads version %d", v, txVersion)
	}
	t := &Transaction{ID: digest.Of("bdt/tx/1", b)}
	r.Fixed(t.Network[:])
	t.ExpiryMS = r.U64()
	keys := make(map[sig.PublicKey]struct{})
	for n := count(r, maxInputs); n > 0 && r.Err() == nil; n-- {
		var in Input
		var key sig.PublicKey
		r.Fixed(in.Tx[:])
		in.Index = r.U16()
		r.Fixed(key[:])
		in.Amount = r.U64()
		in.Owner = digest.Of("bdt/address/1", key[:])
		in.Shard = home(in.Owner, shards)
		keys[key] = struct{}{}
		t.Inputs = append(t.Inputs, in)
	}
	for n := count(r, maxOutputs); n > 0 && r.Err() == nil; n-- {
		var out Output
		r.Fixed(out.Owner[:])
		out.Amount = r.U64()
		out.Shard = home(out.Owner, shards)
		t.Outputs = append(t.Outputs, out)
	}
	t.Fee = r.U64()
	r.Raw(sig.SignatureSize * len(keys)) // one for each key
	return t, r.Done()
}

// count reads the number of inputs or outputs.
func count(r *wire.Reader, limit int) int {
	n := int(r.U8())
	if n < 1 || n > limit {
		r.Fail("%d inputs or outputs, want 1 to %d", n, limit)
	}
	return n
}

// home is the home shard of an address: its first 8 bytes as a fraction of the whole range.
func home(address [32]byte, shards int) uint16 {
	lead := wire.NewReader(address[:]).U64()
	hi, _ := bits.Mul64(lead, uint64(shards))
	return uint16(hi)
}
