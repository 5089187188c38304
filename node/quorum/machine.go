package quorum

import (
	"fmt"
	"slices"
	"time"

	"bdtnode/protocols"
)

// Key identifies the answer to an item of the question: equal keys mean equal answers. The empty Key means no answer to
// the item.
type Key string

// Config is a question.
type Config struct {
	Committee *protocols.Committee // of the shard that is asked
	Need      int                  // number of equal answers that decide an item
	Items     int                  // number of items, each of which is decided separately
	First     protocols.Index      // replica that is asked first; the following indexes come next, modulo n
	Patience  time.Duration        // time without any answer before one more replica is asked
	Silence   time.Duration        // the same after the first answer
	Pause     time.Duration        // pause before all are asked again, after all were asked and too few agree
	Rounds    int                  // largest number of rounds, in each of which a replica is asked at most once; 0: bounded by the deadline only
	Deadline  protocols.Time       // end of the question, decided or not
}

// Ask is a request to one replica. The driver must report its answer or its failure once.
type Ask struct {
	To    protocols.Index
	Round int // the first round is 1
}

// Machine is one question. It is not safe for concurrent use.
type Machine struct {
	cfg       Config
	asked     []int // last round in which each replica was asked
	open      protocols.Set
	round     int
	turn      int // number of replicas of the round that were asked or skipped
	items     []item
	undecided int
	heard     protocols.Set // replicas that answered
	pausing   bool          // wake begins the next round
	wake      protocols.Time
	done      bool
}

// item is an item of the question.
type item struct {
	votes   []vote // in the order of their first answers
	decided int    // index of the deciding vote plus 1; 0: undecided
}

type vote struct {
	key Key
	by  protocols.Set
}

// New starts a question and returns the first requests. It panics if the configuration cannot be decided, which is a
// broken invariant.
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

// Wake is the time at which [Machine.Tick] must be called.
func (m *Machine) Wake() protocols.Time { return protocols.Earliest(m.wake, m.cfg.Deadline) }

// Answered reports the answer of a replica, with one key for each item. It returns further requests.
func (m *Machine) Answered(now protocols.Time, a Ask, keys []Key) []Ask {
	if !m.close(a) {
		return nil
	}
	if len(keys) != len(m.items) {
		panic(fmt.Sprintf("quorum: %d keys, want %d", len(keys), len(m.items))) // the driver has checked the number
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

// Failed reports that a replica gave no answer or a malformed one. It returns further requests.
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

// Tick reports the current time. It returns further requests.
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
		return m.ask(m.cfg.Committee.N()) // all at once, so that their answers are more likely to be at one height
	case m.turn < len(m.asked):
		m.wake = now.Add(m.cfg.Silence)
		return m.ask(1)
	case m.again():
		m.rest(now)
	case len(m.asked)-m.open.Len() >= m.cfg.Committee.Quorum():
		m.done = true // the silent replicas may be Byzantine
	default:
		m.wake = m.cfg.Deadline
	}
	return nil
}

// proceed asks as many replicas as an undecided item still needs. It ends the question when all items are decided or no
// replica is left to ask.
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

// ask creates requests to the next replicas of the round. It skips those whose last request is still open.
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

// again reports whether a further round is allowed and would ask any replica. With a bounded number of rounds, another
// round is useless if replicas answered and none has a key for an undecided item.
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

// lacking is the number of equal answers that are still missing, for the undecided item that misses most.
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

// Decided returns the decided key of an item and the replicas that gave it; ok is false if the item is undecided.
func (m *Machine) Decided(i int) (key Key, by protocols.Set, ok bool) {
	x := &m.items[i]
	if x.decided == 0 {
		return "", protocols.Set{}, false
	}
	v := &x.votes[x.decided-1]
	return v.key, v.by, true
}

// Most returns the key that most replicas gave for an item, the earliest one of several, and these replicas. The key is
// empty if no replica gave one. It is not confirmed by a quorum.
func (m *Machine) Most(i int) (key Key, by protocols.Set) {
	b := m.items[i].best()
	if b < 0 {
		return "", protocols.Set{}
	}
	return m.items[i].votes[b].key, m.items[i].votes[b].by
}

// Heard is the number of replicas that have answered.
func (m *Machine) Heard() int { return m.heard.Len() }

// add records a replica's key, and reports whether it decides the item.
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
