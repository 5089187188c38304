package ledger

import (
	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
	"bdtnode/internal/wire"
)

const tagWriteSet = "bdt/write-set/1"

// Rules settle transactions between shards. A State calls them while it executes a block, one call at a time in the
// order of the block. They change the state through the BlockState, which is valid during the call only. All replicas
// must use the same rules, because the header certifies the result of the rules too. A returned error is an error of
// the store; it aborts the block.
type Rules interface {
	// Delivered is called for each delivery of another shard in the block.
	Delivered(s *BlockState, x *Delivery) error
	// Ordered is called for each transaction of a batch that has inputs in this shard and involves other shards.
	Ordered(s *BlockState, tx *Tx) error
	// Busy returns the reason why Ordered leaves out transactions that involve the shard of a channel, the rest of a
	// sentence about that shard; empty if it does not.
	Busy(c Channel) string
	// Expired is called in an input shard for an open record whose transaction has expired, in the block that finds
	// the expiry minute past or in a later one.
	Expired(s *BlockState, r *Record) error
	// VerdictSent is called for a record after this shard's verdict is sent to all other shards involved.
	VerdictSent(s *BlockState, r *Record) error
	// EndBlock is called after the last entry of each block.
	EndBlock(s *BlockState) error
}

// BlockState is the state during the execution of one block, and the interface of [Rules] to it: they read the state
// with the changes of the block, and change it. Each part owns one kind of data. BlockState itself moves the value of
// transactions, which changes several parts together. Misuse panics: spending without CheckInputs before, or settling
// twice.
type BlockState struct {
	Records  *Records  // open records of transactions between shards
	Channels *Channels // with other shards
	Outbox   *Outbox   // verdicts for other shards

	execution
	inputs   inputs
	outputs  outputs
	accounts accounts
	receipts receipts
	sums     sums
	supply   uint64 // genesis value of the whole network
	last     *tip   // of the block before
	out      *Block
	batch    kv.Batch // all changes of the block

	// Of prefetch.
	prefetchLeast int
	wanted        table[Address, struct{}]
	wantedKeys    [][]byte
}

// keptChanges is the number of changes up to which the memory of a block's batch is used again.
const keptChanges = 1 << 16

func newBlockState(cfg *Config, store kv.Store, supply uint64) *BlockState {
	s := &BlockState{execution: execution{cfg: cfg, store: store}, supply: supply, prefetchLeast: prefetchLeast}
	x := &s.execution
	s.accounts, s.receipts = newAccounts(x), newReceipts(x)
	s.outputs = newOutputs(x, &s.receipts)
	s.inputs = inputs{x: x, outputs: &s.outputs}
	s.Channels = newChannels(x)
	s.Records = newRecords(x, s.Channels)
	s.Outbox = newOutbox(x, s.Records, s.Channels)
	return s
}

// open reads the parts of the state that are kept in memory.
func (s *BlockState) open() error {
	for _, open := range []func() error{
		func() error { return s.Records.due.open(s.store) },
		s.Outbox.open, s.Channels.open, s.fillCaches,
	} {
		if err := open(); err != nil {
			return err
		}
	}
	return nil
}

// begin prepares the execution of a block after the one of last.
func (s *BlockState) begin(in *CommittedBlock, last *tip) {
	s.in, s.writes, s.last, s.sums, s.out = in, s.writes[:0], last, last.sums, &Block{}
	s.window = s.cfg.window(in.TimeMS)
	if cap(s.batch.Ops) > keptChanges {
		s.batch = kv.Batch{}
	}
	s.batch.Reset()
	s.keys.reset()
	s.values = arena{}
	s.outputs.reset()
	s.accounts.reset()
	s.receipts.reset()
	s.Records.reset()
	s.Channels.reset()
	s.Outbox.reset()
}

// abandon is called in place of updateCaches if the block is not stored.
func (s *BlockState) abandon() { s.Records.due.abandon() }

// updateCaches is called when the block is in the store.
func (s *BlockState) updateCaches() {
	s.outputs.updateCache()
	s.accounts.updateCache()
	s.Channels.updateCache()
	s.Outbox.updateCache()
}

// Shard is the shard of this ledger.
func (s *BlockState) Shard() uint16 { return s.cfg.Shard }

// TimeMS is the block time, Unix milliseconds.
func (s *BlockState) TimeMS() uint64 { return s.in.TimeMS }

// Shards returns the shards that a transaction involves.
func (s *BlockState) Shards(tx *Tx) TxShards { return tx.Shards(s.cfg.Home) }

