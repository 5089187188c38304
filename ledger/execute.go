package ledger

import (
	"errors"
	"fmt"

	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
)

// Ordered is one committed block as consensus hands it to execution.
type Ordered struct {
	Height uint64 // one above the last executed
	Epoch  uint64
	Slot   uint64
	Last   bool          // the block that ends its epoch
	Digest digest.Digest // of the consensus block
	TimeMS uint64        // block time, Unix milliseconds, not before the last block's
	Cut    []byte        // the block's cut, encoded: kept with the state, so that a replica knows its position
	// Deliveries of other shards, by source and then number. They come before the batches. Each had its proof checked
	// when it was received; one that is not the next of its channel is not applied.
	Deliveries []*Delivery
	Payloads   []*Payload // in the order of execution, each passed by CheckPayload
}

// Block is what executing one block came to.
type Block struct {
	Header       Header
	HeaderDigest digest.Digest
	Receipts     []Receipt  // in order of position
	LeftOut      []LeftOut  // no receipt, no record: they may come again
	Duplicates   []TxID     // had a receipt before
	Outbox       []Outgoing // what the block tells other shards, by destination and then number
	Frozen       []Freeze   // channels that this block has frozen
	More         bool       // verdicts wait for further blocks to tell them
}

// LeftOut is a transaction that a block named and that can neither settle nor be rejected now.
type LeftOut struct {
	ID      TxID
	Refusal *Refusal
	Missing Outpoint // the first input that is unknown, with ReasonUnknownInput
}

// Execute applies a block to the state, in one atomic batch which is not synced: after a crash the state is that of
// an earlier block, and blocks are executed again to the same result. Entries apply strictly one after another.
// An error is one of the store, or a block that does not follow the last; the state has not changed then. Value
// that is not conserved is a panic.
func (s *State) Execute(in Ordered) (*Block, error) {
	last := &s.tip // only Execute changes it
	switch {
	case in.Height != last.header.Height+1:
		return nil, fmt.Errorf("block %d cannot be executed after block %d", in.Height, last.header.Height)
	case in.TimeMS < last.header.TimeMS:
		return nil, fmt.Errorf("block %d has time %d ms, before its parent's %d", in.Height, in.TimeMS, last.header.TimeMS)
	}
	s.work.reset()
	d := &Desk{s: s, in: &in, t: *last, out: &Block{}}
	if err := d.execute(); err != nil {
		return nil, fmt.Errorf("execute block %d: %w", in.Height, err)
	}
	s.remember()
	s.mu.Lock()
	s.tip = d.t
	s.mu.Unlock()
	return d.out, nil
}

// execute does all of the block, up to its batch in the store.
func (d *Desk) execute() error {
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
		panic(fmt.Sprintf("ledger: block %d does not conserve value: %d unspent, %d in escrow, %d burned and %d ceded of %d and %d gained",
			d.in.Height, t.unspent, t.escrow, t.burned, t.ceded, t.genesis, t.gained))
	}
	return d.s.store.Apply(b, false)
}

// deliver applies a delivery of another shard.
func (d *Desk) deliver(x *Delivery) error {
	if d.s.cfg.Rules == nil {
		return fmt.Errorf("a delivery of shard %d reached a shard without rules for it", x.Source)
	}
	return d.s.cfg.Rules.Delivered(d, x)
}

