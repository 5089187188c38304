package admission

import (
	"slices"
	"time"

	"bdtnode/ledger"
)

// Executed is called for each executed block, in order, after the ledger has it. ordered is the number of the last
// batch of this replica's lane in the block, 0 if it has none.
func (d *Door) Executed(b *ledger.Block, ordered uint64, now Instant) {
	d.height, d.timeMS = b.Header.Height, b.Header.TimeMS
	d.kept.ordered = max(d.kept.ordered, ordered)
	for i := range b.LeftOut {
		d.leftOut(&b.LeftOut[i], now)
	}
	for _, id := range b.Duplicates {
		if e := d.entries[id]; e != nil {
			d.drop(e)
			d.recheckDependents(id, now)
		}
	}
	for i := range b.Receipts {
		r := &b.Receipts[i]
		if e := d.entries[r.Tx]; e != nil {
			d.drop(e)
		}
		if r.Verdict == ledger.VerdictSettled {
			d.settled(r.Tx)
		} else {
			d.recheckDependents(r.Tx, now)
		}
		d.waits.tell(Progress{ID: r.Tx, Receipt: *r}, now.Now)
	}
	for {
		e, ok := d.expiry.top()
		if !ok || e.tx.ExpiryMS >= d.timeMS {
			return
		}
		d.end(e, &ledger.Refusal{Reason: ledger.ReasonExpired, Detail: "no block ordered it before it expired"}, now)
	}
}

// leftOut is called for a transaction that a block left out.
func (d *Door) leftOut(l *ledger.LeftOut, now Instant) {
	e := d.entries[l.ID]
	switch {
	case e == nil:
		if l.Refusal.Final() {
			d.remember(l.ID, l.Refusal)
			d.waits.tell(Progress{ID: l.ID, Refusal: l.Refusal}, now.Now)
		}
	case l.Refusal.Final() || l.Refusal.Reason == ledger.ReasonWrongShard:
		d.end(e, l.Refusal, now)
	case e.state == inBatch:
		d.park(e, now)
		if l.Refusal.Reason == ledger.ReasonUnknownInput {
			d.link(e, []link{{entry: e, on: l.Missing.Tx}})
		}
	case e.evictable() && l.Refusal.Reason == ledger.ReasonUnknownInput: // the transaction was in a batch of another replica too
		d.moveToRoom(e, now)
	}
}

// settled is called when a transaction has created its outputs in this shard.
func (d *Door) settled(id ledger.TxID) {
	d.taken(id)
	for _, l := range d.links[id] {
		if l.entry.state == inRoom || l.entry.state == parked {
			d.markDue(l.entry)
		}
	}
}

// recheckDependents is called when a transaction will not create its outputs now, or will not consume its inputs. It updates the
// entries that depend on it.
func (d *Door) recheckDependents(id ledger.TxID, now Instant) {
	for _, l := range slices.Clone(d.links[id]) {
		switch e := l.entry; {
		case e.state == inRoom || e.state == parked:
			d.markDue(e)
		case e.evictable():
			d.moveToRoom(e, now)
		case e.state == ready || e.state == behind: // accepted, left out before, and about to be tried again
			d.park(e, now)
		}
	}
}

// moveToRoom moves an entry that is not processable any more from the TX book to the waiting room, and has it looked up
// again.
func (d *Door) moveToRoom(e *entry, now Instant) {
	d.leaveBook(e)
	e.state = removed
	d.enterRoom(e, now)
	d.recheckDependents(e.id(), now)
	d.markDue(e)
}

// park keeps an accepted entry that cannot be in a batch now, until it is tried again.
func (d *Door) park(e *entry, now Instant) {
	d.dequeue(e)
	d.fees.remove(e)
	e.state = parked
	if !e.recorded && !e.listed {
		e.listed = true
		d.kept.left = append(d.kept.left, e)
	}
	d.retryLater(e, now)
	d.recheckDependents(e.id(), now)
}

// retryLater sets the time at which a parked entry is tried again: after twice as long each time, but at most
// overdueAfter after its expiry.
func (d *Door) retryLater(e *entry, now Instant) {
	e.until = now.Now.Add(e.backoff)
	e.backoff = min(2*e.backoff, retryMost)
	if left := e.tx.ExpiryMS - now.WallMS; now.WallMS > e.tx.ExpiryMS {
		e.until = now.Now.Add(overdueAfter)
	} else if left < uint64(retryMost/time.Millisecond) {
		e.until = min(e.until, now.Now.Add(time.Duration(left)*time.Millisecond+overdueAfter))
	}
	d.timers.remove(e)
	d.timers.add(e)
}

// markDue has an entry of the waiting room, or a parked one, looked up again.
func (d *Door) markDue(e *entry) {
	if !e.due {
		e.due = true
		d.due = append(d.due, e)
	}
}

// Due returns at most most transactions. For each of them, the caller reads the ledger and calls Again, in this
// order.
func (d *Door) Due(now Instant, most int) []*ledger.Tx {
	var out []*ledger.Tx
	for len(d.due) > 0 && len(out) < most {
		e := d.due[0]
		d.due[0] = nil
		d.due = d.due[1:]
		if e.due = false; e.state == inRoom || e.state == parked {
			out = append(out, e.tx)
		}
	}
	if now.Now >= d.second.Add(time.Second) {
		d.second, d.retries = now.Now, 0
	}
	for len(out) < most {
		e, ok := d.timers.top()
		if !ok || e.until > now.Now || e.state == parked && d.retries >= maxRetries {
			break
		}
		if e.state == parked {
			d.retries++
		}
		d.timers.remove(e)
		out = append(out, e.tx)
	}
	return out
}

// Again is called for each transaction that Due returned, after the ledger was read for it.
func (d *Door) Again(tx *ledger.Tx, l Look, now Instant) {
	e := d.entries[tx.ID()]
	switch {
	case e == nil || e.state != inRoom && e.state != parked:
		return
	case l.Height < d.height:
		d.markDue(e)
	case l.Known: // Executed is about to be called with the block that gave the receipt
		d.markDue(e)
	case l.refusal() != nil && l.refusal().Final():
		d.end(e, l.refusal(), now)
	case e.state == inRoom:
		d.againInRoom(e, &l, now)
	default:
		d.againParked(e, &l, now)
	}
}

func (d *Door) againInRoom(e *entry, l *Look, now Instant) {
	refusal := l.refusal()
	if refusal == nil {
		if refusal = d.place(e, l, now); refusal != nil || e.state != inRoom {
			return
		}
		if refusal = l.Found.Refusal; refusal == nil {
			refusal = &ledger.Refusal{Reason: ledger.ReasonUnknownInput, Detail: "another transaction, which no block has decided yet, spends an input"}
		}
		if now.Now < e.until {
			d.timers.add(e)
			return
		}
	}
	d.end(e, refusal, now)
}

func (d *Door) againParked(e *entry, l *Look, now Instant) {
	if now.WallMS > e.tx.ExpiryMS { // a block of this time rejects it as expired, whatever its inputs
		if now.Now < d.overdueAt {
			d.retryLater(e, now)
			return
		}
		d.overdueAt = now.Now.Add(overdueEvery)
		d.timers.remove(e)
		d.enqueue(e, nil)
		return
	}
	links, processable := d.dependencies(e, &l.Found)
	if l.refusal() != nil || !processable {
		d.link(e, links)
		d.retryLater(e, now)
		return
	}
	d.timers.remove(e)
	e.own = l.Found.Own
	d.enqueue(e, links)
}
