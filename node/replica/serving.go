package replica

import (
	"slices"
	"time"

	"bdtnode/internal/kv"
	"bdtnode/protocols"
	"bdtnode/protocols/channels"
	"bdtnode/protocols/lanes"
)

// Limits of what a peer is served from the store.
const (
	maxWaiting    = 256      // requests of a peer that wait
	maxOfSubject  = 32       // of these, for one lane or channel: a replica asks for the data of so many blocks ahead
	servedRate    = 32 << 20 // bytes that are read for a peer in a second
	servedAtOnce  = 8 << 20  // bytes that are read for a peer without a pause, one answer more at most
	answerAtLeast = 4 << 10  // bytes that an answer counts for, whatever it holds
	maxAnswered   = 64       // questions for LDs of a peer that are remembered as answered
)

// answeredFor is how long a question for LDs is not answered again. The peer's gate lets the LDs of each question come
// once, and few beyond them, so that a question that arrives twice must not have two answers, whether the first one
// still waits or was just taken up. It is less than the 150 ms after which a replica asks again at the earliest, which it
// does of another peer first.
const answeredFor = 100 * time.Millisecond

// Serving is what peers asked for that is to be read from the store: batches of a lane, LDs of a channel, certified
// blocks. Peers take turns, each is served at a bounded rate, and a question that waits is not taken twice, nor one for
// LDs that was taken up just before; of questions for certified blocks the newest counts. What is dropped is asked for
// again. It is not safe for concurrent use.
type Serving struct {
	peers []served
	turn  int // whose request was taken last
}

type served struct {
	waiting  []protocols.Message
	answered []answered // oldest first
	bytes    meter
}

// answered is a question for LDs, and when its answer was taken up.
type answered struct {
	channels.Stretch
	at protocols.Time
}

// NewServing serves so many peers.
func NewServing(peers int) *Serving {
	s := &Serving{peers: make([]served, peers)}
	for i := range s.peers {
		s.peers[i].bytes = meter{each: time.Second / servedRate, ahead: time.Second * servedAtOnce / servedRate}
	}
	return s
}

// Serves reports whether a message stands for stored data.
func Serves(m protocols.Message) bool {
	switch m.(type) {
	case *lanes.Chain, *channels.Stretch, *Serve:
		return true
	}
	return false
}

// Put adds a request of a peer.
func (s *Serving) Put(peer protocols.Index, m protocols.Message) {
	p := &s.peers[peer]
	same := 0
	for i, have := range p.waiting {
		switch x := m.(type) {
		case *Serve:
			if _, ok := have.(*Serve); ok {
				p.waiting[i] = m
				return
			}
		case *lanes.Chain:
			if h, ok := have.(*lanes.Chain); ok && *h == *x {
				return
			} else if ok && h.Lane == x.Lane {
				same++
			}
		case *channels.Stretch:
			if h, ok := have.(*channels.Stretch); ok && *h == *x {
				return
			} else if ok && h.Source == x.Source {
				same++
			}
		}
	}
	if same < maxOfSubject && len(p.waiting) < maxWaiting {
		p.waiting = append(p.waiting, m)
	}
}

// Next takes the request whose turn it is. If there is none, again is when to look again, zero for after the next Put.
func (s *Serving) Next(now protocols.Time) (peer protocols.Index, m protocols.Message, again protocols.Time) {
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
		if m = p.take(now); m != nil {
			return protocols.Index(s.turn), m, 0
		}
	}
	return 0, nil, again
}

// take is the first question that waits and was not just answered, if there is one.
func (p *served) take(now protocols.Time) protocols.Message {
	for len(p.waiting) > 0 {
		m := p.waiting[0]
		p.waiting = p.waiting[1:]
		if x, ok := m.(*channels.Stretch); !ok || p.first(now, *x) {
			return m
		}
	}
	return nil
}

// first reports whether a question for LDs was not answered just before, and remembers it.
func (p *served) first(now protocols.Time, x channels.Stretch) bool {
	p.answered = slices.DeleteFunc(p.answered, func(a answered) bool { return now >= a.at.Add(answeredFor) })
	if slices.ContainsFunc(p.answered, func(a answered) bool { return a.Stretch == x }) {
		return false
	}
	if len(p.answered) == maxAnswered {
		p.answered = slices.Delete(p.answered, 0, 1)
	}
	p.answered = append(p.answered, answered{x, now})
	return true
}

// Read counts what was read for a peer's request.
func (s *Serving) Read(now protocols.Time, peer protocols.Index, bytes int) {
	s.peers[peer].bytes.take(now, max(bytes, answerAtLeast))
}

// Answer reads the answer to a request that [Serving.Next] gave, and says how many bytes it has. Nothing is read that
// is not part of the answer.
func Answer(c *protocols.Committee, r kv.Reader, headers Headers, m protocols.Message) (out []protocols.Message, bytes int, err error) {
	switch x := m.(type) {
	case *lanes.Chain:
		batches, err := Chain(c, r, x)
		if err != nil {
			return nil, 0, err
		}
		for _, b := range batches {
			out, bytes = append(out, b), bytes+len(b.Payload)
		}
	case *channels.Stretch:
		lds, err := Stretch(r, x)
		if err != nil {
			return nil, 0, err
		}
		for _, d := range lds {
			out, bytes = append(out, d), bytes+len(d.Raw)
		}
	case *Serve:
		h, err := ReadHistory(c, r, headers, x)
		if err != nil {
			return nil, 0, err
		}
		out, bytes = append(out, h), h.size()
	}
	return out, bytes, nil
}

// size is about the bytes of an encoded History.
func (m *History) size() int {
	const block, position, signature = 128, 40, 66
	n := 0
	for i := range m.Items {
		x := &m.Items[i]
		n += len(x.Header) + signature*len(x.Certificate.Certificate.Signatures) + block + position*(len(x.Block.Cut)+len(x.Block.Inbound))
	}
	return n
}
