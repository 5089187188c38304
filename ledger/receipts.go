package ledger

import (
	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
	"bdtnode/merkle"
)

// receipts has the receipts of the current block.
type receipts struct {
	x    *execution
	list []Receipt // by position
	has  map[TxID]struct{}
}

func newReceipts(x *execution) receipts { return receipts{x: x, has: make(map[TxID]struct{})} }

func (s *receipts) reset() {
	clear(s.has)
	s.list = nil
}

// add adds a receipt to the block.
func (s *receipts) add(tx *Tx, v Verdict, r Reason) {
	s.has[tx.id] = struct{}{}
	s.x.writes = append(append(s.x.writes, tx.id[:]...), byte(v), byte(r))
	s.list = append(s.list, Receipt{
		Tx: tx.id, Shard: s.x.cfg.Shard, Height: s.x.in.Height, Position: uint32(len(s.list)),
		Verdict: v, Reason: r, TimeMS: s.x.in.TimeMS,
	})
}

// find reports whether a transaction has a receipt of this block or an earlier one.
func (s *receipts) find(id TxID) (bool, error) {
	if _, ok := s.has[id]; ok {
		return true, nil
	}
	_, ok, err := s.x.store.Get(append([]byte{keyReceipt}, id[:]...))
	return ok, err
}

// write writes the receipts. It returns the Merkle roots over the ids of their transactions and over the receipts.
func (s *receipts) write(b *kv.Batch) (txRoot, root digest.Digest) {
	ids := make([]digest.Digest, len(s.list))
	leaves := make([]digest.Digest, len(s.list))
	list := make([]byte, 0, len(ids)*digest.Size)
	var mem arena
	for i := range s.list {
		r := &s.list[i]
		enc := r.Append(mem.take(ReceiptSize))
		ids[i], leaves[i] = digest.Digest(r.Tx), digest.Of(tagReceipt, enc)
		list = append(list, r.Tx[:]...)
		b.Set(mem.idKey(keyReceipt, digest.Digest(r.Tx)), enc)
	}
	b.Set(heightKey(keyBlockTxs, s.x.in.Height), list)
	return merkle.Root(ids), merkle.Root(leaves)
}
