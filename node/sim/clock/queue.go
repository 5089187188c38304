package clock

import (
	"container/heap"

	"bdtnode/protocols"
)

// event is an action at a time. Events of one time are carried out in the order in which they were made.
type event struct {
	at     protocols.Time
	seq    uint64
	action func()
}

type queue struct {
	events []event
	seq    uint64
}

func (q *queue) add(at protocols.Time, action func()) {
	q.seq++
	heap.Push(q, event{at, q.seq, action})
}

func (q *queue) next() event { return heap.Pop(q).(event) }

// Len, Less, Swap, Push and Pop implement heap.Interface.
func (q *queue) Len() int { return len(q.events) }

func (q *queue) Less(i, j int) bool {
	a, b := &q.events[i], &q.events[j]
	return a.at < b.at || a.at == b.at && a.seq < b.seq
}

func (q *queue) Swap(i, j int) { q.events[i], q.events[j] = q.events[j], q.events[i] }

func (q *queue) Push(x any) { q.events = append(q.events, x.(event)) }

func (q *queue) Pop() any {
	last := len(q.events) - 1
	e := q.events[last]
	q.events[last] = event{}
	q.events = q.events[:last]
	return e
}
