package proof

import (
	"fmt"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/internal/wire"
	"bdtnode/merkle"
	"bdtnode/protocols"
)

// Version is the version of a proof, the byte after [Prefix].
const Version = 1

// Prefix is the text with which a proof begins.
const Prefix = "bdtproof"

// Bounds of a proof: bytes of the encoding, shards of a network, bytes of a transaction. A transaction has at most two
// blocks with receipts in each shard.
const (
	MaxBytes   = 2 << 20
	MaxShards  = 64
	MaxTxBytes = 16 << 10
	maxBlocks  = 2 * MaxShards
	maxResults = 2 // receipts of one transaction in one block
)

// Proof is a proof, decoded. [Decode] checks its form only, see [Proof.Verify].
type Proof struct {
	Tx     []byte // the transaction, encoded
	Blocks []Block
}

// Block has the receipts of the transaction in one block, and the proof that the block has them.
type Block struct {
	Header     []byte      // encoded, [HeaderSize] bytes
	Signatures []Signature // on the header, of distinct replicas in ascending order
	Receipts   uint32      // number of all receipts in the block
	Results    []Result    // of the transaction, by position
	Included   [][32]byte  // path from the transaction's id, at the positions of Results, to the transaction root
	Recorded   [][32]byte  // path from the receipts, at the same positions, to the receipt root
}

// Signature is a replica's signature on a header (VOTE).
type Signature struct {
	Signer uint16 // index in the shard
	Bytes  [64]byte
}

// Result is one receipt, without the fields that the header and the transaction have already.
type Result struct {
	Position uint32 // among the receipts of the block, from 0
	Verdict  Verdict
	Reason   uint8 // of a rejection or return, see docs/ledger.md; 0 for others
}

// Verdict is a result of a transaction in one shard.
type Verdict uint8

// The verdicts. Spent and rejected are the verdicts of an input shard. All but spent are final.
const (
	Settled  Verdict = 1 // its inputs in the shard are consumed, its outputs in the shard exist
	Rejected Verdict = 2 // it changed nothing in the shard
	Spent    Verdict = 3 // its inputs in the shard are in escrow
	Returned Verdict = 4 // its inputs in the shard were in escrow and are returned to the owners as new outputs
)

// String is "settled", "rejected", "spent" or "returned".
func (v Verdict) String() string {
	switch v {
	case Settled:
		return "settled"
	case Rejected:
		return "rejected"
	case Spent:
		return "spent"
	case Returned:
		return "returned"
	}
	return fmt.Sprintf("verdict_%d", uint8(v))
}

// Encode is the only encoding of the proof. A proof that [Decode] would refuse has none that can be decoded.
func (p *Proof) Encode() []byte {
	b := append([]byte(Prefix), Version)
	b = wire.AppendU16(wire.AppendBytes(b, p.Tx), uint16(len(p.Blocks)))
	for i := range p.Blocks {
		b = p.Blocks[i].append(b)
	}
	return b
}

func (x *Block) append(b []byte) []byte {
	b = wire.AppendU16(append(b, x.Header...), uint16(len(x.Signatures)))
	for i := range x.Signatures {
		b = append(wire.AppendU16(b, x.Signatures[i].Signer), x.Signatures[i].Bytes[:]...)
	}
	b = append(wire.AppendU32(b, x.Receipts), byte(len(x.Results)))
	for _, r := range x.Results {
		b = append(wire.AppendU32(b, r.Position), byte(r.Verdict), r.Reason)
	}
	for _, path := range [][][32]byte{x.Included, x.Recorded} {
		for i := range path {
			b = append(b, path[i][:]...)
		}
	}
	return b
}

// Decode decodes a proof of at most [MaxBytes]. It allocates no more than a few times its input. The error is an
// [*Error] for [PartEncoding].
func Decode(b []byte) (*Proof, error) {
	r := wire.NewReader(b)
	prefix := r.Raw(len(Prefix))
	version := r.U8()
	switch {
	case len(b) > MaxBytes:
		return nil, wrong(PartEncoding, "%d bytes, at most %d allowed", len(b), MaxBytes)
	case string(prefix) != Prefix:
		return nil, wrong(PartEncoding, "not a proof: it does not begin with %q", Prefix)
	case r.Err() == nil && version != Version:
		return nil, wrong(PartEncoding, "proof version %d is unknown, this program reads version %d", version, Version)
	}
	p := &Proof{Tx: r.Bytes(MaxTxBytes)}
	n := r.Count(maxBlocks, HeaderSize)
	for i := 0; i < n && r.Err() == nil; i++ {
		p.Blocks = append(p.Blocks, readBlock(r))
	}
	if err := r.Done(); err != nil {
		return nil, wrong(PartEncoding, "%v", err)
	}
	return p, nil
}

func readBlock(r *wire.Reader) Block {
	x := Block{Header: r.Raw(HeaderSize)}
	x.Signatures = make([]Signature, r.Count(protocols.MaxReplicas, 2+sig.SignatureSize))
	for i := range x.Signatures {
		x.Signatures[i].Signer = r.U16()
		r.Fixed(x.Signatures[i].Bytes[:])
	}
	x.Receipts = r.U32()
	n := int(r.U8())
	if n < 1 || n > maxResults {
		r.Fail("%d receipts of the transaction in one block, want 1 or %d", n, maxResults)
		return x
	}
	x.Results = make([]Result, n)
	for i := range x.Results {
		x.Results[i] = Result{Position: r.U32(), Verdict: Verdict(r.U8()), Reason: r.U8()}
	}
	siblings, ok := merkle.Siblings(x.positions(), int(x.Receipts))
	if !ok {
		r.Fail("receipts at positions %v of %d", x.positions(), x.Receipts)
		return x
	}
	x.Included, x.Recorded = readPath(r, siblings), readPath(r, siblings)
	return x
}

func readPath(r *wire.Reader, siblings int) [][32]byte {
	raw := r.Raw(siblings * digest.Size)
	if len(raw) == 0 {
		return nil
	}
	path := make([][32]byte, siblings)
	for i := range path {
		copy(path[i][:], raw[i*digest.Size:])
	}
	return path
}

// positions lists the positions of the results.
func (x *Block) positions() []int {
	at := make([]int, len(x.Results))
	for i, r := range x.Results {
		at[i] = int(r.Position)
	}
	return at
}
