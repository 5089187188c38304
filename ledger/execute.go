package ledger

import (
	"fmt"

	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
)

// CommittedBlock is the input of execution.
type CommittedBlock struct {
	Height uint64 // one above that of the last executed block
	Epoch  uint64
	Slot   uint64
	Last   bool          // whether it is the last block of its epoch
	Digest digest.Digest // digest of the consensus block
	TimeMS uint64        // block time, Unix milliseconds, not below that of the last executed block
	Cut    []byte        // the block's cut, encoded; stored with the state so that a replica knows up to where it has executed
	// Deliveries are those of other shards, by source and then number. They are executed before the batches. The
	// proof of each was checked when it was received. A delivery that is not the next of its channel is not applied.
	Deliveries []*Delivery
	Payloads   []*Payload // in the order of execution, without those of bad batches; all signatures of each verify
	Batches    []BatchID  // of the payloads, in the same order
	Bad        []BatchID  // bad batches, in the order of execution
	// Expect is the digest that the header must have, zero if it is not known. With another header, Execute returns a
	// [Mismatch] and changes nothing.
	Expect digest.Digest
}

// BatchID names a batch of a lane.
type BatchID struct {
	Lane   uint16
	Seq    uint64
	Digest digest.Digest
}

// Block is the result of executing one block.
type Block struct {
	Header       Header
	HeaderDigest digest.Digest
	Receipts     []Receipt  // by position
	LeftOut      []LeftOut  // transactions without a receipt and a record; they may be ordered again
	Duplicates   []TxID     // transactions that had a receipt or a record before
	Outbox       []Outgoing // deliveries to other shards, by destination and then number
	Frozen       []Freeze   // channels that this block froze
	Bad          []BatchID  // in the order of execution
	More         bool       // verdicts are left that only later blocks can send
	Log          []LogBatch // the batches of the block, in a shard that orders opaque payloads
}

// Entries is the number of receipts, or of entries of the batches of a log.
func (b *Block) Entries() int {
	n := len(b.Receipts)
	for i := range b.Log {
		n += int(b.Log[i].Count)
	}
	return n
}

// LeftOut is a transaction of a block's batches that can neither settle nor be rejected now.
type LeftOut struct {
	ID      TxID
	Refusal *Refusal
	Missing Outpoint // with ReasonUnknownInput, the first unknown input
}

// Execute applies a block to the state in one atomic batch, which is not synced: after a crash the state is that of
// an earlier block, and executing the later blocks again gives the same result. Entries are applied strictly one
// after another. It is an error if the store fails, if the block does not follow the last one, or if its header is not the
// expected one (a [Mismatch]); the state is unchanged then. Execute panics if the block does not conserve value.
func (s *State) Execute(in CommittedBlock) (*Block, error) {
	last := &s.tip // only Execute changes it
	switch {
	case in.Height != last.header.Height+1:
		return nil, fmt.Errorf("block %d cannot be executed after block %d", in.Height, last.header.Height)
	case in.TimeMS < last.header.TimeMS:
		return nil, fmt.Errorf("block %d has time %d ms, before its parent's %d", in.Height, in.TimeMS, last.header.TimeMS)
	}
	s.block.begin(&in, last)
	b := &s.block.batch
	if err := s.block.prefetch(); err != nil {
		return nil, fmt.Errorf("execute block %d: %w", in.Height, err)
	}
	t, err := s.block.execute(b)
	if err == nil && !in.Expect.IsZero() && t.digest != in.Expect {
		err = &Mismatch{in.Height, t.digest, in.Expect}
	}
	if err == nil {
		err = s.store.Apply(b, false)
	}
	if err != nil {
		s.block.abandon()
		return nil, fmt.Errorf("execute block %d: %w", in.Height, err)
	}
	s.block.updateCaches()
	s.setTip(t)
	if err = s.states.Reached(in.Height); err == nil {
		err = s.prune()
	}
	if err != nil {
		return nil, fmt.Errorf("execute block %d: %w", in.Height, err)
	}
	return s.block.out, nil
}

// execute applies the entries of the block, and fills the batch with all changes. It returns the tip after the block.
func (s *BlockState) execute(b *kv.Batch) (tip, error) {
	for _, x := range s.in.Deliveries {
		if s.cfg.Rules == nil {
			return tip{}, fmt.Errorf("the block has a delivery of shard %d, but this ledger has no rules for deliveries", x.Source)
		}
		if err := s.cfg.Rules.Delivered(s, x); err != nil {
			return tip{}, err
		}
	}
	for _, p := range s.in.Payloads {
		for _, n := range p.Notices {
			if err := n.Execute(s); err != nil {
				return tip{}, err
			}
		}
		for _, tx := range p.Txs {
			if err := s.executeTx(tx); err != nil {
				return tip{}, err
			}
		}
	}
	return s.finish(b)
}

// executeTx decides one transaction of a batch.
func (s *BlockState) executeTx(tx *Tx) error {
	if r := s.cfg.underpaid(tx); r != nil {
		s.LeaveOut(tx, r, Outpoint{})
		return nil
	}
	if p := tx.Shards(s.cfg.Home); !p.Inside(s.cfg.Shard) {
		if r := s.cfg.refuseForeign(p); r != nil {
			s.LeaveOut(tx, r, Outpoint{})
			return nil
		}
		return s.cfg.Rules.Ordered(s, tx)
	}
	refusal, missing, err := s.inputs.check(tx, true)
	if err != nil {
		return err
	}
	if refusal == nil {
		refusal = s.cfg.beyondHorizon(tx, s.in.TimeMS)
	}
	if refusal == nil {
		return s.settleInside(tx)
	}
	if s.cfg.outsideIndex(tx, s.in.TimeMS) {
		s.LeaveOut(tx, refusal, missing)
		return nil
	}
	// Only a refused transaction can have a receipt already. A transaction whose inputs are all good has none: settling
	// would have consumed its inputs, and a reason for rejecting it would still hold.
	known, err := s.receipts.find(tx.id)
	switch {
	case err != nil:
		return err
	case known:
		s.MarkDuplicate(tx)
	case !refusal.Final():
		s.LeaveOut(tx, refusal, missing)
	default:
		s.receipts.add(tx, VerdictRejected, refusal.Reason)
	}
	return nil
}
