package ledger

import (
	"fmt"
	"math/bits"

	"bdtnode/internal/digest"
)

// Rules settle transactions between shards. A State calls them while it executes a block, one call at a time in the
// order of the block. They change the state through the BlockState, which is valid during the call only. All replicas must
// use the same rules, because the header certifies the result of the rules too. A returned error is an error of the
// store; it aborts the block.
type Rules interface {
	// Delivered is called for each delivery of another shard in the block.
	Delivered(d *BlockState, x *Delivery) error
	// Ordered is called for each transaction of a batch that has inputs in this shard and involves other shards.
	Ordered(d *BlockState, tx *Tx) error
	// Expired is called in an input shard for an open record whose transaction has expired, in the block that finds
	// the expiry minute past or in a later one.
	Expired(d *BlockState, r *Record) error
	// VerdictSent is called for a record after this shard's verdict is sent to all other shards involved.
	VerdictSent(d *BlockState, r *Record) error
	// EndBlock is called after the last entry of each block.
	EndBlock(d *BlockState) error
}

// BlockState is the interface of [Rules] to the state: it reads the state with the changes of the current block, and
// changes it. Misuse panics: spending without CheckInputs before, settling twice, giving a second verdict.
type BlockState struct {
	s   *State
	in  *CommittedBlock
	t   tip
	out *Block
}

// Shard is the shard of this ledger.
func (d *BlockState) Shard() uint16 { return d.s.cfg.Shard }

// TimeMS is the block time, Unix milliseconds.
func (d *BlockState) TimeMS() uint64 { return d.in.TimeMS }

// Shards returns the shards that a transaction involves.
func (d *BlockState) Shards(tx *Tx) TxShards { return tx.Shards(d.s.cfg.Home) }

// CheckInputs checks the inputs of a transaction in this shard at block time. It returns the refusal, nil if all inputs are
// good, and the first unknown input if the refusal is for one. A final refusal takes precedence over one that is not
// final. After a nil refusal, the rules may Spend the transaction next.
func (d *BlockState) CheckInputs(tx *Tx) (*Refusal, Outpoint, error) { return d.checkInputs(tx, false) }

// BeyondHorizon returns the refusal of a transaction whose expiry is beyond the horizon, or nil. The transaction must not
// have expired.
func (d *BlockState) BeyondHorizon(tx *Tx) *Refusal { return d.s.beyondHorizon(tx, d.in.TimeMS) }

// Underpaid returns the refusal of a transaction whose fee is below the least fee, or nil.
func (d *BlockState) Underpaid(tx *Tx) *Refusal { return d.s.underpaid(tx) }

// LeaveOut records in the block that a transaction of a batch is left out: it gets neither verdict nor record, and
// may be ordered again.
func (d *BlockState) LeaveOut(tx *Tx, r *Refusal, missing Outpoint) {
	d.out.LeftOut = append(d.out.LeftOut, LeftOut{tx.id, r, missing})
}

// LeaveOutBusy leaves a transaction out because of one of the shards that it involves; why is the rest of a sentence about
// it.
func (d *BlockState) LeaveOutBusy(tx *Tx, shard uint16, why string) {
	d.LeaveOut(tx, refuse(ReasonShardBusy, "shard %d %s", shard, why), Outpoint{})
}

// MarkDuplicate records in the block that a transaction of a batch was ordered before.
func (d *BlockState) MarkDuplicate(tx *Tx) { d.out.Duplicates = append(d.out.Duplicates, tx.id) }

// Record returns the open record of a transaction, nil if there is none. The caller must not change it except through
// the BlockState.
func (d *BlockState) Record(id TxID) (*Record, error) {
	x, err := d.open(id)
	if err != nil || x == nil || !x.Part.Open {
		return nil, err
	}
	return &x.Record, nil
}

// ClosedPart returns the final state of a closed record of a transaction, nil if there is none. It has the verdict of every
// input shard, which never changes any more.
func (d *BlockState) ClosedPart(id TxID) (*Part, error) {
	if x := d.s.work.records[id]; x != nil {
		if x.Part.Open {
			return nil, nil
		}
		return &x.Part, nil
	}
	p, ok, err := readPart(d.s.store, id, d.Shard())
	if err != nil || !ok || p.Open {
		return nil, err
	}
	return &p, nil
}

// open returns the record of a transaction if it is open in the store or was changed by the current block. A record
// that the current block has closed is returned too.
func (d *BlockState) open(id TxID) (*openRecord, error) {
	w := &d.s.work
	if x := w.records[id]; x != nil {
		return x, nil
	}
	raw, ok, err := d.s.store.Get(append([]byte{keyOpen}, id[:]...))
	if err != nil || !ok {
		return nil, err
	}
	part, ok, err := readPart(d.s.store, id, d.s.cfg.Shard)
	if err != nil {
		return nil, err
	}
	tx, err := DecodeTx(raw)
	if err != nil || !ok || tx.id != id || !part.Open {
		return nil, fmt.Errorf("the record of transaction %s is damaged", id)
	}
	x := &openRecord{Record: Record{Part: part, Shards: d.Shards(tx), Tx: tx}}
	w.records[id] = x
	return x, nil
}

