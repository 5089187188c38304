package quorum

import (
	"fmt"
	"slices"
	"time"

	"bdtnode/protocols"
)

// Key names what an answer says of an item of the question: equal keys are equal answers. The empty Key says nothing.
type Key string

// Config is a question.
type Config struct {
	Committee *protocols.Committee // of the shard that is asked
	Need      int                  // equal answers that decide an item
	Items     int                  // parts of the question, each of which is decided for itself
	First     protocols.Index      // the replica that is asked first; those behind it follow, around the end
	Patience  time.Duration        // how long nobody may answer before a further replica is asked
	Silence   time.Duration        // the same after the first answer
	Pause     time.Duration        // before all are asked again, once all were asked and too few agree
	Rounds    int                  // how often one replica is asked at most; 0: no bound but the deadline
	Deadline  protocols.Time       // when the question ends, decided or not
}

// Ask is a request to one replica. Its answer, or that there is none, must be reported once.
type Ask struct {
	To    protocols.Index
	Round int // the first is 1
}

// Machine is one question. It is not safe for concurrent use.
type Machine struct {
	cfg       Config
	asked     []int // rounds in which each replica was asked
	open      protocols.Set
	round     int
	turn      int // replicas of the round that were asked or passed over
	items     []item
	undecided int
	heard     protocols.Set // replicas that answered
	pausing   bool          // wake begins the next round
	wake      protocols.Time
	done      bool
}

// item is a part of the question.
type item struct {
	votes   []vote // in the order in which their keys came
	decided int    // index of the vote, plus 1
}

type vote struct {
	key Key
	by  protocols.Set
}

// New makes a question and the first requests. A question that no replicas can decide is a broken invariant.
func New(cfg Config, now protocols.Time) (*Machine, []Ask) {
	if n := cfg.Committee.N(); cfg.Need < 1 || cfg.Need > n || cfg.Items < 1 || !cfg.Committee.Has(cfg.First) {
		panic(fmt.Sprintf("quorum: %d equal answers of %d replicas to %d items, first replica %d", cfg.Need, n, cfg.Items, cfg.First))
	}
	m := &Machine{cfg: cfg, asked: make([]int, cfg.Committee.N()), items: make([]item, cfg.Items), undecided: cfg.Items, round: 1}
	m.wake = now.Add(cfg.Patience)
	return m, m.proceed(now)
}

// Done reports whether the question has ended.
func (m *Machine) Done() bool { return m.done }

// Wake is when [Machine.Tick] is to be called.
func (m *Machine) Wake() protocols.Time { return protocols.Earliest(m.wake, m.cfg.Deadline) }

// Answered reports a replica's answer, a key for each item.
func (m *Machine) Answered(now protocols.Time, a Ask, keys []Key) []Ask {
	if !m.close(a) {
		return nil
	}
	if len(keys) != len(m.items) {
		panic(fmt.Sprintf("quorum: %d keys for %d items", len(keys), len(m.items))) // the driver has checked the answer
	}
	m.heard.Add(a.To)
	for i, key := range keys {
		if x := &m.items[i]; key != "" && x.decided == 0 && x.add(key, a.To, m.cfg.Need) {
			m.undecided--
		}
	}
	if !m.pausing && m.wake > now.Add(m.cfg.Silence) {
		m.wake = now.Add(m.cfg.Silence)
	}
	return m.proceed(now)
}

// Failed reports that a replica gave no answer, or one that is malformed.
func (m *Machine) Failed(now protocols.Time, a Ask) []Ask {
	if !m.close(a) {
		return nil
	}
	return m.proceed(now)
}

// close ends a request, and reports whether it was open.
func (m *Machine) close(a Ask) bool {
	if m.done || !m.open.Has(a.To) || m.asked[a.To] != a.Round {
		return false
	}
	m.open.Remove(a.To)
	return true
}

