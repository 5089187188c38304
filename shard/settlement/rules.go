package settlement

import (
	"fmt"

	"bdtnode/ledger"
)

// Rules are the rules of settlement between shards. They have no state of their own. All replicas of a shard need the
// same; the zero Rules do nothing useful, see [Standard].
type Rules struct {
	// MaxOutstanding is how many LDs to one shard may not be shown applied, and MaxWaiting how many open records may
	// wait for its verdict, before transactions of batches that involve it are left out.
	MaxOutstanding, MaxWaiting uint64
	// AnswerAfter is how many LDs of one shard are applied without telling it anything before it is told just that. It is
	// 2 at least: else two shards would go on telling each other that they have nothing to tell.
	AnswerAfter uint64
}

// Standard are the rules of every network.
func Standard() Rules { return Rules{MaxOutstanding: 1024, MaxWaiting: 1 << 16, AnswerAfter: 8} }

// Ordered is spending: upon a transaction in an ordered batch, with inputs here. Good ones go into escrow. One that is
// not good is left out without a trace, so that only real value in escrow costs other shards anything.
func (rules Rules) Ordered(d *ledger.Desk, tx *ledger.Tx) error {
	r, err := d.Record(tx.ID())
	if err != nil {
		return err
	}
	if r != nil {
		d.Duplicate(tx)
		return nil
	}
	refusal, missing, err := d.Judge(tx)
	if err != nil {
		return err
	}
	if refusal == nil {
		refusal = d.Horizon(tx)
	}
	if refusal != nil {
		// Its record may have closed, at the latest in this block: then what stands against it now is no answer, since it
		// has one.
		past, err := d.Past(tx.ID())
		switch {
		case err != nil:
			return err
		case past != nil:
			d.Duplicate(tx)
		default:
			d.LeaveOut(tx, refusal, missing)
		}
		return nil
	}
	for _, shard := range d.Parties(tx).All().Without(d.Shard()).Members() {
		if why := rules.busy(d.Channel(shard)); why != "" {
			d.Busy(tx, shard, why)
			return nil
		}
	}
	if !d.Room(tx) {
		d.Busy(tx, d.Shard(), "tells other shards as much as one block may")
		return nil
	}
	r = d.Open(tx)
	if err := say(d, r, ledger.VerdictSpent, ledger.ReasonNone); err != nil {
		return err
	}
	return resolve(d, r)
}

// busy is why a shard takes no part in new transactions now, empty if it may. A shard that is down so blocks what it is
// part of, and nothing else.
func (rules Rules) busy(c ledger.Channel) string {
	switch {
	case c.Frozen:
		return "broke the rules and is not listened to"
	case c.Sent-c.Acked >= rules.MaxOutstanding:
		return fmt.Sprintf("has not shown that it applied the last %d deliveries", c.Sent-c.Acked)
	case c.Waiting >= rules.MaxWaiting:
		return fmt.Sprintf("has %d transactions waiting for its verdict", c.Waiting)
	}
	return ""
}

// Delivered is receiving: upon an ordered LD. Each is applied once and in order: one under another number than the next
// contributes nothing. One under the next number that was made behind another one than the last applied shows that there
// are two under that one's number.
func (rules Rules) Delivered(d *ledger.Desk, x *ledger.Delivery) error {
	c := d.Channel(x.Source)
	switch {
	case c.Frozen || x.Destination != d.Shard() || x.Number != c.Applied+1:
		return nil
	case x.Previous != c.AppliedDigest:
		freeze(d, x, fmt.Sprintf("it follows another delivery %d than was applied", c.Applied))
		return nil
	case x.Applied > c.Sent:
		freeze(d, x, fmt.Sprintf("it has applied %d deliveries of %d", x.Applied, c.Sent))
		return nil
	}
	for i := range x.Entries {
		why, err := rules.entry(d, x.Source, &x.Entries[i])
		if err != nil {
			return err
		}
		if why != "" {
			freeze(d, x, fmt.Sprintf("entry %d, transaction %s: %s", i, x.Entries[i].Tx.ID(), why))
			return nil
		}
	}
	d.Apply(x)
	return nil
}

// freeze is for what an ordered delivery shows by itself.
func freeze(d *ledger.Desk, x *ledger.Delivery, why string) {
	d.Freeze(ledger.Freeze{Source: x.Source, Number: x.Number, Delivery: x.Digest(), Why: why, Proof: string(x.Append(nil))})
}