// changes marks an open record as changed by the current block and returns it.
func (d *BlockState) changes(r *Record) *Record {
	w := &d.s.work
	x := w.records[r.Part.Tx]
	if x == nil || &x.Record != r || !x.Part.Open {
		panic(fmt.Sprintf("ledger: the record of transaction %s is not open", r.Part.Tx))
	}
	if !x.changed {
		x.changed = true
		w.changed = append(w.changed, x)
	}
	return r
}

// OpenRecord opens a record for a transaction. It panics if the current block has one of it already.
func (d *BlockState) OpenRecord(tx *Tx) *Record {
	w := &d.s.work
	if w.records[tx.id] != nil {
		panic(fmt.Sprintf("ledger: a second record of transaction %s", tx.id))
	}
	p := d.Shards(tx)
	x := &openRecord{opened: true, Record: Record{Tx: tx, Shards: p,
		Part: Part{Tx: tx.id, Shard: d.Shard(), Open: true, Height: d.in.Height, Outputs: p.Outputs, Known: make([]KnownVerdict, 0, p.Inputs.Len())}}}
	for _, shard := range p.Inputs.Members() {
		x.Part.Known = append(x.Part.Known, KnownVerdict{Shard: shard})
		if shard != d.Shard() {
			d.channel(shard).Waiting++
		}
	}
	if p.Inputs.Has(d.Shard()) && tx.ExpiryMS >= d.in.TimeMS { // else it is closed as soon as it is complete
		w.openDue.add(tx.ExpiryMS/minuteMS, tx.id)
	}
	w.records[tx.id] = x
	return d.changes(&x.Record)
}

// RecordVerdict records the verdict of an input shard in a record. It panics if the record has that shard's verdict already.
func (d *BlockState) RecordVerdict(r *Record, shard uint16, v Verdict, reason Reason) {
	k := d.changes(r).Part.Of(shard)
	if k == nil || k.Verdict != 0 {
		panic(fmt.Sprintf("ledger: a second verdict of shard %d on transaction %s", shard, r.Part.Tx))
	}
	*k = KnownVerdict{shard, v, reason, d.in.Height}
	if shard != d.Shard() {
		c := d.channel(shard)
		c.Waiting--
		if r.Part.Stage == StageEscrow {
			c.Escrow -= d.ownValue(r)
		}
	}
}

// Spend moves the transaction's inputs in this shard into escrow. The call of CheckInputs just before must have accepted
// the transaction.
func (d *BlockState) Spend(r *Record) error {
	d.enter(r, StagePending, StageEscrow)
	d.resetHistory()
	value, err := d.consume(r.Tx)
	if err != nil {
		return err
	}
	if value != d.ownValue(r) {
		panic(fmt.Sprintf("ledger: transaction %s consumes value %d, but its inputs in this shard declare %d", r.Part.Tx, value, d.ownValue(r)))
	}
	d.t.escrow += value
	d.waiting(r, func(c *Channel) { c.Escrow += value })
	d.recordHistory(r.Tx)
	d.receipt(r.Tx, VerdictSpent, ReasonNone)
	return nil
}

// Settle deletes the transaction's escrow in this shard, if any, and creates its outputs in this shard. The home
// shard of the first input burns the fee.
func (d *BlockState) Settle(r *Record) error {
	spent := uint64(0)
	if r.Part.Stage == StageEscrow {
		spent = d.ownValue(r)
	}
	d.enter(r, r.Part.Stage, StageSettled)
	d.resetHistory()
	made, err := d.create(r.Tx)
	if err != nil {
		return err
	}
	if d.s.home(r.Tx.owners[0]) {
		d.t.burned += r.Tx.Fee
		made += r.Tx.Fee
	}
	d.t.escrow -= spent
	d.t.addSettlement(made, spent)
	for i := range r.Part.Known {
		if shard := r.Part.Known[i].Shard; shard != d.Shard() {
			c := d.channel(shard)
			c.Created += min(made, d.declared(r.Tx, shard))
		}
	}
	d.recordHistory(r.Tx)
	d.receipt(r.Tx, VerdictSettled, ReasonNone)
	return nil
}

