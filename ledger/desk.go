package ledger

import (
	"fmt"
	"math/bits"

	"bdtnode/internal/digest"
)

// Rules settle transactions between shards. A State calls them while it executes a block, one call at a time in the
// order of the block, and they act through the Desk, which is valid during the call only. All replicas need the same
// rules: what these do is part of what a header certifies. An error is one of the store and ends the block.
type Rules interface {
	// Delivered is called for a delivery of another shard.
	Delivered(d *Desk, x *Delivery) error
	// Ordered is called for a transaction of a batch that has inputs in this shard and involves others.
	Ordered(d *Desk, tx *Tx) error
	// Expired is called for an open record of an input shard some time after its transaction has expired.
	Expired(d *Desk, r *Record) error
	// Told is called for a record whose own verdict has been told to all other shards involved.
	Told(d *Desk, r *Record) error
	// Ending is called behind the last entry of each block.
	Ending(d *Desk) error
}

// Desk is what rules see of the state and may do to it, as the block at hand has left it. Misuse is a panic: spending
// what was not judged, settling twice, a second verdict.
type Desk struct {
	s   *State
	in  *Ordered
	t   tip
	out *Block
}

// Shard is the shard of the ledger.
func (d *Desk) Shard() uint16 { return d.s.cfg.Shard }

// TimeMS is the block time, Unix milliseconds.
func (d *Desk) TimeMS() uint64 { return d.in.TimeMS }

// Parties are the shards that a transaction involves.
func (d *Desk) Parties(tx *Tx) Parties { return tx.Parties(d.s.cfg.Home) }

// Judge is what stands against the inputs of a transaction in this shard at this time, permanent reasons first, and
// which output is missing if one is. If it is nothing, the transaction may be spent next.
func (d *Desk) Judge(tx *Tx) (*Refusal, Outpoint, error) { return d.judge(tx, false) }

// Horizon is the refusal of a transaction that expires too far ahead, or nil. It has not expired.
func (d *Desk) Horizon(tx *Tx) *Refusal { return d.s.beyondHorizon(tx, d.in.TimeMS) }

// Underpaid is the refusal of a transaction whose fee is below the least fee, or nil.
func (d *Desk) Underpaid(tx *Tx) *Refusal { return d.s.underpaid(tx) }

// LeaveOut notes a transaction of a batch that gets neither verdict nor record; it may come again.
func (d *Desk) LeaveOut(tx *Tx, r *Refusal, missing Outpoint) {
	d.out.LeftOut = append(d.out.LeftOut, LeftOut{tx.id, r, missing})
}

// Busy leaves a transaction out because of one of the shards it involves.
func (d *Desk) Busy(tx *Tx, shard uint16, why string) {
	d.LeaveOut(tx, refuse(ReasonShardBusy, "shard %d %s", shard, why), Outpoint{})
}

// Duplicate notes a transaction of a batch that is known.
func (d *Desk) Duplicate(tx *Tx) { d.out.Duplicates = append(d.out.Duplicates, tx.id) }

// Record is the open record of a transaction, nil if there is none. It is read only; the methods of the Desk change it.
func (d *Desk) Record(id TxID) (*Record, error) {
	x, err := d.open(id)
	if err != nil || x == nil || !x.Part.Open {
		return nil, err
	}
	return &x.Record, nil
}