// entry notes a verdict of another shard, answers it, and does what follows. It answers why an honest shard could not
// have given it.
func (rules Rules) entry(d *ledger.Desk, source uint16, e *ledger.Entry) (why string, err error) {
	p := d.Parties(e.Tx)
	if !p.Inputs.Has(source) || !p.All().Has(d.Shard()) {
		return "the shard gives a verdict that is not its own to give", nil
	}
	if r := d.Underpaid(e.Tx); r != nil {
		return r.Detail, nil
	}
	r, err := d.Record(e.Tx.ID())
	if err != nil {
		return "", err
	}
	if said, err := hadItsSay(d, r, e.Tx.ID(), source); said || err != nil {
		return "the shard gives a second verdict", err
	}
	if e.Verdict == ledger.VerdictSpent && lastWord(d, p, r, source) && !d.Fits(e.Tx, r != nil && r.Part.Stage == ledger.StageEscrow) {
		return "it would make more value than there is", nil
	}
	if r == nil {
		r = d.Open(e.Tx)
	}
	d.Note(r, source, e.Verdict, e.Reason)
	if own := r.Part.Of(d.Shard()); own != nil && own.Verdict == 0 {
		if err := answer(d, r); err != nil {
			return "", err
		}
	}
	return "", resolve(d, r)
}

// hadItsSay reports whether a shard has given its verdict on a transaction before. An honest one tells it to each shard
// once. A closed record still says so: with none open, a second SPENT would create the outputs again.
func hadItsSay(d *ledger.Desk, r *ledger.Record, id ledger.TxID, source uint16) (bool, error) {
	if r != nil {
		return r.Part.Of(source).Verdict != 0, nil
	}
	past, err := d.Past(id)
	return past != nil, err // a record closes with the verdicts of all
}

// lastWord reports whether only the source's verdict, and perhaps our own, is missing for a transaction to settle.
func lastWord(d *ledger.Desk, p ledger.Parties, r *ledger.Record, source uint16) bool {
	for _, shard := range p.Inputs.Without(source).Members() {
		said := ledger.Verdict(0)
		if r != nil {
			said = r.Part.Of(shard).Verdict
		}
		if said != ledger.VerdictSpent && (shard != d.Shard() || said != 0) {
			return false
		}
	}
	return true
}

// answer gives the own verdict on a transaction that another shard told of, whatever its expiry. REJECTED is only ever
// given here.
func answer(d *ledger.Desk, r *ledger.Record) error {
	refusal, _, err := d.Judge(r.Tx)
	switch {
	case err != nil:
		return err
	case refusal != nil:
		return say(d, r, ledger.VerdictRejected, refusal.Reason)
	case r.Part.Rejection() != nil:
		return say(d, r, ledger.VerdictRejected, ledger.ReasonElsewhere)
	}
	return say(d, r, ledger.VerdictSpent, ledger.ReasonNone)
}

// say gives the own verdict, once, and tells it to every other shard involved.
func say(d *ledger.Desk, r *ledger.Record, v ledger.Verdict, reason ledger.Reason) error {
	if v == ledger.VerdictSpent {
		if err := d.Spend(r); err != nil {
			return err
		}
	} else {
		d.Reject(r, reason)
	}
	d.Note(r, d.Shard(), v, reason)
	d.Tell(r)
	return nil
}

// resolve does what the verdicts known by now come to: settle when all input shards have SPENT, roll back what is in
// escrow when one has REJECTED.
func resolve(d *ledger.Desk, r *ledger.Record) error {
	var err error
	rejection := r.Part.Rejection()
	switch stage := r.Part.Stage; {
	case stage <= ledger.StageEscrow && r.Part.AllSpent():
		err = d.Settle(r)
	case stage == ledger.StageEscrow && rejection != nil:
		err = d.Return(r, rejection.Reason)
	case stage == ledger.StagePending && rejection != nil:
		d.Reject(r, rejection.Reason)
	}
	if err != nil {
		return err
	}
	forget(d, r)
	return nil
}

// forget closes a record once it can change nothing any more: the verdicts of all input shards are known, the own one is
// told to all, and in an input shard the transaction has expired, so that no batch brings it back. Every shard that hears
// of a transaction answers, so records close.
func forget(d *ledger.Desk, r *ledger.Record) {
	if r.Part.Untold == 0 && r.Part.Complete() && (!r.Parties.Inputs.Has(d.Shard()) || d.TimeMS() > r.Tx.ExpiryMS) {
		d.Close(r)
	}
}

// Expired is forgetting: a record that is complete is closed; one that is not will be when it is.
func (Rules) Expired(d *ledger.Desk, r *ledger.Record) error {
	forget(d, r)
	return nil
}

// Told is forgetting too.
func (Rules) Told(d *ledger.Desk, r *ledger.Record) error {
	forget(d, r)
	return nil
}

// Ending tells shards that were long told nothing what was applied of theirs, so that they need not keep it.
func (rules Rules) Ending(d *ledger.Desk) error {
	for _, c := range d.Changed() {
		if !c.Frozen && c.Applied-c.Told >= rules.AnswerAfter {
			d.Acknowledge(c.Peer)
		}
	}
	return nil
}
