package ledger

import (
	"errors"
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
	Payloads   []*Payload // in the order of execution; CheckPayload has accepted each
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
	More         bool       // verdicts are left that only later blocks can send
}

// LeftOut is a transaction of a block's batches that can neither settle nor be rejected now.
type LeftOut struct {
	ID      TxID
	Refusal *Refusal
	Missing Outpoint // with ReasonUnknownInput, the first unknown input
}

// Execute applies a block to the state in one atomic batch, which is not synced: after a crash the state is that of
// an earlier block, and executing the later blocks again gives the same result. Entries are applied strictly one
// after another. It is an error if the store fails or if the block does not follow the last one; the state is
// unchanged then. Execute panics if the block does not conserve value.
func (s *State) Execute(in CommittedBlock) (*Block, error) {
	last := &s.tip // only Execute changes it
	switch {
	case in.Height != last.header.Height+1:
		return nil, fmt.Errorf("block %d cannot be executed after block %d", in.Height, last.header.Height)
	case in.TimeMS < last.header.TimeMS:
		return nil, fmt.Errorf("block %d has time %d ms, before its parent's %d", in.Height, in.TimeMS, last.header.TimeMS)
	}
	s.work.reset()
	d := &BlockState{s: s, in: &in, t: *last, out: &Block{}}
	if err := d.execute(); err != nil {
		return nil, fmt.Errorf("execute block %d: %w", in.Height, err)
	}
	s.updateCaches()
	s.setTip(d.t)
	return d.out, nil
}

// execute applies the entries of the block and writes its batch to the store.
func (d *BlockState) execute() error {
	for _, x := range d.in.Deliveries {
		if err := d.deliver(x); err != nil {
			return err
		}
	}
	for _, p := range d.in.Payloads {
		for _, n := range p.Notices {
			if err := n.Execute(d); err != nil {
				return err
			}
		}
		for _, tx := range p.Txs {
			if err := d.entry(tx); err != nil {
				return err
			}
		}
	}
	b := &kv.Batch{}
	if err := d.finish(b); err != nil {
		return err
	}
	if t := &d.t; t.unspent+t.escrow+t.burned+t.ceded != t.genesis+t.gained {
		panic(fmt.Sprintf("ledger: block %d does not conserve value: %d unspent + %d in escrow + %d burned + %d ceded, but %d at genesis + %d gained",
			d.in.Height, t.unspent, t.escrow, t.burned, t.ceded, t.genesis, t.gained))
	}
	return d.s.store.Apply(b, false)
}

// deliver passes a delivery of another shard to the rules.
func (d *BlockState) deliver(x *Delivery) error {
	if d.s.cfg.Rules == nil {
		return fmt.Errorf("the block has a delivery of shard %d, but this ledger has no rules for deliveries", x.Source)
	}
	return d.s.cfg.Rules.Delivered(d, x)
}

// entry decides one transaction of a batch.
func (d *BlockState) entry(tx *Tx) error {
	if r := d.s.underpaid(tx); r != nil {
		d.LeaveOut(tx, r, Outpoint{})
		return nil
	}
	if p := tx.Shards(d.s.cfg.Home); !p.Inside(d.s.cfg.Shard) {
		if r := d.s.refuseForeign(p); r != nil {
			d.LeaveOut(tx, r, Outpoint{})
			return nil
		}
		return d.s.cfg.Rules.Ordered(d, tx)
	}
	refusal, missing, err := d.checkInputs(tx, true)
	if err != nil {
		return err
	}
	if refusal == nil {
		refusal = d.s.beyondHorizon(tx, d.in.TimeMS)
	}
	if refusal != nil {
		// Only a refused transaction can have a receipt already. A transaction whose inputs are all good has none:
		// settling would have consumed its inputs, and a reason for rejecting it would still hold.
		known, err := d.decided(tx.id)
		switch {
		case err != nil:
			return err
		case known:
			d.MarkDuplicate(tx)
			return nil
		case !refusal.Final():
			d.LeaveOut(tx, refusal, missing)
			return nil
		}
	}
	w := &d.s.work
	w.decided[tx.id] = struct{}{}
	if refusal != nil {
		d.receipt(tx, VerdictRejected, refusal.Reason)
		return nil
	}
	d.receipt(tx, VerdictSettled, ReasonNone)
	return d.settle(tx)
}

// receipt adds a receipt to the block.
func (d *BlockState) receipt(tx *Tx, v Verdict, r Reason) {
	w := &d.s.work
	w.writes = append(append(w.writes, tx.id[:]...), byte(v), byte(r))
	d.out.Receipts = append(d.out.Receipts, Receipt{
		Tx: tx.id, Shard: d.s.cfg.Shard, Height: d.in.Height, Position: uint32(len(d.out.Receipts)),
		Verdict: v, Reason: r, TimeMS: d.in.TimeMS,
	})
}