// ReturnEscrow ends the escrow of a transaction: its value goes back to the owners as new outputs, see [ReturnedOutpoint].
func (d *BlockState) ReturnEscrow(r *Record, reason Reason) error {
	value := d.ownValue(r)
	d.enter(r, StageEscrow, StageReturned)
	d.resetHistory()
	for i := range r.Tx.Inputs {
		if in := &r.Tx.Inputs[i]; d.s.home(r.Tx.owners[i]) {
			if err := d.mint(ReturnedOutpoint(r.Tx.id, in.Outpoint), r.Tx.owners[i], in.Amount); err != nil {
				return err
			}
		}
	}
	d.t.escrow -= value
	d.waiting(r, func(c *Channel) { c.Escrow -= value })
	d.recordHistory(r.Tx)
	d.receipt(r.Tx, VerdictReturned, reason)
	return nil
}

// ReturnedOutpoint is the outpoint of the new output that returns an input of a transaction to its owner. It differs from the
// input's outpoint, so a spent output never becomes unspent again.
func ReturnedOutpoint(tx TxID, input Outpoint) Outpoint {
	return Outpoint{Tx: TxID(digest.Of("bdt/return/1", tx[:], input.append(nil)))}
}

// Reject ends a transaction that has nothing in escrow in this shard.
func (d *BlockState) Reject(r *Record, reason Reason) {
	d.enter(r, StagePending, StageRejected)
	d.receipt(r.Tx, VerdictRejected, reason)
}

// CloseRecord closes a record. From then on, the ledger no longer knows which transaction consumed the inputs that it
// spent: they are merely unknown. It panics if this shard's verdict is not sent to all shards yet.
func (d *BlockState) CloseRecord(r *Record) {
	w := &d.s.work
	if d.changes(r).Part.Unsent != 0 {
		panic(fmt.Sprintf("ledger: the record of transaction %s is closed before its verdict is sent to all shards", r.Part.Tx))
	}
	r.Part.Open = false
	if k := r.Part.Of(d.Shard()); k != nil && k.Verdict == VerdictSpent {
		for i := range r.Tx.Inputs {
			if d.s.home(r.Tx.owners[i]) {
				w.forgotten = append(w.forgotten, r.Tx.Inputs[i].Outpoint)
			}
		}
	}
}

// enter moves a record to another stage. It panics if the record is not in stage from, or if that stage is final.
func (d *BlockState) enter(r *Record, from, to Stage) {
	if p := &d.changes(r).Part; p.Stage != from || from > StageEscrow {
		panic(fmt.Sprintf("ledger: transaction %s changes from %s to %s", p.Tx, p.Stage, to))
	}
	r.Part.Stage, r.Part.Height = to, d.in.Height
}

// resetHistory resets the history entries of the current transaction, one for each address.
func (d *BlockState) resetHistory() {
	w := &d.s.work
	w.txHistory, w.txOwners = w.txHistory[:0], w.txOwners[:0]
}

// waiting applies change to the channel of each other shard whose verdict the record still lacks.
func (d *BlockState) waiting(r *Record, change func(*Channel)) {
	for i := range r.Part.Known {
		if k := &r.Part.Known[i]; k.Verdict == 0 && k.Shard != d.Shard() {
			change(d.channel(k.Shard))
		}
	}
}

// ownValue returns the declared value of the transaction's inputs in this shard.
func (d *BlockState) ownValue(r *Record) uint64 { return d.declared(r.Tx, d.Shard()) }

func (d *BlockState) declared(tx *Tx, shard uint16) uint64 { return declared(tx, d.s.cfg.Home, shard) }

func declared(tx *Tx, home func(Address) uint16, shard uint16) (value uint64) {
	for i := range tx.Inputs {
		if home(tx.owners[i]) == shard {
			value += tx.Inputs[i].Amount
		}
	}
	return value
}

// FitsSupply reports whether the transaction could settle in this shard without raising unspent outputs plus burned fees in
// this shard above the genesis supply of the whole network. spent says that its inputs in this shard are in escrow
// already; otherwise they are still unspent. Escrow is not counted: the outputs that it pays for may already exist in
// another shard, and their value may have come back to this shard.
func (d *BlockState) FitsSupply(tx *Tx, spent bool) bool {
	made := uint64(0)
	for i := range tx.Outputs {
		if d.s.home(tx.Outputs[i].Address) {
			made += tx.Outputs[i].Amount
		}
	}
	if d.s.home(tx.owners[0]) {
		made += tx.Fee
	}
	if !spent {
		made -= min(made, d.declared(tx, d.Shard()))
	}
	sum, carry := bits.Add64(d.t.unspent+d.t.burned, made, 0)
	return carry == 0 && sum <= d.s.supply
}

// addSettlement updates gained and ceded for one settlement: made is the value it created and burned in this shard, spent
// the value it had in escrow in this shard.
func (t *tip) addSettlement(made, spent uint64) {
	if made > spent {
		gain := made - spent
		paid := min(gain, t.ceded)
		t.ceded -= paid
		t.gained += gain - paid
		return
	}
	loss := spent - made
	paid := min(loss, t.gained)
	t.gained -= paid
	t.ceded += loss - paid
}
