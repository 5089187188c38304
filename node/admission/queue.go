package admission

// queues are the ready entries of the parties. Entries of one party are taken by arrival. The next party is the one
// that was served least, so parties get equal bytes while several have ready entries, and a single one gets all.
type queues struct {
	of     map[Party]*queue
	active ordered[*queue]
	clock  uint64 // value of served of the party served last, before its last entry
	born   uint64 // number of queues made so far
	bytes  int    // bytes of all ready entries
}

type queue struct {
	from    Party
	entries ordered[*entry]
	served  uint64 // bytes taken from the queue, plus the clock when it was made
	born    uint64
	place   int
}

func newQueues() queues {
	return queues{of: make(map[Party]*queue), active: ordered[*queue]{
		less: func(a, b *queue) bool {
			if a.served != b.served {
				return a.served < b.served
			}
			return a.born < b.born
		},
		place: func(q *queue) *int { return &q.place },
	}}
}

func (s *queues) add(e *entry) {
	q := s.of[e.from]
	if q == nil {
		s.born++
		q = &queue{from: e.from, served: s.clock, born: s.born, entries: byArrival(func(e *entry) *int { return &e.queuePlace })}
		s.of[e.from] = q
		s.active.add(q)
	}
	q.entries.add(e)
	s.bytes += e.size()
}

func (s *queues) remove(e *entry) {
	q := s.of[e.from]
	q.entries.remove(e)
	s.bytes -= e.size()
	if q.entries.Len() == 0 {
		s.active.remove(q)
		delete(s.of, e.from)
	}
}

// next returns the entry that is taken next, nil if there is none.
func (s *queues) next() *entry {
	q, ok := s.active.top()
	if !ok {
		return nil
	}
	e, _ := q.entries.top() // a queue without entries is not active
	return e
}

// serve removes the entry that next returned.
func (s *queues) serve(e *entry) {
	q := s.of[e.from]
	s.clock = q.served
	q.served += uint64(e.size())
	s.active.moved(q)
	s.remove(e)
}
