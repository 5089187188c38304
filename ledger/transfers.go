package ledger

import (
	"fmt"

	"bdtnode/internal/digest"
)

// settleInside settles a transaction that involves this shard only: it consumes the inputs and creates the outputs. The
// inputs must have been checked just before.
func (s *BlockState) settleInside(tx *Tx) error {
	s.receipts.add(tx, VerdictSettled, ReasonNone)
	s.accounts.beginTx()
	spent, err := s.consume(tx)
	if err != nil {
		return err
	}
	made, err := s.create(tx)
	if err != nil {
		return err
	}
	if spent < made || spent-made != tx.Fee {
		panic(fmt.Sprintf("ledger: transaction %s consumes %d, creates %d and burns %d", tx.id, spent, made, tx.Fee))
	}
	s.sums.burned += tx.Fee
	s.endReceipt()
	return nil
}

// Spend moves the transaction's inputs in this shard into escrow. The call of CheckInputs just before must have accepted
// the transaction.
func (s *BlockState) Spend(r *Record) error {
	s.Records.setStage(r, StagePending, StageEscrow)
	s.accounts.beginTx()
	value, err := s.consume(r.Tx)
	if err != nil {
		return err
	}
	if own := s.ownValue(r.Tx); value != own {
		panic(fmt.Sprintf("ledger: transaction %s consumes value %d, but its inputs in this shard declare %d", r.Part.Tx, value, own))
	}
	s.sums.escrow += value
	s.Records.forMissing(r, func(c *Channel) { c.Escrow += value })
	s.receipts.add(r.Tx, VerdictSpent, ReasonNone)
	s.endReceipt()
	return nil
}

// Settle deletes the transaction's escrow in this shard, if any, and creates its outputs in this shard. The home
// shard of the first input burns the fee.
func (s *BlockState) Settle(r *Record) error {
	spent := uint64(0)
	if r.Part.Stage == StageEscrow {
		spent = s.ownValue(r.Tx)
	}
	s.Records.setStage(r, r.Part.Stage, StageSettled)
	s.accounts.beginTx()
	made, err := s.create(r.Tx)
	if err != nil {
		return err
	}
	if s.cfg.isHome(r.Tx.owners[0]) {
		s.sums.burned += r.Tx.Fee
		made += r.Tx.Fee
	}
	s.sums.escrow -= spent
	s.sums.settle(made, spent)
	for i := range r.Part.Known {
		if shard := r.Part.Known[i].Shard; shard != s.cfg.Shard {
			c := s.Channels.change(shard)
			c.Created += min(made, s.declared(r.Tx, shard))
		}
	}
	s.receipts.add(r.Tx, VerdictSettled, ReasonNone)
	s.endReceipt()
	return nil
}

// ReturnEscrow ends the escrow of a transaction: its value goes back to the owners as new outputs, see
// [ReturnedOutpoint].
func (s *BlockState) ReturnEscrow(r *Record, reason Reason) error {
	value := s.ownValue(r.Tx)
	s.Records.setStage(r, StageEscrow, StageReturned)
	s.accounts.beginTx()
	for i := range r.Tx.Inputs {
		if in := &r.Tx.Inputs[i]; s.cfg.isHome(r.Tx.owners[i]) {
			if err := s.createOutput(ReturnedOutpoint(r.Tx.id, in.Outpoint), coin{owner: r.Tx.owners[i], amount: in.Amount}); err != nil {
				return err
			}
		}
	}
	s.sums.escrow -= value
	s.Records.forMissing(r, func(c *Channel) { c.Escrow -= value })
	s.receipts.add(r.Tx, VerdictReturned, reason)
	s.endReceipt()
	return nil
}

// ReturnedOutpoint is the outpoint of the new output that returns an input of a transaction to its owner. It differs
// from the input's outpoint, so a spent output never becomes unspent again.
func ReturnedOutpoint(tx TxID, input Outpoint) Outpoint {
	return Outpoint{Tx: TxID(digest.Of("bdt/return/1", tx[:], input.append(nil)))}
}

// Reject ends a transaction that has nothing in escrow in this shard.
func (s *BlockState) Reject(r *Record, reason Reason) {
	s.Records.setStage(r, StagePending, StageRejected)
	s.receipts.add(r.Tx, VerdictRejected, reason)
}

// FitsSupply reports whether the transaction could settle in this shard without raising unspent outputs plus burned fees
// in this shard above the genesis supply of the whole network. spent says that its inputs in this shard are in escrow
// already; otherwise they are still unspent. Escrow is not counted: the outputs that it pays for may already exist in
// another shard, and their value may have come back to this shard.
func (s *BlockState) FitsSupply(tx *Tx, spent bool) bool {
	made := uint64(0)
	for i := range tx.Outputs {
		if s.cfg.isHome(tx.Outputs[i].Address) {
			made += tx.Outputs[i].Amount
		}
	}
	if s.cfg.isHome(tx.owners[0]) {
		made += tx.Fee
	}
	if !spent {
		made -= min(made, s.ownValue(tx))
	}
	return s.sums.fits(made, s.supply)
}

// consume marks the transaction's inputs in this shard as spent and returns their total value. The inputs must have been
// checked just before.
func (s *BlockState) consume(tx *Tx) (value uint64, err error) {
	coins := s.inputs.take(tx)
	n := 0
	for i := range tx.Inputs {
		if !s.cfg.isHome(tx.owners[i]) {
			continue
		}
		c := coins[n]
		n++
		s.outputs.spend(tx.Inputs[i].Outpoint, c, tx.id)
		s.receipts.spent(tx.Inputs[i].Outpoint, &c)
		if err := s.accounts.spend(c); err != nil {
			return 0, err
		}
		value += c.amount
	}
	s.sums.spend(n, value)
	return value, nil
}

// create creates the transaction's outputs in this shard and returns their total value.
func (s *BlockState) create(tx *Tx) (value uint64, err error) {
	for i := range tx.Outputs {
		to := &tx.Outputs[i]
		if !s.cfg.isHome(to.Address) {
			continue
		}
		if err := s.createOutput(Outpoint{Tx: tx.id, Index: uint16(i)}, coin{to.Address, to.Amount, s.window + 1}); err != nil {
			return 0, err
		}
		value += to.Amount
	}
	return value, nil
}

// endReceipt ends the history entries of the transaction whose receipt was added last.
func (s *BlockState) endReceipt() { s.receipts.setParties(s.accounts.endTx(s.receipts.last())) }

func (s *BlockState) createOutput(o Outpoint, c coin) error {
	s.outputs.create(o, c)
	s.sums.create(c.amount)
	return s.accounts.create(c)
}