// Past is what a closed record of a transaction came to, nil if there is none. It says for good what each input shard's
// verdict was.
func (d *Desk) Past(id TxID) (*Part, error) {
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

// open finds an open record in the store, or one that was open at the beginning of the block or since.
func (d *Desk) open(id TxID) (*openRecord, error) {
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
	x := &openRecord{Record: Record{Part: part, Parties: d.Parties(tx), Tx: tx}}
	w.records[id] = x
	return x, nil
}

// changes is an open record that is about to change.
func (d *Desk) changes(r *Record) *Record {
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

// Open opens a record for a transaction that has none.
func (d *Desk) Open(tx *Tx) *Record {
	w := &d.s.work
	if w.records[tx.id] != nil {
		panic(fmt.Sprintf("ledger: a second record of transaction %s", tx.id))
	}
	p := d.Parties(tx)
	x := &openRecord{born: true, Record: Record{Tx: tx, Parties: p,
		Part: Part{Tx: tx.id, Shard: d.Shard(), Open: true, Height: d.in.Height, Outputs: p.Outputs, Known: make([]Known, 0, p.Inputs.Len())}}}
	for _, shard := range p.Inputs.Members() {
		x.Part.Known = append(x.Part.Known, Known{Shard: shard})
		if shard != d.Shard() {
			d.channel(shard).Waiting++
		}
	}
	if p.Inputs.Has(d.Shard()) && tx.ExpiryMS >= d.in.TimeMS { // else it is closed when it is complete
		w.openDue.add(tx.ExpiryMS/minuteMS, tx.id)
	}
	w.records[tx.id] = x
	return d.changes(&x.Record)
}

// Note puts the verdict of an input shard into a record that does not know it.
func (d *Desk) Note(r *Record, shard uint16, v Verdict, reason Reason) {
	k := d.changes(r).Part.Of(shard)
	if k == nil || k.Verdict != 0 {
		panic(fmt.Sprintf("ledger: a second verdict of shard %d on transaction %s", shard, r.Part.Tx))
	}
	*k = Known{shard, v, reason, d.in.Height}
	if shard != d.Shard() {
		c := d.channel(shard)
		c.Waiting--
		if r.Part.Stage == StageEscrow {
			c.Escrow -= d.stake(r)
		}
	}
}

// Spend takes the own inputs of a transaction, which was just judged good, into escrow.
func (d *Desk) Spend(r *Record) error {
	d.enter(r, StagePending, StageEscrow)
	d.begin()
	value, err := d.consume(r.Tx)
	if err != nil {
		return err
	}
	if value != d.stake(r) {
		panic(fmt.Sprintf("ledger: transaction %s puts %d into escrow and declares %d", r.Part.Tx, value, d.stake(r)))
	}
	d.t.escrow += value
	d.waiting(r, func(c *Channel) { c.Escrow += value })
	d.remark(r.Tx)
	d.receipt(r.Tx, VerdictSpent, ReasonNone)
	return nil
}

// Settle deletes the escrow of a transaction, if any, creates its outputs in this shard, and burns its fee if its
// first input was here.
func (d *Desk) Settle(r *Record) error {
	spent := uint64(0)
	if r.Part.Stage == StageEscrow {
		spent = d.stake(r)
	}
	d.enter(r, r.Part.Stage, StageSettled)
	d.begin()
	made, err := d.create(r.Tx)
	if err != nil {
		return err
	}
	if d.s.home(r.Tx.owners[0]) {
		d.t.burned += r.Tx.Fee
		made += r.Tx.Fee
	}
	d.t.escrow -= spent
	d.t.balance(made, spent)
	for i := range r.Part.Known {
		if shard := r.Part.Known[i].Shard; shard != d.Shard() {
			c := d.channel(shard)
			c.Created += min(made, d.declared(r.Tx, shard))
		}
	}
	d.remark(r.Tx)
	d.receipt(r.Tx, VerdictSettled, ReasonNone)
	return nil
}

// Return gives the escrow of a transaction back to the owners, as new outputs.
func (d *Desk) Return(r *Record, reason Reason) error {
	value := d.stake(r)
	d.enter(r, StageEscrow, StageReturned)
	d.begin()
	for i := range r.Tx.Inputs {
		if in := &r.Tx.Inputs[i]; d.s.home(r.Tx.owners[i]) {
			if err := d.mint(Returned(r.Tx.id, in.Outpoint), r.Tx.owners[i], in.Amount); err != nil {
				return err
			}
		}
	}
	d.t.escrow -= value
	d.waiting(r, func(c *Channel) { c.Escrow -= value })
	d.remark(r.Tx)
	d.receipt(r.Tx, VerdictReturned, reason)
	return nil
}

// Returned is the output that gives an input of a transaction back to its owner.
func Returned(tx TxID, input Outpoint) Outpoint {
	return Outpoint{Tx: TxID(digest.Of("bdt/return/1", tx[:], input.append(nil)))}
}

// Reject ends a transaction that has nothing in escrow here.
func (d *Desk) Reject(r *Record, reason Reason) {
	d.enter(r, StagePending, StageRejected)
	d.receipt(r.Tx, VerdictRejected, reason)
}

// Close ends a record. What it consumed is merely unknown from now on.
func (d *Desk) Close(r *Record) {
	w := &d.s.work
	if d.changes(r).Part.Untold != 0 {
		panic(fmt.Sprintf("ledger: the verdict on transaction %s is not told to all", r.Part.Tx))
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

// enter moves a record to another stage.
func (d *Desk) enter(r *Record, from, to Stage) {
	if p := &d.changes(r).Part; p.Stage != from || from > StageEscrow {
		panic(fmt.Sprintf("ledger: transaction %s goes from %s to %s", p.Tx, p.Stage, to))
	}
	r.Part.Stage, r.Part.Height = to, d.in.Height
}

// begin starts the list of what a transaction does to each address.
func (d *Desk) begin() {
	w := &d.s.work
	w.parties, w.names = w.parties[:0], w.names[:0]
}

// waiting changes the channels of the shards whose verdict a record waits for.
func (d *Desk) waiting(r *Record, change func(*Channel)) {
	for i := range r.Part.Known {
		if k := &r.Part.Known[i]; k.Verdict == 0 && k.Shard != d.Shard() {
			change(d.channel(k.Shard))
		}
	}
}

// stake is the declared value of the inputs in this shard.
func (d *Desk) stake(r *Record) uint64 { return d.declared(r.Tx, d.Shard()) }

func (d *Desk) declared(tx *Tx, shard uint16) uint64 { return declared(tx, d.s.cfg.Home, shard) }

func declared(tx *Tx, home func(Address) uint16, shard uint16) (value uint64) {
	for i := range tx.Inputs {
		if home(tx.owners[i]) == shard {
			value += tx.Inputs[i].Amount
		}
	}
	return value
}

// Fits reports whether a transaction could settle here without what is unspent and burned in this shard going beyond what
// the whole network was born with. spent says that its inputs here are in escrow already; else they are still unspent.
// Escrow is left out: the outputs it stands for may exist elsewhere, and may have come back here.
func (d *Desk) Fits(tx *Tx, spent bool) bool {
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

// balance accounts for a settlement: made is what it created and burned here, spent what was in escrow here for it.
func (t *tip) balance(made, spent uint64) {
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
