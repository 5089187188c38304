package admission

import (
	"bdtnode/ledger"
)

func byArrival(place func(*entry) *int) ordered[*entry] {
	return ordered[*entry]{less: func(a, b *entry) bool { return a.seq < b.seq }, place: place}
}

// enterRoom puts an entry into the waiting room. If the party's share is full, its oldest entry ends; if the party
// has none, the oldest entry of all ends.
func (d *Door) enterRoom(e *entry, now Instant) {
	size := e.size()
	for !d.room.allows(e.from, size) {
		victim, ok := d.roomOf(e.from).top()
		if !ok {
			victim, _ = d.roomByArrival.top() // the waiting room is not empty, since otherwise the entry would be allowed
		}
		d.end(victim, &ledger.Refusal{Reason: ledger.ReasonUnknownInput, Detail: "an input is still missing, and newer transactions need the space"}, now)
	}
	e.state, e.until = inRoom, now.Now.Add(roomFor)
	d.entries[e.id()] = e
	d.room.add(e.from, size)
	d.roomOf(e.from).add(e)
	d.roomByArrival.add(e)
	d.expiry.add(e)
	d.timers.add(e)
}

// roomOf returns the entries of a party in the waiting room, oldest first.
func (d *Door) roomOf(p Party) *ordered[*entry] {
	h := d.rooms[p]
	if h == nil {
		o := byArrival(func(e *entry) *int { return &e.queuePlace })
		h = &o
		d.rooms[p] = h
	}
	return h
}

func (d *Door) leaveRoom(e *entry) {
	if e.state != inRoom {
		return
	}
	d.room.remove(e.from, e.size())
	h := d.roomOf(e.from)
	if h.remove(e); h.Len() == 0 {
		delete(d.rooms, e.from)
	}
	d.roomByArrival.remove(e)
	d.timers.remove(e)
	e.state = removed
}
