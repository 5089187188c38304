package ledger

import (
	"fmt"

	"bdtnode/internal/digest"
	"bdtnode/internal/wire"
)

const tagBadBatch = "bdt/bad-batch/1"

// maxBadBatches bounds the record of one block.
const maxBadBatches = 1<<16 - 1

// A bad batch of a block is one in which a signature does not verify. It contributes nothing to the block, at every replica
// alike. Its leaf follows the receipts in the tree of the header's receipt root, and its digest follows the ids of their
// transactions in that of the root over the ids.

const batchIDSize = 2 + 8 + digest.Size

func (x *BatchID) append(b []byte) []byte {
	return append(wire.AppendU64(wire.AppendU16(b, x.Lane), x.Seq), x.Digest[:]...)
}

// Leaf is the leaf of a bad batch in the Merkle tree of the header's receipt root.
func (x *BatchID) Leaf() digest.Digest { return digest.Of(tagBadBatch, x.append(nil)) }

func encodeBadBatches(list []BatchID) []byte {
	b := wire.AppendU16(make([]byte, 0, 2+len(list)*batchIDSize), uint16(len(list)))
	for i := range list {
		b = list[i].append(b)
	}
	return b
}

// BadBatches lists the bad batches of a block in the order of execution. The list of an unknown height is empty. The error is
// the store's, or [Pruned].
func (s *State) BadBatches(height uint64) ([]BatchID, error) {
	v, ok, err := s.store.Get(heightKey(keyBad, height))
	if err == nil {
		err = s.present(height)
	}
	if err != nil || !ok {
		return nil, err
	}
	r := wire.NewReader(v)
	list := make([]BatchID, r.Count(maxBadBatches, batchIDSize))
	for i := range list {
		x := &list[i]
		x.Lane, x.Seq = r.U16(), r.U64()
		r.Fixed(x.Digest[:])
	}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("the bad batches of block %d are damaged: %w", height, err)
	}
	return list, nil
}

// Mismatch is the error of [State.Execute] for a block whose header is not the expected one.
type Mismatch struct {
	Height    uint64
	Got, Want digest.Digest // digests of headers
}

func (e *Mismatch) Error() string {
	return fmt.Sprintf("header %s of height %d differs from the certified %s", e.Got.Short(), e.Height, e.Want.Short())
}
