package admission

import (
	"slices"
	"time"

	"bdtnode/ledger"
	"bdtnode/protocols"
)

// Executed is called for each executed block, in order, after the ledger has it. ordered is the number of the last
// batch of this replica's lane in the block, 0 if it has none.
func (a *Admission) Executed(b *ledger.Block, ordered uint64, now Instant) {
	a.height, a.timeMS = b.Header.Height, b.Header.TimeMS
	a.persisted.ordered = max(a.persisted.ordered, ordered)
	for i := range b.LeftOut {
		a.leftOut(&b.LeftOut[i], now)
	}
	for _, id := range b.Duplicates {
		if e := a.entries[id]; e != nil {
			a.drop(e)
			a.recheckDependents(id, now)
		}
	}
	for i := range b.Receipts {
		r := &b.Receipts[i]
		if e := a.entries[r.Tx]; e != nil {
			a.drop(e)
		}
		if r.Verdict == ledger.VerdictSettled {
			a.settled(r.Tx)
		} else {
			a.recheckDependents(r.Tx, now)
		}
		a.waits.notify(Progress{ID: r.Tx, Receipt: *r}, now.Now)
	}
	for {
		e, ok := a.expiry.top()
		if !ok || e.tx.ExpiryMS >= a.timeMS {
			return
		}
		a.end(e, &ledger.Refusal{Reason: ledger.ReasonExpired, Detail: "no block ordered it before it expired"}, now)
	}
}

// leftOut is called for a transaction that a block left out.
func (a *Admission) leftOut(l *ledger.LeftOut, now Instant) {
	e := a.entries[l.ID]
	if e != nil {
		e.leftOut = l.Refusal
	}
	switch {
	case e == nil:
		if l.Refusal.Final() {
			a.remember(l.ID, l.Refusal)
			a.waits.notify(Progress{ID: l.ID, Refusal: l.Refusal}, now.Now)
		}
	case l.Refusal.Final() || l.Refusal.Reason == ledger.ReasonWrongShard:
		a.end(e, l.Refusal, now)
	case e.state == inBatch:
		a.park(e, now)
		if l.Refusal.Reason == ledger.ReasonUnknownInput {
			a.link(e, []link{{entry: e, on: l.Missing.Tx}})
		}
	case e.evictable() && l.Refusal.Reason == ledger.ReasonUnknownInput: // the transaction was in a batch of another replica too
		a.makeOrphan(e, now)
	}
}

// Cancel is called when another input shard of a transaction certified that it can never be spent there. A transaction that
// is in no open batch ends with reason cancelled. One in a batch that no block has decided stays: if the block leaves it
// out, the next lookup of it refuses it.
func (a *Admission) Cancel(id ledger.TxID, now Instant) {
	if e := a.entries[id]; e != nil && e.state != inBatch {
		a.end(e, &ledger.Refusal{Reason: ledger.ReasonCancelled, Detail: ledger.ReasonCancelled.Description()}, now)
	}
}

// settled is called when a transaction has created its outputs in this shard.
func (a *Admission) settled(id ledger.TxID) {
	a.taken(id)
	for _, l := range a.links[id] {
		if l.entry.state == orphaned || l.entry.state == parked {
			a.markDue(l.entry)
		}
	}
}

// recheckDependents is called when a transaction will not create its outputs now, or will not consume its inputs. It updates the
// entries that depend on it.
func (a *Admission) recheckDependents(id ledger.TxID, now Instant) {
	for _, l := range slices.Clone(a.links[id]) {
		switch e := l.entry; {
		case e.state == orphaned || e.state == parked:
			a.markDue(e)
		case e.evictable():
			a.makeOrphan(e, now)
		case e.state == ready || e.state == behind: // accepted, left out before, and about to be tried again
			a.park(e, now)
		}
	}
}

// makeOrphan moves an entry that is not processable any more from the mempool to the orphan pool, and has it looked up
// again.
func (a *Admission) makeOrphan(e *entry, now Instant) {
	a.removeFromMempool(e)
	e.state = removed
	a.addOrphan(e, now)
	a.recheckDependents(e.id(), now)
	a.markDue(e)
}

// park keeps an accepted entry that cannot be in a batch now, until it is tried again.
func (a *Admission) park(e *entry, now Instant) {
	a.dequeue(e)
	a.fees.remove(e)
	e.state = parked
	if !e.recorded && !e.listed {
		e.listed = true
		a.persisted.left = append(a.persisted.left, e)
	}
	a.retryLater(e, now)
	a.recheckDependents(e.id(), now)
}

