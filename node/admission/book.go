package admission

import (
	"fmt"

	"bdtnode/ledger"
)

// fullness describes how full the TX book is, for the detail of a refusal.
func (d *Door) fullness() string {
	s := fmt.Sprintf("%d transactions of %d bytes wait", d.book.items, d.book.bytes)
	if least, ok := d.fees.top(); ok {
		s += fmt.Sprintf("; a transaction that pays more per byte than a fee of %d for %d bytes replaces another one", least.tx.Fee, least.size())
	}
	return s
}

// makeSpace reports whether an entry may enter the TX book: within its party's share, or by evicting entries that are
// in no batch and pay less per byte. It evicts them, at most maxVictims, only if that is enough.
func (d *Door) makeSpace(e *entry, now Instant) bool {
	size := e.size()
	if d.book.allows(e.from, size) {
		return true
	}
	var victims []*entry
	freed, enough := 0, false
	for len(victims) < maxVictims && !enough {
		victim, ok := d.fees.top()
		if !ok || pays(victim.tx, e.tx) >= 0 {
			break
		}
		d.fees.remove(victim)
		victims = append(victims, victim)
		freed += victim.size()
		enough = d.book.bytes-freed+size <= d.book.maxBytes
	}
	for _, v := range victims {
		if !enough {
			d.fees.add(v)
		} else if v.evictable() { // evicting a transaction may have moved v to the waiting room, if v spends an output of it
			d.end(v, &ledger.Refusal{Reason: ledger.ReasonBookFull, Detail: "transactions that pay more per byte replaced it"}, now)
		}
	}
	return enough
}

// enterBook puts a processable entry into the TX book.
func (d *Door) enterBook(e *entry, links []link, own []int) {
	e.own = own
	d.entries[e.id()] = e
	d.book.add(e.from, e.size())
	d.expiry.add(e)
	d.fees.add(e)
	d.enqueue(e, links)
}

// enqueue makes an entry of the TX book ready, or behind the entries that must be in a batch first.
func (d *Door) enqueue(e *entry, links []link) {
	for _, i := range e.own {
		if o := e.tx.Inputs[i].Outpoint; d.spends[o] == nil {
			d.spends[o] = e
		}
	}
	d.link(e, links)
	e.state = behind
	if e.waitFor == 0 {
		d.makeReady(e)
	}
	for _, l := range d.links[e.id()] {
		if l.entry.state == inRoom || l.entry.state == parked {
			d.markDue(l.entry)
		}
	}
}

func (d *Door) makeReady(e *entry) {
	e.state = ready
	d.queues.add(e)
}

func (d *Door) leaveBook(e *entry) {
	d.dequeue(e)
	d.timers.remove(e)
	d.fees.remove(e)
	d.book.remove(e.from, e.size())
}

// dequeue removes an entry of the TX book from the queue for batches, and removes its claims on its inputs.
func (d *Door) dequeue(e *entry) {
	if e.state == ready {
		d.queues.remove(e)
	}
	for _, i := range e.own {
		if o := e.tx.Inputs[i].Outpoint; d.spends[o] == e {
			delete(d.spends, o)
		}
	}
}

// Waiting returns the number of bytes of the transactions that are ready for a batch.
func (d *Door) Waiting() int { return d.queues.bytes }

// Take returns the encodings of transactions for one batch of this replica's lane: at most maxCount, whose payload
// ([ledger.EncodePayload]) takes at most maxBytes bytes. maxBytes must allow one transaction of any size. A
// transaction comes after those whose outputs it spends. The transactions stay in the TX book until a block decides
// them. The caller must not change the encodings.
func (d *Door) Take(maxBytes, maxCount int) [][]byte {
	var out [][]byte
	bytes := 0
	for len(out) < maxCount {
		e := d.queues.next()
		if e == nil || ledger.PayloadSize(len(out)+1, bytes+e.size()) > maxBytes {
			break
		}
		d.queues.serve(e)
		d.fees.remove(e)
		e.state = inBatch
		bytes += e.size()
		out = append(out, e.tx.Encode())
		d.taken(e.id())
	}
	return out
}

// taken makes the entries ready that were behind this transaction only.
func (d *Door) taken(id ledger.TxID) {
	for _, l := range d.links[id] {
		if !l.first {
			continue
		}
		l.first = false
		if e := l.entry; e.state == behind {
			if e.waitFor--; e.waitFor == 0 {
				d.makeReady(e)
			}
		}
	}
}

// Logged is called when a batch of this replica's lane, with the given number, is on its disk. Its transactions are
// accepted from then on.
func (d *Door) Logged(number uint64, txs []*ledger.Tx, now Instant) {
	for _, tx := range txs {
		e := d.entries[tx.ID()]
		if e == nil {
			continue // a block decided it, or it expired before
		}
		e.logged, e.batch = true, number
		d.waits.tell(Progress{ID: tx.ID(), Logged: true}, now.Now)
	}
}
