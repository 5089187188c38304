package ledger

import "fmt"

// NeverSpendable returns the reason why the inputs of a transaction in this shard can never go into escrow, or nil. It
// reads the executed blocks, and may be called concurrently with Execute.
//
// Only reasons count that every later state keeps, and that no earlier state with the transaction in escrow can lead
// to: an input that is consumed, and an output with another owner or amount than declared. An unknown
// input is no reason, since the output may be created, or may have been forgotten after this transaction spent it. The
// expiry is no reason either, since an LD may bring the transaction later.
//
// The result is also nil for a transaction that has or had a record here, since its verdict is given, and for one that
// has expired by block time: no batch can contain it any more, and its record may have been forgotten.
func (s *State) NeverSpendable(tx *Tx) (*Refusal, error) {
	if p := tx.Shards(s.cfg.Home); !p.Inputs.Has(s.cfg.Shard) || p.Inside(s.cfg.Shard) {
		return nil, nil
	}
	reason, err := s.permanent(tx)
	if reason == nil || err != nil {
		return nil, err
	}
	// The record is read after the inputs: had a block consumed the inputs for this transaction, its record would be found.
	if _, known, err := readPart(s.store, tx.id, s.cfg.Shard); known || err != nil {
		return nil, err
	}
	if h, _, _ := s.Tip(); h.TimeMS > tx.ExpiryMS {
		return nil, nil
	}
	return reason, nil
}

// permanent returns the first refusal of an input in this shard that every later state keeps, or nil.
func (s *State) permanent(tx *Tx) (*Refusal, error) {
	window := s.window()
	for i := range tx.Inputs {
		if !s.cfg.isHome(tx.owners[i]) {
			continue
		}
		c, consumed, err := lookUp(s.store, window, tx.Inputs[i].Outpoint, tx.owners[i])
		if err != nil {
			return nil, err
		}
		if r := tx.checkInput(i, c, consumed); r != nil && r.Final() {
			return r, nil
		}
	}
	return nil, nil
}

// CancelEscrow returns the escrow of a transaction because a shard certified that it can never spend its inputs there,
// with reason [ReasonCancelled]. That is not the shard's verdict: the record stays open until the verdict is recorded. It panics
// if the transaction is not in escrow, or if the shard's verdict is recorded.
func (s *BlockState) CancelEscrow(r *Record, shard uint16) error {
	s.Records.setCancelled(r, shard)
	return s.ReturnEscrow(r, ReasonCancelled)
}

// setCancelled notes in a record that a shard whose verdict is not known certified that it can never spend the
// transaction.
func (s *Records) setCancelled(r *Record, shard uint16) {
	k := s.change(r).Of(shard)
	if k == nil || k.Verdict != 0 || shard == s.x.cfg.Shard {
		panic(fmt.Sprintf("ledger: transaction %s is cancelled by shard %d, which has no verdict to give", r.Part.Tx, shard))
	}
	k.Reason, k.Height = ReasonCancelled, s.x.in.Height
}

// Cancelled reports whether the shard cancelled the transaction, and its verdict is not known yet.
func (k *KnownVerdict) Cancelled() bool { return k.Verdict == 0 && k.Reason == ReasonCancelled }
