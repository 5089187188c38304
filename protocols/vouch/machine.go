package vouch

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"time"

	"bdtnode/protocols"
	"bdtnode/protocols/lanes"
)

// Bounds.
const (
	// maxEarly is the number of vouches of one replica for batches that are not held here. Those beyond it are dropped: the
	// replica whose vouches are dropped must then be replaced by another, or by the own check.
	maxEarly = 1024
	// reach is the distance above the ordered position of a lane, in numbers, up to which vouches are kept. Batches beyond
	// it are not accepted without a request.
	reach = 2 * lanes.WindowHeaders
	// maxTrusted is the number of executed batches that are remembered for samples.
	maxTrusted = 64
)

// Output is one output of the machine. One of the fields is set.
type Output struct {
	Check *lanes.Ref // verify the signatures of this held batch, and call Checked
	Drop  *lanes.Ref // the requested check has no use any more: Checked need not be called
	Bad   *lanes.Ref // the own check of this batch found a bad signature
}

// Step is one step of the machine.
type Step = protocols.Step[Output]

// Config has the parameters of a machine. Least is the same at all replicas of a shard.
type Config struct {
	Committee *protocols.Committee
	Self      protocols.Index
	// Least is the number of entries of a batch from which on replicas vouch for it. Signatures of smaller batches are
	// verified before the batch is stored. 0 means that this holds for all batches.
	Least int
}

// Applies reports whether replicas vouch for a batch with count entries.
func (c *Config) Applies(count int) bool { return c.Least > 0 && count >= c.Least }

// Knowledge is the knowledge of this replica about the signatures of a batch.
type Knowledge uint8

// The states of knowledge. All but Unknown and Bad mean that all signatures verify.
const (
	Unknown  Knowledge = iota
	Bad                // by own check
	Checked            // by own check
	Vouched            // by f+1 vouches
	ByHeader           // by the certified header of its block
)

var knowledgeNames = [...]string{"unknown", "bad", "checked", "vouched", "header"}

// String is a word for the knowledge.
func (k Knowledge) String() string { return knowledgeNames[k] }

// Good reports whether all signatures are known to verify.
func (k Knowledge) Good() bool { return k > Bad }

// Counts are batches since the start.
type Counts struct {
	Checked uint64 // known by the own check
	Vouched uint64 // known by f+1 vouches
	Header  uint64 // known by the certified header of their block
	Bad     uint64 // with a bad signature
	Sampled uint64 // checked after their execution
	Dropped uint64 // vouches that were not kept
}

// Machine is the state of one replica.
type Machine struct {
	cfg     Config
	lanes   []lane
	batches map[lanes.Ref]*batch // above the executed position of their lanes
	waiting map[lanes.Ref]*batch // those of batches with a deadline
	next    protocols.Time       // the earliest deadline; 0 if there is none
	pace    pace
	early   []int // by replica: its vouches for batches that are not held
	samples samples
	counts  Counts
}

// lane is the state of one lane.
type lane struct {
	executed uint64 // nothing at or below this number is kept
	ordered  uint64 // number in the last committed cut
	bad      bool   // the own check found a bad batch
}

// batch is a batch that is held, or for which a replica has vouched.
type batch struct {
	vouched  protocols.Set // with the owner, once the batch is held
	known    Knowledge
	held     bool
	late     bool           // it was ordered before it was held
	since    protocols.Time // when it was held
	due      protocols.Time // of the own check, 0 if there is no deadline
	checking bool           // the own check was requested
	doubted  bool           // the own check found it bad while its block was executed on the word of the certified header
}

// New makes the machine of a replica with all lanes executed and ordered up to a cut.
func New(cfg Config, executed lanes.Cut) *Machine {
	n := cfg.Committee.N()
	m := &Machine{
		cfg: cfg, lanes: make([]lane, n), batches: make(map[lanes.Ref]*batch), waiting: make(map[lanes.Ref]*batch),
		pace: pace{delays: make([]time.Duration, n)}, early: make([]int, n),
	}
	for i, t := range executed {
		m.lanes[i] = lane{executed: t.Seq, ordered: t.Seq}
	}
	return m
}