// checkInputs checks the transaction's inputs in this shard, or all of them if inside is true, at block time. It returns
// the refusal, nil if all are good, and with ReasonUnknownInput the first unknown input. A final refusal takes
// precedence. After a nil refusal, work has the coins of these inputs.
func (d *BlockState) checkInputs(tx *Tx, inside bool) (*Refusal, Outpoint, error) {
	if r := expired(tx, d.in.TimeMS); r != nil {
		return r, Outpoint{}, nil
	}
	var later *Refusal
	var missing Outpoint
	w := &d.s.work
	w.coins, w.checked = w.coins[:0], tx.id
	for i := range tx.Inputs {
		if !inside && !d.s.home(tx.owners[i]) {
			continue
		}
		c, by, err := d.s.find(tx.Inputs[i].Outpoint)
		if err != nil {
			return nil, missing, err
		}
		r := tx.checkInput(i, c, by)
		switch {
		case r == nil:
			w.coins = append(w.coins, *c)
		case r.Final():
			return r, Outpoint{}, nil
		case later == nil:
			later, missing = r, tx.Inputs[i].Outpoint
		}
	}
	return later, missing, nil
}

// home reports whether this shard is the home shard of a.
func (s *State) home(a Address) bool { return s.cfg.Home(a) == s.cfg.Shard }

// refuseForeign returns the refusal of a transaction that has no input in this shard, or that involves other shards
// although this ledger has no rules for settling between shards; nil for all others.
func (s *State) refuseForeign(p TxShards) *Refusal {
	switch {
	case !p.Inputs.Has(s.cfg.Shard):
		return refuse(ReasonWrongShard, "it spends outputs of shards %v, this shard is %d", p.Inputs.Members(), s.cfg.Shard)
	case s.cfg.Rules == nil && !p.Inside(s.cfg.Shard):
		return refuse(ReasonWrongShard, "it involves shards %v, but the network of this ledger has shard %d only", p.All().Members(), s.cfg.Shard)
	}
	return nil
}

func expired(tx *Tx, timeMS uint64) *Refusal {
	if timeMS > tx.ExpiryMS {
		return refuse(ReasonExpired, "expired at %d ms, block time is %d ms (Unix time)", tx.ExpiryMS, timeMS)
	}
	return nil
}

func (s *State) beyondHorizon(tx *Tx, timeMS uint64) *Refusal {
	if tx.ExpiryMS-timeMS > s.cfg.HorizonMS { // not expired, so the difference is not negative
		return refuse(ReasonExpiryTooFar, "expires %d ms ahead, at most %d ms are allowed", tx.ExpiryMS-timeMS, s.cfg.HorizonMS)
	}
	return nil
}

// underpaid returns the refusal of a transaction whose fee is below the least fee, or nil. Such a transaction gets no
// receipt: honest replicas propose none, so storing receipts would only serve faulty replicas.
func (s *State) underpaid(tx *Tx) *Refusal {
	if least := s.cfg.LeastFee * uint64(len(tx.raw)); tx.Fee < least {
		return refuse(ReasonFeeTooLow, "the fee is %d, at least %d is required for %d bytes", tx.Fee, least, len(tx.raw))
	}
	return nil
}

// checkInput returns the refusal for input i, or nil: c is its output if unspent, by the transaction that consumed it if
// that is known.
func (t *Tx) checkInput(i int, c *coin, by *TxID) *Refusal {
	in := &t.Inputs[i]
	switch {
	case c == nil && by == nil:
		return refuse(ReasonUnknownInput, "input %d spends output %d of transaction %s, which does not exist", i, in.Outpoint.Index, in.Outpoint.Tx)
	case c == nil:
		return refuse(ReasonConsumed, "input %d was consumed by transaction %s", i, *by)
	case c.owner != t.owners[i]:
		return refuse(ReasonWrongOwner, "input %d belongs to another address than that of its key", i)
	case c.amount != in.Amount:
		return refuse(ReasonWrongAmount, "input %d has amount %d, the transaction declares %d", i, c.amount, in.Amount)
	}
	return nil
}

// find returns an output with the changes of the current block: its coin if it is unspent, or the transaction that
// consumed it, or neither if it is unknown.
func (s *State) find(o Outpoint) (*coin, *TxID, error) {
	w := &s.work
	if u, ok := w.uses[o]; ok {
		if u.spent {
			return nil, &u.by, nil
		}
		return &u.coin, nil, nil
	}
	if c, ok := s.coins.get(o); ok {
		return &c, nil, nil
	}
	return lookUp(s.store, o)
}

// lookUp returns an output of the store: its coin if it is unspent, or the transaction that consumed it, or neither
// if it is unknown.
func lookUp(r kv.Reader, o Outpoint) (*coin, *TxID, error) {
	var key [1 + outpointSize]byte
	v, ok, err := r.Get(o.append(append(key[:0], keyOutput)))
	if err != nil {
		return nil, nil, err
	}
	if ok {
		c, err := decodeCoin(v)
		return &c, nil, err
	}
	v, ok, err = r.Get(o.append(append(key[:0], keySpent)))
	if err != nil || !ok {
		return nil, nil, err
	}
	if len(v) != digest.Size {
		return nil, nil, errors.New("the record of a consumed output is damaged")
	}
	by := TxID(v)
	return nil, &by, nil
}

func (d *BlockState) decided(id TxID) (bool, error) {
	if _, ok := d.s.work.decided[id]; ok {
		return true, nil
	}
	_, ok, err := d.s.store.Get(append([]byte{keyReceipt}, id[:]...))
	return ok, err
}