// retryLater sets the time at which a parked entry is tried again: after twice as long each time, but at most
// overdueAfter after its expiry.
func (a *Admission) retryLater(e *entry, now Instant) {
	e.until = now.Now.Add(e.backoff)
	e.backoff = min(2*e.backoff, retryMost)
	if left := e.tx.ExpiryMS - now.WallMS; now.WallMS > e.tx.ExpiryMS {
		e.until = now.Now.Add(overdueAfter)
	} else if left < uint64(retryMost/time.Millisecond) {
		e.until = min(e.until, now.Now.Add(time.Duration(left)*time.Millisecond+overdueAfter))
	}
	a.timers.remove(e)
	a.timers.add(e)
}

// markDue has an entry of the orphan pool, or a parked one, looked up again.
func (a *Admission) markDue(e *entry) {
	if !e.due {
		e.due = true
		a.due = append(a.due, e)
	}
}

// DueRetries returns at most most transactions. For each of them, the caller reads the ledger and calls Again, in this
// order.
func (a *Admission) DueRetries(now Instant, most int) []*ledger.Tx {
	var out []*ledger.Tx
	for len(a.due) > 0 && len(out) < most {
		e := a.due[0]
		a.due[0] = nil
		a.due = a.due[1:]
		if e.due = false; e.state == orphaned || e.state == parked {
			out = append(out, e.tx)
		}
	}
	if now.Now >= a.second.Add(time.Second) {
		a.second, a.retries = now.Now, 0
	}
	for len(out) < most {
		e, ok := a.timers.top()
		if !ok || e.until > now.Now || e.state == parked && a.retries >= maxRetries {
			break
		}
		if e.state == parked {
			a.retries++
		}
		a.timers.remove(e)
		out = append(out, e.tx)
	}
	return out
}

// AtOnce is the time that [Admission.Upcoming] returns if a transaction is due at any time.
const AtOnce protocols.Time = 1

// Upcoming is the time from which [Admission.DueRetries] returns a transaction, zero if none waits, and whether
// [Admission.Checkpoint] has records. DueRetries may return none even then, as it bounds the transactions of a second.
func (a *Admission) Upcoming() (retry protocols.Time, unsaved bool) {
	if len(a.due) > 0 {
		retry = AtOnce
	} else if e, ok := a.timers.top(); ok {
		retry = max(e.until, AtOnce)
	}
	return retry, a.persisted.unsaved()
}

// Retry is called for each transaction that Due returned, after the ledger was read for it.
func (a *Admission) Retry(tx *ledger.Tx, l Lookup, now Instant) {
	e := a.entries[tx.ID()]
	switch {
	case e == nil || e.state != orphaned && e.state != parked:
		return
	case l.Height < a.height:
		a.markDue(e)
	case l.Known: // Executed is about to be called with the block that gave the receipt
		a.markDue(e)
	case l.refusal() != nil && l.refusal().Final():
		a.end(e, l.refusal(), now)
	case e.state == orphaned:
		a.retryOrphan(e, &l, now)
	default:
		a.retryParked(e, &l, now)
	}
}

func (a *Admission) retryOrphan(e *entry, l *Lookup, now Instant) {
	refusal := l.refusal()
	if refusal == nil {
		if refusal = a.place(e, l, now); refusal != nil || e.state != orphaned {
			return
		}
		if refusal = l.Found.Refusal; refusal == nil {
			refusal = &ledger.Refusal{Reason: ledger.ReasonUnknownInput, Detail: "another transaction, which no block has decided yet, spends an input"}
		}
		if now.Now < e.until {
			a.timers.add(e)
			return
		}
	}
	a.end(e, refusal, now)
}

func (a *Admission) retryParked(e *entry, l *Lookup, now Instant) {
	if now.WallMS > e.tx.ExpiryMS { // a block of this time rejects it as expired, whatever its inputs
		if now.Now < a.overdueAt {
			a.retryLater(e, now)
			return
		}
		a.overdueAt = now.Now.Add(overdueEvery)
		a.timers.remove(e)
		a.enqueue(e, nil)
		return
	}
	links, processable := a.dependencies(e, &l.Found)
	if l.refusal() != nil || !processable {
		a.link(e, links)
		a.retryLater(e, now)
		return
	}
	a.timers.remove(e)
	e.own = l.Found.Own
	a.enqueue(e, links)
}