// Knows is the knowledge about a batch with count entries that is held, or was.
func (m *Machine) Knows(r lanes.Ref, count int) Knowledge {
	if !m.cfg.Applies(count) || r.Lane == m.cfg.Self {
		return Checked
	}
	if b := m.batches[r]; b != nil {
		return b.known
	}
	return Unknown
}

// Held is called when a structurally sound batch with count entries is stored.
func (m *Machine) Held(now protocols.Time, r lanes.Ref, count int) Step {
	var st Step
	l := &m.lanes[r.Lane]
	if !m.cfg.Applies(count) || r.Lane == m.cfg.Self || r.Tip.Seq <= l.executed {
		return st
	}
	b := m.at(r)
	if b.held {
		return st
	}
	b.held, b.since, b.late = true, now, r.Tip.Seq <= l.ordered
	for _, i := range b.vouched.Members() {
		m.early[i]--
		m.observe(r, b, i, now)
	}
	b.vouched.Add(r.Lane)
	m.count(&st, r, b)
	m.plan(now, &st, r, b, l)
	return st
}

// Needed is called when a committed block waits for the knowledge about a held batch with count entries.
func (m *Machine) Needed(now protocols.Time, r lanes.Ref, count int) Step {
	st := m.Held(now, r, count)
	if b := m.batches[r]; b != nil && b.known == Unknown && m.lanes[r.Lane].bad {
		m.check(&st, r, b)
	}
	return st
}

func (m *Machine) at(r lanes.Ref) *batch {
	b := m.batches[r]
	if b == nil {
		b = &batch{}
		m.batches[r] = b
	}
	return b
}

// plan sets the time of the own check. The next f replicas after the owner check at once, and each later rank after one
// more wait. A batch that was ordered before it was held is checked after a wait by all: others have it, and
// the header of its block is probably certified. Batches of a lane with a bad one are checked only for execution.
func (m *Machine) plan(now protocols.Time, st *Step, r lanes.Ref, b *batch, l *lane) {
	if b.known != Unknown || l.bad {
		return
	}
	waits := m.rank(r, m.cfg.Self) - m.cfg.Committee.F()
	if b.late {
		waits = max(waits, 1)
	}
	if waits <= 0 {
		m.check(st, r, b)
		return
	}
	b.due = now.Add(time.Duration(waits) * m.pace.wait())
	m.waiting[r] = b
	m.next = protocols.Earliest(m.next, b.due)
}

// rank is the place of a replica among those that check a batch, from 1 to n-1. The first place moves on with each number,
// so each replica has an equal part of every lane.
func (m *Machine) rank(r lanes.Ref, i protocols.Index) int {
	n := uint64(m.cfg.Committee.N())
	after := (uint64(i) + n - uint64(r.Lane)) % n // 1 to n-1 behind the owner
	return int((after-1+(n-1)-r.Tip.Seq%(n-1))%(n-1)) + 1
}

// check requests the own check.
func (m *Machine) check(st *Step, r lanes.Ref, b *batch) {
	m.settle(r, b)
	if !b.checking {
		b.checking = true
		st.Emit(Output{Check: &r})
	}
}

// settle removes the deadline of a batch.
func (m *Machine) settle(r lanes.Ref, b *batch) {
	if b.due == 0 {
		return
	}
	delete(m.waiting, r)
	if b.due == m.next {
		m.next = 0
		for _, x := range m.waiting {
			m.next = protocols.Earliest(m.next, x.due)
		}
	}
	b.due = 0
}

// HandleVouch is called upon a checked Vouch of another replica.
func (m *Machine) HandleVouch(now protocols.Time, from protocols.Index, v *Vouch) Step {
	var st Step
	if m.cfg.Least == 0 {
		return st
	}
	for _, r := range v.Batches {
		m.vouch(now, &st, from, r)
	}
	return st
}

