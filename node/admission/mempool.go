package admission

import (
	"fmt"

	"bdtnode/ledger"
)

// fullness describes how full the mempool is, for the detail of a refusal.
func (a *Admission) fullness() string {
	s := fmt.Sprintf("%d transactions of %d bytes wait", a.mempool.items, a.mempool.bytes)
	if least, ok := a.fees.top(); ok {
		s += fmt.Sprintf("; a transaction that pays more per byte than a fee of %d for %d bytes replaces another one", least.tx.Fee, least.size())
	}
	return s
}

// makeSpace reports whether an entry may enter the mempool: within its party's share, or by evicting entries that are
// in no batch and pay less per byte. It evicts them, at most maxVictims, only if that is enough.
func (a *Admission) makeSpace(e *entry, now Instant) bool {
	size := e.size()
	if a.mempool.allows(e.from, size) {
		return true
	}
	var victims []*entry
	freed, enough := 0, false
	for len(victims) < maxVictims && !enough {
		victim, ok := a.fees.top()
		if !ok || pays(victim.tx, e.tx) >= 0 {
			break
		}
		a.fees.remove(victim)
		victims = append(victims, victim)
		freed += victim.size()
		enough = a.mempool.bytes-freed+size <= a.mempool.maxBytes
	}
	for _, v := range victims {
		if !enough {
			a.fees.add(v)
		} else if v.evictable() { // evicting a transaction may have moved v to the orphan pool, if v spends an output of it
			a.end(v, &ledger.Refusal{Reason: ledger.ReasonBookFull, Detail: "transactions that pay more per byte replaced it"}, now)
		}
	}
	return enough
}

// addToMempool puts a processable entry into the mempool.
func (a *Admission) addToMempool(e *entry, links []link, own []int) {
	e.own = own
	a.entries[e.id()] = e
	a.mempool.add(e.from, e.size())
	a.expiry.add(e)
	a.fees.add(e)
	a.enqueue(e, links)
}

// enqueue makes an entry of the mempool ready, or behind the entries that must be in a batch first.
func (a *Admission) enqueue(e *entry, links []link) {
	for _, i := range e.own {
		if o := e.tx.Inputs[i].Outpoint; a.spends[o] == nil {
			a.spends[o] = e
		}
	}
	a.link(e, links)
	e.state = behind
	if e.waitFor == 0 {
		a.makeReady(e)
	}
	for _, l := range a.links[e.id()] {
		if l.entry.state == orphaned || l.entry.state == parked {
			a.markDue(l.entry)
		}
	}
}

func (a *Admission) makeReady(e *entry) {
	e.state = ready
	a.queues.add(e)
}

func (a *Admission) removeFromMempool(e *entry) {
	a.dequeue(e)
	a.timers.remove(e)
	a.fees.remove(e)
	a.mempool.remove(e.from, e.size())
}

// dequeue removes an entry of the mempool from the queue for batches, and removes its claims on its inputs.
func (a *Admission) dequeue(e *entry) {
	if e.state == ready {
		a.queues.remove(e)
	}
	for _, i := range e.own {
		if o := e.tx.Inputs[i].Outpoint; a.spends[o] == e {
			delete(a.spends, o)
		}
	}
}

// ReadyBytes returns the number of bytes of the transactions that are ready for a batch.
func (a *Admission) ReadyBytes() int { return a.queues.bytes }

// TakeForBatch returns transactions for one batch of this replica's lane: at most maxCount, whose payload
// ([ledger.EncodePayload]) takes at most maxBytes bytes. maxBytes must allow one transaction of any size. A
// transaction comes after those whose outputs it spends. The transactions stay in the mempool until a block decides
// them.
func (a *Admission) TakeForBatch(maxBytes, maxCount int) []*ledger.Tx {
	var out []*ledger.Tx
	bytes := 0
	for len(out) < maxCount {
		e := a.queues.next()
		if e == nil || ledger.PayloadSize(len(out)+1, bytes+e.size()) > maxBytes {
			break
		}
		a.queues.serve(e)
		a.fees.remove(e)
		e.state = inBatch
		bytes += e.size()
		out = append(out, e.tx)
		a.taken(e.id())
	}
	return out
}

// taken makes the entries ready that were behind this transaction only.
func (a *Admission) taken(id ledger.TxID) {
	for _, l := range a.links[id] {
		if !l.first {
			continue
		}
		l.first = false
		if e := l.entry; e.state == behind {
			if e.waitFor--; e.waitFor == 0 {
				a.makeReady(e)
			}
		}
	}
}

// Logged is called when a batch of this replica's lane, with the given number, is on its disk. Its transactions are
// accepted from then on.
func (a *Admission) Logged(number uint64, txs []*ledger.Tx, now Instant) {
	var times BatchTimes
	a.waits.submitted = &times.Submitted
	for _, tx := range txs {
		e := a.entries[tx.ID()]
		if e == nil {
			continue // a block decided it, or it expired before
		}
		e.logged, e.batch = true, number
		times.Admitted.add(e.arrived)
		a.waits.notify(Progress{ID: tx.ID(), Logged: true}, now.Now)
	}
	a.waits.submitted = nil
	if a.observeBatch != nil {
		a.observeBatch(number, times)
	}
}
