// Package prove makes the proofs that package shard/proof checks. A replica makes the part of its own shard, and joins it
// with the parts of the other shards that the transaction involves.
package prove

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"bdtnode/internal/digest"
	"bdtnode/ledger"
	"bdtnode/merkle"
	"bdtnode/protocols"
	"bdtnode/protocols/certify"
	"bdtnode/shard/proof"
)

// Reasons why there is no part of a proof, now or ever.
var (
	ErrNoReceipt    = errors.New("no block of the shard has a receipt of the transaction")
	ErrOpen         = errors.New("the transaction has no final receipt in the shard yet")
	ErrNotCertified = errors.New("the block is not certified yet")
)

// page is the number of receipts that are read between two checks of the context.
const page = 4096

// Source reads the blocks of one shard. All methods return errors of the stores.
type Source interface {
	Header(height uint64) (ledger.Header, bool, error)
	// Receipt returns the newest receipt of a transaction.
	Receipt(id ledger.TxID) (ledger.Receipt, bool, error)
	// Part returns the shard's part of a transaction between shards.
	Part(id ledger.TxID) (ledger.Part, bool, error)
	// BlockReceipts returns receipts of a block by position, at most limit from a position on.
	BlockReceipts(height uint64, position, limit int) (receipts []ledger.Receipt, more, ok bool, err error)
	// BadBatches returns the names of the bad batches of a block, whose leaves follow those of the receipts.
	BadBatches(height uint64) ([]ledger.BatchID, error)
	// Certificate returns the certificate of a header, nil if there is none yet.
	Certificate(height uint64) (*certify.Certified, error)
	// Tx returns the encoding of a transaction that the block at a height contains in a batch or an LD, nil if it
	// contains none with this id.
	Tx(ctx context.Context, height uint64, id ledger.TxID) ([]byte, error)
}

// Part makes the part of one shard: the transaction, and the blocks of the shard with a receipt of it. The error wraps
// ErrNoReceipt, ErrOpen or ErrNotCertified, or is one of the stores or of the context.
func Part(ctx context.Context, c *protocols.Committee, from Source, id ledger.TxID) (*proof.Proof, error) {
	heights, err := heightsOf(from, c.Shard(), id)
	if err != nil {
		return nil, fmt.Errorf("transaction %s in shard %d: %w", id, c.Shard(), err)
	}
	p := &proof.Proof{}
	if p.Tx, err = from.Tx(ctx, heights[0], id); err != nil {
		return nil, err
	}
	if p.Tx == nil {
		return nil, fmt.Errorf("block %d of shard %d has a receipt of transaction %s and not the transaction: the store is damaged", heights[0], c.Shard(), id)
	}
	for _, h := range heights {
		b, err := blockOf(ctx, c, from, h, id)
		if err != nil {
			return nil, fmt.Errorf("block %d of shard %d: %w", h, c.Shard(), err)
		}
		p.Blocks = append(p.Blocks, *b)
	}
	return p, nil
}

// heightsOf lists the heights of the blocks with a receipt of the transaction, ascending, if the last one is final.
func heightsOf(from Source, shard uint16, id ledger.TxID) ([]uint64, error) {
	last, ok, err := from.Receipt(id)
	switch {
	case err != nil:
		return nil, err
	case !ok:
		part, known, err := from.Part(id)
		if err == nil && known && part.Stage <= ledger.StageEscrow {
			return nil, ErrOpen
		}
		return nil, errors.Join(err, ErrNoReceipt)
	case !last.Verdict.Final():
		return nil, ErrOpen
	}
	part, known, err := from.Part(id)
	if err != nil || !known {
		return []uint64{last.Height}, err
	}
	// Between shards, the receipt before the last one is that of the escrow.
	if own := part.Of(shard); own != nil && own.Verdict == ledger.VerdictSpent && own.Height != last.Height {
		return []uint64{own.Height, last.Height}, nil
	}
	return []uint64{last.Height}, nil
}

func blockOf(ctx context.Context, c *protocols.Committee, from Source, height uint64, id ledger.TxID) (*proof.Block, error) {
	certified, err := from.Certificate(height)
	switch {
	case err != nil:
		return nil, err
	case certified == nil:
		return nil, ErrNotCertified
	}
	header, ok, err := from.Header(height)
	if err == nil && !ok {
		err = errors.New("its header is missing in the store")
	}
	if err != nil {
		return nil, err
	}
	receipts, err := receiptsOf(ctx, from, height)
	if err != nil {
		return nil, err
	}
	bad, err := from.BadBatches(height)
	if err != nil {
		return nil, err
	}
	return Block(&header, certified.Certificate, c.WeakQuorum(), receipts, bad, id)
}

func receiptsOf(ctx context.Context, from Source, height uint64) ([]ledger.Receipt, error) {
	var all []ledger.Receipt
	for {
		some, more, _, err := from.BlockReceipts(height, len(all), page)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
		if !more || len(some) == 0 {
			return all, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
}

// Block proves the receipts of a transaction in a block that has all the given receipts, by position, and bad batches, with
// the first signatures of the certificate, as many as are needed. It is an error if the block has no receipt of the
// transaction.
func Block(h *ledger.Header, certificate protocols.Certificate, need int, receipts []ledger.Receipt, bad []ledger.BatchID, id ledger.TxID) (*proof.Block, error) {
	count := len(receipts) + len(bad)
	b := &proof.Block{Header: h.Encode(), Receipts: uint32(count)}
	for k, i := range certificate.Signers.Members() {
		if k < need {
			b.Signatures = append(b.Signatures, proof.Signature{Signer: uint16(i), Bytes: certificate.Signatures[k]})
		}
	}
	ids, leaves := make([]digest.Digest, count), make([]digest.Digest, count)
	var at []int
	for i := range receipts {
		r := &receipts[i]
		ids[i], leaves[i] = digest.Digest(r.Tx), r.Leaf()
		if r.Tx == id {
			at = append(at, i)
			b.Results = append(b.Results, proof.Result{Position: r.Position, Verdict: proof.Verdict(r.Verdict), Reason: uint8(r.Reason)})
		}
	}
	for i := range bad {
		ids[len(receipts)+i], leaves[len(receipts)+i] = bad[i].Digest, bad[i].Leaf()
	}
	if len(at) == 0 {
		return nil, ErrNoReceipt
	}
	b.Included, b.Recorded = siblings(ids, at), siblings(leaves, at)
	return b, nil
}

func siblings(leaves []digest.Digest, at []int) [][32]byte {
	var out [][32]byte
	for _, d := range merkle.ProveSet(leaves, at).Path {
		out = append(out, d)
	}
	return out
}

// Join joins the parts of different shards about one transaction. There must be at least one.
func Join(parts []*proof.Proof) *proof.Proof {
	out := &proof.Proof{Tx: parts[0].Tx}
	for _, p := range parts {
		out.Blocks = append(out.Blocks, p.Blocks...)
	}
	// An encoded header begins with version and network, and its shard and height, big-endian, follow: headers of one
	// network sort by shard and height.
	slices.SortFunc(out.Blocks, func(a, b proof.Block) int {
		return cmp.Or(bytes.Compare(a.Header, b.Header), len(a.Header)-len(b.Header))
	})
	return out
}
