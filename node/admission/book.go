package admission

import (
	"fmt"

	"bdtnode/ledger"
)

// fullness says how full the book is.
func (d *Door) fullness() string {
	s := fmt.Sprintf("%d transactions wait, %d bytes", d.book.items, d.book.bytes)
	if least, ok := d.fees.top(); ok {
		s += fmt.Sprintf("; one that pays more than a fee of %d for %d bytes takes the place of another", least.tx.Fee, least.size())
	}
	return s
}

// makeSpace reports whether an entry may enter the book: within its party's share, or in place of entries that no batch
// has and that pay less per byte.
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
		} else if v.free() { // one that followed another victim is in the room by now
			d.end(v, &ledger.Refusal{Reason: ledger.ReasonBookFull, Detail: "transactions that pay more took its place"}, now)
		}
	}
	return enough
}

// enterBook gives a processable entry its place.
func (d *Door) enterBook(e *entry, links []link, own []int) {
	e.own = own
	d.entries[e.id()] = e
	d.book.add(e.from, e.size())
	d.expiry.add(e)
	d.fees.add(e)
	d.enqueue(e, links)
}

// enqueue makes an entry of the book ready, or behind those that it depends on.
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
			d.nudge(l.entry)
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

// dequeue takes an entry of the book out of what a batch may be made of, and off its inputs.
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

// Waiting is the bytes of the transactions that Take would hand out.
func (d *Door) Waiting() int { return d.queues.bytes }

// Take hands out the encodings of transactions for one batch of this replica's lane: at most maxCount, whose payload
// ([ledger.EncodePayload]) takes at most maxBytes, which must leave room for one of any size. Each comes behind those
// whose outputs it spends. They stay in the book until a block decides them. The encodings must not be changed.
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
		e.state = flying
		bytes += e.size()
		out = append(out, e.tx.Encode())
		d.taken(e.id())
	}
	return out
}

// taken makes ready those that were behind a transaction only.
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

// Logged is called when a batch of this replica's lane is on its disk: its transactions are accepted.
func (d *Door) Logged(number uint64, txs []*ledger.Tx, now Instant) {
	for _, tx := range txs {
		e := d.entries[tx.ID()]
		if e == nil {
			continue // decided or expired before
		}
		e.logged, e.batch = true, number
		d.waits.tell(Progress{ID: tx.ID(), Logged: true}, now.Now)
	}
}
