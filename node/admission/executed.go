package admission

import (
	"slices"
	"time"

	"bdtnode/ledger"
)

// Executed is called for each executed block in order, once the ledger has it. ordered is the number of the last batch
// of this replica's lane in it, 0 if it has none.
func (d *Door) Executed(b *ledger.Block, ordered uint64, now Instant) {
	d.height, d.timeMS = b.Header.Height, b.Header.TimeMS
	d.kept.ordered = max(d.kept.ordered, ordered)
	for i := range b.LeftOut {
		d.leftOut(&b.LeftOut[i], now)
	}
	for _, id := range b.Duplicates {
		if e := d.entries[id]; e != nil {
			d.drop(e)
			d.orphan(id, now)
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
			d.orphan(r.Tx, now)
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

// leftOut is called for a transaction that a block gave neither receipt nor record.
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
	case e.state == flying:
		d.park(e, now)
		if l.Refusal.Reason == ledger.ReasonUnknownInput {
			d.link(e, []link{{entry: e, on: l.Missing.Tx}})
		}
	case e.free() && l.Refusal.Reason == ledger.ReasonUnknownInput: // it was in a batch of another replica
		d.demote(e, now)
	}
}

// settled is called when the outputs of a transaction in this shard exist.
func (d *Door) settled(id ledger.TxID) {
	d.taken(id)
	for _, l := range d.links[id] {
		if l.entry.state == inRoom || l.entry.state == parked {
			d.nudge(l.entry)
		}
	}
}

// orphan is called when a transaction makes no outputs now, or will not consume what it spends.
func (d *Door) orphan(id ledger.TxID, now Instant) {
	for _, l := range slices.Clone(d.links[id]) {
		switch e := l.entry; {
		case e.state == inRoom || e.state == parked:
			d.nudge(e)
		case e.free():
			d.demote(e, now)
		case e.state == ready || e.state == behind: // accepted before, and about to be tried again
			d.park(e, now)
		}
	}
}

// demote moves an entry that is processable no more from the book to the room, and has it looked at.
func (d *Door) demote(e *entry, now Instant) {
	d.leaveBook(e)
	e.state = gone
	d.enterRoom(e, now)
	d.orphan(e.id(), now)
	d.nudge(e)
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
	d.orphan(e.id(), now)
}

// retryLater sets when a parked entry is tried again: later each time, but soon after its expiry.
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

// nudge has an entry of the room, or a parked one, looked at again.
func (d *Door) nudge(e *entry) {
	if !e.due {
		e.due = true
		d.due = append(d.due, e)
	}
}

// Due is up to so many transactions that the caller looks up and hands to Again, one after another.
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

// Again is called for each of the transactions of Due, after a look at the ledger.
func (d *Door) Again(tx *ledger.Tx, l Look, now Instant) {
	e := d.entries[tx.ID()]
	switch {
	case e == nil || e.state != inRoom && e.state != parked:
		return
	case l.Height < d.height:
		d.nudge(e)
	case l.Known: // the door is about to hear of the block
		d.nudge(e)
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
		if refusal = d.seat(e, l, now); refusal != nil || e.state != inRoom {
			return
		}
		if refusal = l.Found.Refusal; refusal == nil {
			refusal = &ledger.Refusal{Reason: ledger.ReasonUnknownInput, Detail: "another transaction that is not decided spends an input"}
		}
		if now.Now < e.until {
			d.timers.add(e)
			return
		}
	}
	d.end(e, refusal, now)
}

func (d *Door) againParked(e *entry, l *Look, now Instant) {
	if now.WallMS > e.tx.ExpiryMS { // a block of this time ends it, whatever its inputs
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
