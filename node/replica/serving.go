package replica

import (
	"slices"
	"time"

	"bdtnode/internal/kv"
	"bdtnode/protocols"
	"bdtnode/protocols/inbound"
	"bdtnode/protocols/lanes"
)

// Limits of the stored data that a peer is served.
const (
	maxWaiting    = 256     // waiting requests of a peer
	maxOfSubject  = 32      // of these, for one lane or channel: a replica requests the data of so many blocks ahead
	servedRate    = 8 << 20 // bytes read for a peer in a second
	servedAtOnce  = 4 << 20 // bytes read for a peer without a pause, at most one answer more
	answerAtLeast = 4 << 10 // least number of bytes that an answer counts for
	maxAnswered   = 64      // remembered requests of a peer for LDs that were answered
	repeatedCost  = 8       // the bytes of an answer about certified blocks that were given before count so many times
)

// answeredFor is the time for which the same LDs are not sent again. The peer's gate accepts the LDs of each request once,
// and few more. So requests that a slow link holds back and delivers together must have one answer for each LD, also if the
// first request still waits or has just been taken. The time is less than the 150 ms after which a replica repeats a
// request at the earliest, which it does to another peer first.
const answeredFor = 100 * time.Millisecond

// Serving is the queue of peers' requests for stored data: batches of a lane, LDs of a channel, certified blocks. Peers
// take turns, and each is served at a bounded rate. A copy of a waiting request is dropped. A request for LDs is
// answered without the numbers of the requests that were just taken. Of the requests for certified blocks only the newest
// counts, and blocks that were given before are given again at an eighth of the rate: a replica that catches up asks for
// later blocks each time, except after a loss. Peers repeat dropped requests. It is not safe for concurrent use.
type Serving struct {
	peers []served
	turn  int // the peer whose request was taken last
}

type served struct {
	waiting  []protocols.Range
	answered []answered // oldest first
	bytes    meter
	history  uint64 // the highest first block of the answered requests for certified blocks
	repeated bool   // the request that was taken last is for certified blocks that were given before
}

// answered is the answered part of a request for LDs, and the time when it was taken.
type answered struct {
	inbound.LDRange
	at protocols.Time
}

// NewServing returns an empty queue for so many peers.
func NewServing(peers int) *Serving {
	s := &Serving{peers: make([]served, peers)}
	for i := range s.peers {
		s.peers[i].bytes = meter{each: time.Second / servedRate, ahead: time.Second * servedAtOnce / servedRate}
	}
	return s
}

// Put adds a request of a peer.
func (s *Serving) Put(peer protocols.Index, r protocols.Range) {
	p := &s.peers[peer]
	same := 0
	for i, have := range p.waiting {
		if have == r {
			return
		}
		switch x := r.(type) {
		case HistoryRange:
			if _, ok := have.(HistoryRange); ok {
				p.waiting[i] = r
				return
			}
		case lanes.BatchRange:
			if h, ok := have.(lanes.BatchRange); ok && h.Lane == x.Lane {
				same++
			}
		case inbound.LDRange:
			if h, ok := have.(inbound.LDRange); ok && h.Source == x.Source {
				same++
			}
		}
	}
	if same < maxOfSubject && len(p.waiting) < maxWaiting {
		p.waiting = append(p.waiting, r)
	}
}

// Next takes the next request in turn. If there is none, again is the time of the next call, zero for after the next
// Put.
func (s *Serving) Next(now protocols.Time) (peer protocols.Index, r protocols.Range, again protocols.Time) {
	for range s.peers {
		s.turn = (s.turn + 1) % len(s.peers)
		p := &s.peers[s.turn]
		if len(p.waiting) == 0 {
			continue
		}
		if due := p.bytes.due(); now < due {
			again = protocols.Earliest(again, due)
			continue
		}
		if r = p.take(now); r != nil {
			return protocols.Index(s.turn), r, 0
		}
	}
	return 0, nil, again
}

// take removes and returns the first waiting request of which not all was just answered, or returns nil.
func (p *served) take(now protocols.Time) protocols.Range {
	for len(p.waiting) > 0 {
		r := p.waiting[0]
		p.waiting = p.waiting[1:]
		if x, ok := r.(HistoryRange); ok {
			p.repeated = x.From <= p.history
			p.history = max(p.history, x.From)
			return r
		}
		p.repeated = false
		x, ok := r.(inbound.LDRange)
		if !ok {
			return r
		}
		if x = p.rest(now, x); x.After < x.Tip.Seq {
			return x
		}
	}
	return nil
}

// rest returns the part of a request for LDs above the numbers that were just answered, and remembers the request. It is
// empty if all were. The answered LDs of a number may differ from the requested one: the peer requests that one again.
func (p *served) rest(now protocols.Time, x inbound.LDRange) inbound.LDRange {
	p.answered = slices.DeleteFunc(p.answered, func(a answered) bool { return now >= a.at.Add(answeredFor) })
	for _, a := range p.answered {
		if a.Source == x.Source && a.After <= x.After {
			x.After = max(x.After, min(a.Tip.Seq, x.Tip.Seq))
		}
	}
	if x.After < x.Tip.Seq {
		if len(p.answered) == maxAnswered {
			p.answered = slices.Delete(p.answered, 0, 1)
		}
		p.answered = append(p.answered, answered{x, now})
	}
	return x
}

// Read counts the bytes that were read for a peer's request, the one that [Serving.Next] gave last for that peer.
func (s *Serving) Read(now protocols.Time, peer protocols.Index, bytes int) {
	n := max(bytes, answerAtLeast)
	if p := &s.peers[peer]; p.repeated {
		n *= repeatedCost
	}
	s.peers[peer].bytes.take(now, n)
}

// Answer reads the answer to a request that [Serving.Next] gave, and returns the number of its bytes. It reads no data
// that is not part of the answer.
func Answer(c *protocols.Committee, r kv.Reader, headers Headers, what protocols.Range) (out []protocols.Message, bytes int, err error) {
	switch x := what.(type) {
	case lanes.BatchRange:
		batches, err := ReadBatches(c, r, x)
		if err != nil {
			return nil, 0, err
		}
		for _, b := range batches {
			out, bytes = append(out, b), bytes+len(b.Payload)
		}
	case inbound.LDRange:
		lds, err := ReadLDs(r, x)
		if err != nil {
			return nil, 0, err
		}
		for _, d := range lds {
			out, bytes = append(out, d), bytes+len(d.Raw)
		}
	case HistoryRange:
		h, err := ReadHistory(c, r, headers, x)
		if err != nil {
			return nil, 0, err
		}
		out, bytes = append(out, h), h.size()
	}
	return out, bytes, nil
}

// size is the approximate number of bytes of an encoded History.
func (m *History) size() int {
	const block, position, signature = 128, 40, 66
	n := 0
	for i := range m.Items {
		x := &m.Items[i]
		n += len(x.Header) + signature*len(x.Certificate.Certificate.Signatures) + block + position*(len(x.Block.Cut)+len(x.Block.Inbound))
	}
	return n
}