// CheckInputs checks the inputs of a transaction in this shard at block time. It returns the refusal, nil if all inputs
// are good, and the first unknown input if the refusal is for one. A final refusal takes precedence over one that is not
// final. After a nil refusal, the rules may Spend the transaction next.
func (s *BlockState) CheckInputs(tx *Tx) (*Refusal, Outpoint, error) {
	return s.inputs.check(tx, false)
}

// BeyondHorizon returns the refusal of a transaction whose expiry is beyond the horizon, or nil. The transaction must
// not have expired.
func (s *BlockState) BeyondHorizon(tx *Tx) *Refusal { return s.cfg.beyondHorizon(tx, s.in.TimeMS) }

// Underpaid returns the refusal of a transaction whose fee is below the least fee, or nil.
func (s *BlockState) Underpaid(tx *Tx) *Refusal { return s.cfg.underpaid(tx) }

// LeaveOut records in the block that a transaction of a batch is left out: it gets neither verdict nor record, and
// may be ordered again.
func (s *BlockState) LeaveOut(tx *Tx, r *Refusal, missing Outpoint) {
	s.out.LeftOut = append(s.out.LeftOut, LeftOut{tx.id, r, missing})
}

// LeaveOutBusy leaves a transaction out because of one of the shards that it involves; why is the rest of a sentence
// about it.
func (s *BlockState) LeaveOutBusy(tx *Tx, shard uint16, why string) {
	s.LeaveOut(tx, refuse(ReasonShardBusy, "shard %d %s", shard, why), Outpoint{})
}

// MarkDuplicate records in the block that a transaction of a batch was ordered before.
func (s *BlockState) MarkDuplicate(tx *Tx) { s.out.Duplicates = append(s.out.Duplicates, tx.id) }

// finish closes the records that are due, makes the deliveries and the header, and fills the batch with all changes
// of the block. It returns the tip after the block.
func (s *BlockState) finish(b *kv.Batch) (tip, error) {
	if err := s.Records.closeExpired(b, func(r *Record) error { return s.cfg.Rules.Expired(s, r) }); err != nil {
		return tip{}, err
	}
	s.outputs.write(b)
	s.accounts.write(b)
	outbox, err := s.endSettlement(b)
	if err != nil {
		return tip{}, err
	}
	s.sums.check(s.in.Height)
	return s.writeHeader(b, outbox), nil
}

// endSettlement calls the end-of-block rule, writes records, channels and deliveries, and returns the Merkle root over
// the deliveries.
func (s *BlockState) endSettlement(b *kv.Batch) (outbox digest.Digest, err error) {
	if s.cfg.Rules == nil {
		return digest.Digest{}, nil
	}
	if err := s.Outbox.deliverVerdicts(b, func(r *Record) error { return s.cfg.Rules.VerdictSent(s, r) }); err != nil {
		return digest.Digest{}, err
	}
	if err := s.cfg.Rules.EndBlock(s); err != nil {
		return digest.Digest{}, err
	}
	s.Records.write(b)
	s.Channels.deleteAcknowledged(b)
	outbox = s.Outbox.write(b)
	s.Channels.write(b)
	s.out.Outbox, s.out.Frozen, s.out.More = s.Outbox.made, s.Channels.frozen, s.Outbox.left > 0
	return outbox, nil
}

// writeHeader makes the header and the new tip, and writes them together with the receipts.
func (s *BlockState) writeHeader(b *kv.Batch, outbox digest.Digest) tip {
	txRoot, receiptRoot := s.receipts.write(b)
	h := Header{
		Network:  s.cfg.Network,
		Shard:    s.cfg.Shard,
		Height:   s.in.Height,
		Epoch:    s.in.Epoch,
		Slot:     s.in.Slot,
		Last:     s.in.Last,
		Parent:   s.last.digest,
		Block:    s.in.Digest,
		TxRoot:   txRoot,
		Receipts: receiptRoot,
		Outbox:   outbox,
		WriteSet: digest.Of(tagWriteSet, s.last.header.WriteSet[:], wire.AppendU32(nil, uint32(len(s.in.Cut))), s.in.Cut, s.writes),
		TimeMS:   s.in.TimeMS,
		Txs:      s.last.header.Txs + uint64(len(s.receipts.list)),
	}
	t := tip{header: h, digest: h.Digest(), sums: s.sums, cut: append([]byte(nil), s.in.Cut...)}
	s.out.Header, s.out.HeaderDigest, s.out.Receipts, s.out.Bad = h, t.digest, s.receipts.list, s.in.Bad
	b.Set(heightKey(keyHeader, h.Height), h.Encode())
	b.Set([]byte{keyTip}, t.encode())
	return t
}