// Tick lets time pass.
func (m *Machine) Tick(now protocols.Time) []Ask {
	if m.done || now < m.Wake() {
		return nil
	}
	if now >= m.cfg.Deadline {
		m.done = true
		return nil
	}
	switch {
	case m.pausing:
		m.pausing = false
		m.round++
		m.turn = 0
		m.wake = now.Add(m.cfg.Silence)
		return m.ask(m.cfg.Committee.N()) // at one time: so they are more likely to be at one height
	case m.turn < len(m.asked):
		m.wake = now.Add(m.cfg.Silence)
		return m.ask(1)
	case m.again():
		m.rest(now)
	case len(m.asked)-m.open.Len() >= m.cfg.Committee.Quorum():
		m.done = true // those that are silent may be Byzantine
	default:
		m.wake = m.cfg.Deadline
	}
	return nil
}

// proceed asks as many replicas as an undecided item still needs, and ends the question when it is decided or when
// nobody is left to be asked.
func (m *Machine) proceed(now protocols.Time) []Ask {
	if m.undecided == 0 {
		m.done = true
		return nil
	}
	asks := m.ask(m.lacking() - m.open.Len())
	switch {
	case m.pausing || m.open.Len() >= m.lacking():
	case m.again():
		m.rest(now)
	case m.open.Len() == 0:
		m.done = true
	default:
		m.wake = now.Add(m.cfg.Silence)
	}
	return asks
}

// ask makes requests to the next replicas of the round, passing over those whose last request is still open.
func (m *Machine) ask(count int) []Ask {
	var asks []Ask
	for n := len(m.asked); m.turn < n && len(asks) < count; m.turn++ {
		to := protocols.Index((int(m.cfg.First) + m.turn) % n)
		if m.open.Add(to) {
			m.asked[to] = m.round
			asks = append(asks, Ask{to, m.round})
		}
	}
	return asks
}

// again reports whether a further round may be begun, and would ask anybody. When those that answered say nothing of
// what is undecided, a bounded question has no use for one.
func (m *Machine) again() bool {
	switch {
	case m.open.Len() == len(m.asked):
		return false
	case m.cfg.Rounds == 0:
		return true
	}
	silent := m.heard.Len() > 0 && !slices.ContainsFunc(m.items, func(x item) bool { return x.decided == 0 && len(x.votes) > 0 })
	return m.round < m.cfg.Rounds && !silent
}

// rest begins the pause before the next round.
func (m *Machine) rest(now protocols.Time) {
	m.pausing = true
	m.wake = now.Add(m.cfg.Pause)
}

// lacking is how many more equal answers the undecided item needs that has the fewest.
func (m *Machine) lacking() int {
	most := 0
	for i := range m.items {
		if x := &m.items[i]; x.decided == 0 {
			best := 0
			if b := x.best(); b >= 0 {
				best = x.votes[b].by.Len()
			}
			most = max(most, m.cfg.Need-best)
		}
	}
	return most
}

// Decided is what enough replicas said of an item, and which did; ok is false if it is not decided.
func (m *Machine) Decided(i int) (key Key, by protocols.Set, ok bool) {
	x := &m.items[i]
	if x.decided == 0 {
		return "", protocols.Set{}, false
	}
	v := &x.votes[x.decided-1]
	return v.key, v.by, true
}

// Most is what most replicas said of an item, the earliest of several, and which did; the empty Key if none said
// anything. It is nobody's word but theirs.
func (m *Machine) Most(i int) (key Key, by protocols.Set) {
	b := m.items[i].best()
	if b < 0 {
		return "", protocols.Set{}
	}
	return m.items[i].votes[b].key, m.items[i].votes[b].by
}

// Heard is how many replicas have answered.
func (m *Machine) Heard() int { return m.heard.Len() }

// add notes a replica's word, and reports whether that decides the item.
func (x *item) add(key Key, by protocols.Index, need int) bool {
	at := slices.IndexFunc(x.votes, func(v vote) bool { return v.key == key })
	if at < 0 {
		at = len(x.votes)
		x.votes = append(x.votes, vote{key: key})
	}
	x.votes[at].by.Add(by)
	if x.votes[at].by.Len() < need {
		return false
	}
	x.decided = at + 1
	return true
}

// best is the index of the vote with the most replicas, the earliest of several, or -1.
func (x *item) best() int {
	best := -1
	for i := range x.votes {
		if best < 0 || x.votes[i].by.Len() > x.votes[best].by.Len() {
			best = i
		}
	}
	return best
}
