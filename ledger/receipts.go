package ledger

import (
	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
	"bdtnode/merkle"
)

// receipts has the receipts of the current block, and their record.
type receipts struct {
	x     *execution
	list  []Receipt         // by position
	items []item            // of the block's record, one for each receipt
	has   map[TxID]Verdict  // of the first receipts of list, as many as were needed
	had   int               // their number
	marks map[TxID]struct{} // ids whose outputs are marked in the id index by this block
	order []TxID            // keys of marks in the order of their insertion
}

func newReceipts(x *execution) receipts {
	return receipts{x: x, has: make(map[TxID]Verdict), marks: make(map[TxID]struct{})}
}

func (s *receipts) reset() {
	clear(s.has)
	clear(s.marks)
	s.list, s.items, s.order, s.had = make([]Receipt, 0, len(s.list)), s.items[:0], s.order[:0], 0
}

// add adds a receipt to the block.
func (s *receipts) add(tx *Tx, v Verdict, r Reason) {
	s.x.writes = append(append(s.x.writes, tx.id[:]...), byte(v), byte(r))
	s.list = append(s.list, Receipt{
		Tx: tx.id, Shard: s.x.cfg.Shard, Height: s.x.in.Height, Position: uint32(len(s.list)),
		Verdict: v, Reason: r, TimeMS: s.x.in.TimeMS,
	})
	s.items = append(s.items, item{tx: tx.id, verdict: v, reason: r})
}

// setParties adds the effect of the receipt that was added last on addresses.
func (s *receipts) setParties(p []party) { s.items[len(s.items)-1].parties = p }

// last is the position of the receipt that was added last.
func (s *receipts) last() uint32 { return uint32(len(s.list) - 1) }

// verdict returns the verdict of the newest receipt of a transaction in this block. Blocks with valid transactions only
// never ask for one.
func (s *receipts) verdict(id TxID) (v Verdict, ok bool) {
	for ; s.had < len(s.list); s.had++ {
		s.has[s.list[s.had].Tx] = s.list[s.had].Verdict
	}
	v, ok = s.has[id]
	return v, ok
}

// find reports whether execution knows a receipt of a transaction, of this block or an earlier one.
func (s *receipts) find(id TxID) (bool, error) {
	if _, ok := s.verdict(id); ok {
		return true, nil
	}
	known, _, err := readRecent(s.x.store, s.x.window, id)
	return known, err
}

// madeOutputs reports whether execution knows that the outputs of an id were created.
func (s *receipts) madeOutputs(id TxID) (bool, error) {
	if _, ok := s.marks[id]; ok {
		return true, nil
	}
	if v, ok := s.verdict(id); ok && v == VerdictSettled {
		return true, nil
	}
	_, made, err := readRecent(s.x.store, s.x.window, id)
	return made, err
}

// spent is called when an output is spent. It marks the id of the output, if the entry of the id in the index is so old
// that the index would forget it before the transaction that spends the output has expired.
func (s *receipts) spent(o Outpoint, c *coin) {
	if c.made != 0 && c.made >= s.x.window { // made in this window or the one before
		return
	}
	if _, ok := s.marks[o.Tx]; !ok {
		s.marks[o.Tx] = struct{}{}
		s.order = append(s.order, o.Tx)
	}
}

// write writes the receipts, and the names of bad batches. It returns the Merkle roots over the ids of the transactions
// with receipts and over the receipts. In both trees the bad batches follow.
func (s *receipts) write(b *kv.Batch) (txRoot, root digest.Digest) {
	bad := s.x.in.Bad
	ids := make([]digest.Digest, len(s.list), len(s.list)+len(bad))
	leaves := make([]digest.Digest, len(s.list), len(s.list)+len(bad))
	keys, values := &s.x.keys, &s.x.values
	for _, id := range s.order { // before the receipts, whose entries replace marks
		b.Set(keys.idKeyOf(s.x.window, id), nil)
	}
	var buf [ReceiptSize]byte
	for i := range s.list {
		r := &s.list[i]
		ids[i], leaves[i] = digest.Digest(r.Tx), digest.Of(tagReceipt, r.Append(buf[:0]))
		b.Set(keys.idKeyOf(s.x.window, r.Tx), values.idValue(r.Height, r.Position, r.Verdict))
	}
	writeBlock(b, s.x.in.Height, s.x.in.TimeMS, s.items)
	for i := range bad {
		ids, leaves = append(ids, bad[i].Digest), append(leaves, bad[i].Leaf())
	}
	if len(bad) > 0 {
		b.Set(heightKey(keyBad, s.x.in.Height), encodeBadBatches(bad))
	}
	return merkle.Root(ids), merkle.Root(leaves)
}