// vouch counts the vouch of a replica for one batch. One for a batch that is not held is kept if it is in the window of
// the lane, up to maxEarly of each replica.
func (m *Machine) vouch(now protocols.Time, st *Step, from protocols.Index, r lanes.Ref) {
	l := &m.lanes[r.Lane]
	b := m.batches[r]
	switch {
	case r.Tip.Seq <= l.executed || r.Lane == m.cfg.Self:
		return
	case b != nil && b.held:
	case r.Tip.Seq > l.ordered+reach || m.early[from] >= maxEarly:
		m.counts.Dropped++
		return
	}
	b = m.at(r)
	if !b.vouched.Add(from) {
		return
	}
	if !b.held {
		m.early[from]++
		return
	}
	m.observe(r, b, from, now)
	m.count(st, r, b)
}

// upon f+1 vouches for a held batch: it is good.
func (m *Machine) count(st *Step, r lanes.Ref, b *batch) {
	if b.known != Unknown || b.vouched.Len() < m.cfg.Committee.WeakQuorum() {
		return
	}
	b.known = Vouched
	m.counts.Vouched++
	m.release(st, r, b)
}

// release ends the own check of a batch that became known in another way.
func (m *Machine) release(st *Step, r lanes.Ref, b *batch) {
	m.settle(r, b)
	if b.checking {
		st.Emit(Output{Drop: &r})
	}
}

// observe records the delay of a vouch of a replica that checks at once.
func (m *Machine) observe(r lanes.Ref, b *batch, from protocols.Index, now protocols.Time) {
	if !b.late && m.rank(r, from) <= m.cfg.Committee.F() {
		m.pace.observe(int(from), now.Sub(b.since))
	}
}

// Result is the result of an own check.
type Result struct {
	Batch lanes.Ref
	Good  bool // all signatures verify
}

// Checked is called with the results of own checks. Good batches are vouched for, in one message. It panics if a batch is
// bad that was known as good before: then more than f replicas are Byzantine. A bad batch of a block that is being executed
// on the word of its certified header is no contradiction yet, since the header may name it as bad.
func (m *Machine) Checked(results []Result) Step {
	var st Step
	var good []lanes.Ref
	for _, x := range results {
		b := m.batches[x.Batch]
		if b == nil {
			m.sampled(x)
			continue
		}
		b.checking = false
		switch {
		case x.Good && b.known == Unknown:
			b.known = Checked
			m.counts.Checked++
			m.settle(x.Batch, b)
			good = append(good, x.Batch)
		case !x.Good && (b.known == Unknown || b.known == ByHeader):
			if b.known == ByHeader {
				b.doubted = true
				m.counts.Header--
			}
			b.known = Bad
			m.counts.Bad++
			m.settle(x.Batch, b)
			m.lanes[x.Batch.Lane].bad = true
			st.Emit(Output{Bad: &x.Batch})
		case !x.Good && b.known.Good():
			panic(contradiction(x.Batch, b.known, b.vouched))
		case x.Good && b.known.Good():
			b.known = Checked // no sample is needed
		}
	}
	m.send(&st, protocols.Everyone, good)
	return st
}

// send sends a vouch for batches.
func (m *Machine) send(st *Step, to protocols.To, batches []lanes.Ref) {
	slices.SortFunc(batches, compare)
	for part := range slices.Chunk(batches, MaxRefs) {
		st.Sends = append(st.Sends, protocols.Send{To: to, Message: &Vouch{slices.Clone(part)}})
	}
}

// compare orders batches by lane, number and digest.
func compare(a, b lanes.Ref) int {
	return cmp.Or(cmp.Compare(a.Lane, b.Lane), cmp.Compare(a.Tip.Seq, b.Tip.Seq), bytes.Compare(a.Tip.Digest[:], b.Tip.Digest[:]))
}

