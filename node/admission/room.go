package admission

import (
	"bdtnode/ledger"
)

func byArrival(place func(*entry) *int) ordered[*entry] {
	return ordered[*entry]{less: func(a, b *entry) bool { return a.seq < b.seq }, place: place}
}

// enterRoom gives a new entry a place in the room. If its party has no place left, the party's oldest entry goes; if it
// has none, the oldest of all.
func (d *Door) enterRoom(e *entry, now Instant) {
	size := e.size()
	for !d.room.allows(e.from, size) {
		victim, ok := d.roomOf(e.from).top()
		if !ok {
			victim, _ = d.crowd.top() // there is one, since less is free than a share holds
		}
		d.end(victim, &ledger.Refusal{Reason: ledger.ReasonUnknownInput, Detail: "an input did not come, and newer transactions wait"}, now)
	}
	e.state, e.until = inRoom, now.Now.Add(roomFor)
	d.entries[e.id()] = e
	d.room.add(e.from, size)
	d.roomOf(e.from).add(e)
	d.crowd.add(e)
	d.expiry.add(e)
	d.timers.add(e)
}

// roomOf is the entries of a party in the room, oldest first.
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
	d.crowd.remove(e)
	d.timers.remove(e)
	e.state = gone
}
