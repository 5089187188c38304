package admission

import (
	"bdtnode/ledger"
)

func byArrival(place func(*entry) *int) ordered[*entry] {
	return ordered[*entry]{less: func(a, b *entry) bool { return a.seq < b.seq }, place: place}
}

// addOrphan puts an entry into the orphan pool. If the party's share is full, its oldest entry ends; if the party
// has none, the oldest entry of all ends.
func (a *Admission) addOrphan(e *entry, now Instant) {
	size := e.size()
	for !a.orphans.allows(e.from, size) {
		victim, ok := a.orphansOf(e.from).top()
		if !ok {
			victim, _ = a.orphansByArrival.top() // the orphan pool is not empty, since otherwise the entry would be allowed
		}
		a.end(victim, &ledger.Refusal{Reason: ledger.ReasonUnknownInput, Detail: "an input is still missing, and newer transactions need the space"}, now)
	}
	e.state, e.until = orphaned, now.Now.Add(maxOrphanAge)
	a.entries[e.id()] = e
	a.orphans.add(e.from, size)
	a.orphansOf(e.from).add(e)
	a.orphansByArrival.add(e)
	a.expiry.add(e)
	a.timers.add(e)
}

// orphansOf returns the entries of a party in the orphan pool, oldest first.
func (a *Admission) orphansOf(p Party) *ordered[*entry] {
	h := a.orphansByParty[p]
	if h == nil {
		o := byArrival(func(e *entry) *int { return &e.queuePlace })
		h = &o
		a.orphansByParty[p] = h
	}
	return h
}

func (a *Admission) removeOrphan(e *entry) {
	if e.state != orphaned {
		return
	}
	a.orphans.remove(e.from, e.size())
	h := a.orphansOf(e.from)
	if h.remove(e); h.Len() == 0 {
		delete(a.orphansByParty, e.from)
	}
	a.orphansByArrival.remove(e)
	a.timers.remove(e)
	e.state = removed
}