func contradiction(r lanes.Ref, known Knowledge, vouched protocols.Set) string {
	by := "its block has a certified header"
	if known == Vouched {
		by = fmt.Sprintf("replicas %v vouched for it", vouched.Members())
	}
	return fmt.Sprintf("vouch: batch %d of lane %d, digest %s, has a bad signature, but %s: more than f replicas are Byzantine",
		r.Tip.Seq, r.Lane, r.Tip.Digest, by)
}

// FoundBad is called for a bad batch of an executed block. If the replica took it as good on the word of a certified header,
// execution has found by its own check that it is bad. It panics if f+1 replicas vouched for it.
func (m *Machine) FoundBad(r lanes.Ref) {
	m.BadLane(r.Lane)
	b := m.batches[r]
	switch {
	case b == nil:
		return
	case b.known == Bad:
		b.doubted = false
		return
	case b.known == Vouched:
		panic(contradiction(r, b.known, b.vouched))
	case b.known == ByHeader:
		m.counts.Header--
	}
	m.settle(r, b)
	b.known = Bad
	m.counts.Bad++
}

// BadLane is called when a lane is known to have a bad batch, from a block or from before a restart.
func (m *Machine) BadLane(lane protocols.Index) { m.lanes[lane].bad = true }

// Certified is called when a block with a held batch of count entries is executed on the word of its certified header. It does
// nothing if the batch is known.
func (m *Machine) Certified(r lanes.Ref, count int) Step {
	var st Step
	if b := m.batches[r]; b != nil && b.known == Unknown && m.cfg.Applies(count) {
		b.known = ByHeader
		m.counts.Header++
		m.release(&st, r, b)
	}
	return st
}

// Ordered is called when a cut was committed.
func (m *Machine) Ordered(cut lanes.Cut) {
	for i, t := range cut {
		m.lanes[i].ordered = max(m.lanes[i].ordered, t.Seq)
	}
}

// Executed is called when all batches up to a cut are executed, after [Machine.FoundBad]. They are forgotten, but for samples.
// It panics if the own check found a batch bad that the certified header of its block has as good.
func (m *Machine) Executed(now protocols.Time, cut lanes.Cut) Step {
	var st Step
	var taken []trusted
	for r, b := range m.batches {
		if r.Tip.Seq > cut[r.Lane].Seq {
			continue
		}
		if b.doubted {
			panic(contradiction(r, ByHeader, b.vouched))
		}
		if !b.held {
			for _, i := range b.vouched.Members() {
				m.early[i]--
			}
		}
		m.settle(r, b)
		if b.checking && b.known == Unknown {
			st.Emit(Output{Drop: &r}) // it contributed nothing: another header has its number, or its lane is frozen
		}
		if b.known == Vouched || b.known == ByHeader {
			taken = append(taken, newTrusted(r, b))
		}
		delete(m.batches, r)
	}
	for i, t := range cut {
		m.lanes[i].executed = max(m.lanes[i].executed, t.Seq)
	}
	m.samples.add(now, taken)
	slices.SortFunc(st.Out, func(a, b Output) int { return compare(*a.Drop, *b.Drop) })
	return st
}

// Wake is the time at which the machine next needs a Tick, or zero.
func (m *Machine) Wake() protocols.Time { return protocols.Earliest(m.next, m.samples.due) }

// Tick requests the own checks that are due, and a sample if the replica is idle.
func (m *Machine) Tick(now protocols.Time, idle bool) Step {
	var st Step
	if m.next != 0 && now >= m.next {
		var due []lanes.Ref
		for r, b := range m.waiting {
			if now >= b.due {
				due = append(due, r)
			}
		}
		slices.SortFunc(due, compare)
		for _, r := range due {
			m.check(&st, r, m.batches[r])
		}
	}
	m.samples.tick(now, idle, &st)
	return st
}

// Resend sends a peer again the own vouches for batches that are not executed here.
func (m *Machine) Resend(to protocols.Index) Step {
	var st Step
	var good []lanes.Ref
	for r, b := range m.batches {
		if b.known == Checked && r.Lane != to {
			good = append(good, r)
		}
	}
	m.send(&st, protocols.To(to), good)
	return st
}
