package admission

// queues hand out ready entries so that parties get equal bytes while several have some: each party's entries by
// arrival, and of the parties the one that was served least. One alone gets all.
type queues struct {
	of     map[Party]*queue
	active ordered[*queue]
	clock  uint64 // what the party served last had been served before
	born   uint64
	bytes  int // of all ready entries
}

type queue struct {
	from    Party
	entries ordered[*entry]
	served  uint64 // bytes, from the clock at its birth
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

// next is the entry whose turn it is, nil if there is none.
func (s *queues) next() *entry {
	q, ok := s.active.top()
	if !ok {
		return nil
	}
	e, _ := q.entries.top() // a queue without entries is not active
	return e
}

// serve takes out the next entry.
func (s *queues) serve(e *entry) {
	q := s.of[e.from]
	s.clock = q.served
	q.served += uint64(e.size())
	s.active.moved(q)
	s.remove(e)
}