// entry decides one transaction of a batch.
func (d *Desk) entry(tx *Tx) error {
	if r := d.s.underpaid(tx); r != nil {
		d.LeaveOut(tx, r, Outpoint{})
		return nil
	}
	if p := tx.Parties(d.s.cfg.Home); !p.Inside(d.s.cfg.Shard) {
		if r := d.s.foreign(p); r != nil {
			d.LeaveOut(tx, r, Outpoint{})
			return nil
		}
		return d.s.cfg.Rules.Ordered(d, tx)
	}
	refusal, missing, err := d.judge(tx, true)
	if err != nil {
		return err
	}
	if refusal == nil {
		refusal = d.s.beyondHorizon(tx, d.in.TimeMS)
	}
	if refusal != nil {
		// A transaction all of whose inputs are good has no receipt: settling it would have consumed them, and what
		// it could have been rejected for never mends. So only here is there a need to look.
		known, err := d.decided(tx.id)
		switch {
		case err != nil:
			return err
		case known:
			d.Duplicate(tx)
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
func (d *Desk) receipt(tx *Tx, v Verdict, r Reason) {
	w := &d.s.work
	w.writes = append(append(w.writes, tx.id[:]...), byte(v), byte(r))
	d.out.Receipts = append(d.out.Receipts, Receipt{
		Tx: tx.id, Shard: d.s.cfg.Shard, Height: d.in.Height, Position: uint32(len(d.out.Receipts)),
		Verdict: v, Reason: r, TimeMS: d.in.TimeMS,
	})
}

// judge is what stands against the transaction's inputs in this shard, all of them if it is inside, permanent reasons
// first. If that is nothing, their coins are left in work.
func (d *Desk) judge(tx *Tx, inside bool) (*Refusal, Outpoint, error) {
	if r := expired(tx, d.in.TimeMS); r != nil {
		return r, Outpoint{}, nil
	}
	var later *Refusal
	var missing Outpoint
	w := &d.s.work
	w.coins, w.judged = w.coins[:0], tx.id
	for i := range tx.Inputs {
		if !inside && !d.s.home(tx.owners[i]) {
			continue
		}
		c, by, err := d.s.find(tx.Inputs[i].Outpoint)
		if err != nil {
			return nil, missing, err
		}
		r := tx.against(i, c, by)
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

// home reports whether the shard holds the outputs of a.
func (s *State) home(a Address) bool { return s.cfg.Home(a) == s.cfg.Shard }

// foreign is the refusal of a transaction that this shard has no say in, or may not settle.
func (s *State) foreign(p Parties) *Refusal {
	switch {
	case !p.Inputs.Has(s.cfg.Shard):
		return refuse(ReasonWrongShard, "it spends outputs of shards %v, this is shard %d", p.Inputs.Members(), s.cfg.Shard)
	case s.cfg.Rules == nil && !p.Inside(s.cfg.Shard):
		return refuse(ReasonWrongShard, "it involves shards %v, and this ledger has shard %d alone", p.All().Members(), s.cfg.Shard)
	}
	return nil
}

func expired(tx *Tx, timeMS uint64) *Refusal {
	if timeMS > tx.ExpiryMS {
		return refuse(ReasonExpired, "expired at %d, it is %d (Unix ms)", tx.ExpiryMS, timeMS)
	}
	return nil
}

func (s *State) beyondHorizon(tx *Tx, timeMS uint64) *Refusal {
	if tx.ExpiryMS-timeMS > s.cfg.HorizonMS { // not expired, so no less than 0
		return refuse(ReasonExpiryTooFar, "expires %d ms from now, at most %d allowed", tx.ExpiryMS-timeMS, s.cfg.HorizonMS)
	}
	return nil
}

// underpaid is the refusal of a transaction whose fee is below the least fee, or nil. It gets no receipt: an honest
// replica proposes none, so it is not worth a place in the state.
func (s *State) underpaid(tx *Tx) *Refusal {
	if least := s.cfg.LeastFee * uint64(len(tx.raw)); tx.Fee < least {
		return refuse(ReasonFeeTooLow, "the fee is %d, for %d bytes it must be at least %d", tx.Fee, len(tx.raw), least)
	}
	return nil
}

// against is what the ledger says against input i: c is its output if unspent, by who consumed it, if known.
func (t *Tx) against(i int, c *coin, by *TxID) *Refusal {
	in := &t.Inputs[i]
	switch {
	case c == nil && by == nil:
		return refuse(ReasonUnknownInput, "input %d, output %d of %s, does not exist", i, in.Outpoint.Index, in.Outpoint.Tx)
	case c == nil:
		return refuse(ReasonConsumed, "input %d was consumed by %s", i, *by)
	case c.owner != t.owners[i]:
		return refuse(ReasonWrongOwner, "input %d belongs to another owner than its key's", i)
	case c.amount != in.Amount:
		return refuse(ReasonWrongAmount, "input %d holds %d, not %d", i, c.amount, in.Amount)
	}
	return nil
}

// find looks an output up as the block at hand has left it.
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

// lookUp finds an output in the store, or who consumed it.
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

func (d *Desk) decided(id TxID) (bool, error) {
	if _, ok := d.s.work.decided[id]; ok {
		return true, nil
	}
	_, ok, err := d.s.store.Get(append([]byte{keyReceipt}, id[:]...))
	return ok, err
}
