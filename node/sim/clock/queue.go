package clock

import "bdtnode/protocols"

// event is an action at a time. Events of one time are carried out in the order in which they were made.
type event struct {
	at     protocols.Time
	seq    uint64
	action func()
}

func (e *event) before(x *event) bool { return e.at < x.at || e.at == x.at && e.seq < x.seq }

// queue is the pending events: a heap in which each event comes before its children, the four from index 4i+1 on. Package
// container/heap would allocate memory for each event.
type queue struct {
	events []event
	seq    uint64
}

const children = 4

// add adds an event behind all others of its time.
func (q *queue) add(at protocols.Time, action func()) {
	q.seq++
	e := event{at, q.seq, action}
	q.events = append(q.events, e)
	i := len(q.events) - 1
	for i > 0 {
		parent := (i - 1) / children
		if !e.before(&q.events[parent]) {
			break
		}
		q.events[i] = q.events[parent]
		i = parent
	}
	q.events[i] = e
}

// next removes the first event. There must be one.
func (q *queue) next() event {
	first, last := q.events[0], len(q.events)-1
	e := q.events[last]
	q.events[last] = event{} // so that its action is freed
	if q.events = q.events[:last]; last == 0 {
		return first
	}
	i := 0
	for {
		child := children*i + 1
		if child >= last {
			break
		}
		least := child
		for k := child + 1; k < min(child+children, last); k++ {
			if q.events[k].before(&q.events[least]) {
				least = k
			}
		}
		if !q.events[least].before(&e) {
			break
		}
		q.events[i] = q.events[least]
		i = least
	}
	q.events[i] = e
	return first
}
