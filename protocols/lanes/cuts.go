package lanes

import (
	"time"

	"bdtnode/internal/digest"
	"bdtnode/protocols"
)

// View is the highest cut that this replica can propose on top of parent, with the certificates of those new tips
// that it has not itself acknowledged. With certifiedOnly every new tip is certified.
func (m *Machine) View(now protocols.Time, parent Cut) (Cut, []*TipCertificate) {
	cut := make(Cut, len(m.lanes))
	copy(cut, parent)
	var certs []*TipCertificate
	for i, l := range m.lanes {
		p := cut[i]
		tip := p
		if !l.certifiedOnly && now >= l.suspectUntil && l.tip.Seq > max(p.Seq, l.certified.Seq) {
			tip = l.above(p)
		}
		switch {
		case l.frozen:
		case tip.Seq > max(p.Seq, l.certified.Seq):
			cut[i] = tip
		case l.certified.Seq > p.Seq:
			cut[i] = l.certified
			certs = append(certs, l.cert)
		}
	}
	return cut, certs
}

// above is how far a cut on top of stop may go on the way to the highest acknowledged position; that is stop, unless
// everything on the way is held and linked to it.
func (l *lane) above(stop Tip) Tip {
	tip, top := l.tip, l.tip
	for tip.Seq > stop.Seq {
		e := l.entries[tip.Digest]
		if e == nil {
			return stop
		}
		if tip.Seq > stop.Seq+maxGrowth {
			top = Tip{e.Seq - 1, e.Parent}
		}
		tip = Tip{e.Seq - 1, e.Parent}
	}
	if tip != stop {
		return stop
	}
	return top
}

// Verdict says whether a cut can be voted for.
type Verdict uint8

// The verdicts on a cut.
const (
	Votable Verdict = iota
	Missing         // content is not here yet; it was asked for
	Refused         // another chain was acknowledged, the lane is frozen, or it is no position that a leader may name
)

// CheckCut says whether every new tip of cut on top of parent is certified, or is held back to the parent's tip
// with nothing else acknowledged in between (so that Lock will be allowed), and not too far above it. What is missing is asked for, first
// from hint, who proposed it. Where another header was acknowledged, hint is told which.
func (m *Machine) CheckCut(now protocols.Time, parent, cut Cut, hint protocols.Index) (Step, Verdict) {
	var st Step
	verdict := Votable
	for i, t := range cut {
		l := m.lanes[i]
		if t == parent[i] || l.certAt[t.Seq] == t.Digest && t.Seq > l.base.Seq {
			continue
		}
		if l.frozen || t.Seq > parent[i].Seq+maxGrowth {
			return st, Refused
		}
		for t.Seq > parent[i].Seq {
			e := l.entries[t.Digest]
			if e == nil {
				m.want(now, protocols.Index(i), t, fetchGrace, hint, protocols.Index(i))
				verdict = max(verdict, Missing)
				break
			}
			if e.Seq != t.Seq {
				return st, Refused // no such position: its owner could never go on from there, nor anyone fetch it
			}
			if d, ok := l.acked[t.Seq]; ok && d != t.Digest {
				if mine := l.entries[d]; mine != nil && hint != m.cfg.Self {
					st.Send(hint, &Conflict{*mine})
				}
				return st, Refused
			}
			t = Tip{e.Seq - 1, e.Parent}
		}
		if t.Seq == parent[i].Seq && t != parent[i] {
			return st, Refused
		}
	}
	return st, verdict
}

// Lock acknowledges all headers up to the uncertified tips of a cut that CheckCut found votable. It belongs to the
// same step as the vote.
func (m *Machine) Lock(now protocols.Time, parent, cut Cut) Step {
	var st Step
	for i, t := range cut {
		l := m.lanes[i]
		if t == parent[i] || l.certAt[t.Seq] == t.Digest {
			continue
		}
		var path []*SignedHeader
		for t.Seq > parent[i].Seq {
			e := l.entries[t.Digest]
			path = append(path, e)
			t = Tip{e.Seq - 1, e.Parent}
		}
		for k := len(path) - 1; k >= 0; k-- {
			if _, done := l.acked[path[k].Seq]; !done {
				m.ack(now, &st, l, path[k])
			}
		}
		if n := len(path); n > 0 {
			m.ackFrom(now, &st, l, l.child(path[0]))
		}
	}
	return st
}

// Ref names one batch of a committed block.
type Ref struct {
	Lane protocols.Index
	Tip  Tip
}

// Content lists the batches between two committed cuts in the order in which they are executed: lanes round-robin,
// each by number. If some are not here it asks signers for them and answers false. A lane whose chain misses the
// previous cut contributes nothing and is frozen, on every replica alike.
func (m *Machine) Content(now protocols.Time, prev, cut Cut, signers protocols.Set) (Step, []Ref, bool) {
	var st Step
	complete := true
	chains := make([][]Ref, len(cut))
	longest := 0
	for i, t := range cut {
		l := m.lanes[i]
		if l.frozen {
			continue
		}
		var rev []Ref
		for t.Seq > prev[i].Seq {
			e := l.entries[t.Digest]
			if e == nil {
				m.wantFrom(now, protocols.Index(i), t, prev[i].Seq, signers)
				complete = false
				break
			}
			rev = append(rev, Ref{protocols.Index(i), t})
			t = Tip{e.Seq - 1, e.Parent}
		}
		if t.Seq == prev[i].Seq && t != prev[i] {
			l.frozen = true
			st.Record(markKey(protocols.Index(i)), []byte{l.marks()})
			continue
		}
		for a, b := 0, len(rev)-1; a < b; a, b = a+1, b-1 {
			rev[a], rev[b] = rev[b], rev[a]
		}
		chains[i] = rev
		longest = max(longest, len(rev))
	}
	if !complete {
		return st, nil, false
	}
	var refs []Ref
	for k := range longest {
		for i := range chains {
			if k < len(chains[i]) {
				refs = append(refs, chains[i][k])
			}
		}
	}
	return st, refs, true
}

// Prefetch asks for the data between two committed cuts that are not yet the next to be executed.
func (m *Machine) Prefetch(now protocols.Time, prev, cut Cut, signers protocols.Set) {
	for i, t := range cut {
		if l := m.lanes[i]; !l.frozen && t.Seq > max(prev[i].Seq, l.base.Seq) && l.entries[t.Digest] == nil {
			m.wantFrom(now, protocols.Index(i), t, prev[i].Seq, signers)
		}
	}
}

// MaxAsking is how long a replica of a shard of n goes on asking for a batch that no committed cut names and nobody has.
func MaxAsking(n int) time.Duration { return time.Duration(askRounds*(n-1)) * fetchRetryMax }

type want struct {
	Ref
	after uint64            // what lies at or below it is asked for by itself
	ask   []protocols.Index // in turn
	turn  int
	next  protocols.Time
	pause time.Duration
}

// want asks for one batch, after a grace in which it may come by itself, from the replicas named and then everyone.
func (m *Machine) want(now protocols.Time, lane protocols.Index, t Tip, grace time.Duration, first ...protocols.Index) {
	at := Ref{lane, t}
	if m.wants[at] != nil || len(m.wants) >= 4*WindowHeaders*len(m.lanes) {
		return
	}
	w := &want{Ref: at, next: now.Add(grace), pause: fetchRetryMin}
	var in protocols.Set
	in.Add(m.cfg.Self)
	add := func(i protocols.Index) {
		if in.Add(i) {
			w.ask = append(w.ask, i)
		}
	}
	for _, i := range first {
		add(i)
	}
	for k := 1; k < len(m.lanes); k++ {
		add(protocols.Index((int(m.cfg.Self) + k) % len(m.lanes)))
	}
	m.wants[at] = w
}

// wantFrom asks for one batch of a committed block, and those between it and after, at once.
func (m *Machine) wantFrom(now protocols.Time, lane protocols.Index, t Tip, after uint64, signers protocols.Set) {
	if w := m.wants[Ref{lane, t}]; w != nil {
		if w.turn == 0 {
			w.next = now // it is committed: no longer wait for it to come by itself
		}
		return
	}
	first := []protocols.Index{lane}
	for _, i := range signers.Members() {
		if i != m.cfg.Self {
			first = append(first, i)
		}
	}
	m.want(now, lane, t, 0, first...)
	if w := m.wants[Ref{lane, t}]; w != nil {
		w.after = after
	}
}

func (m *Machine) fetchDue(now protocols.Time, st *Step) {
	var due []*want
	for _, w := range m.wants {
		if now >= w.next {
			due = append(due, w)
		}
	}
	sortWants(due)
	for _, w := range due {
		if w.turn >= askRounds*len(w.ask) && w.Tip.Seq > m.lanes[w.Lane].ordered.Seq {
			delete(m.wants, w.Ref)
			continue
		}
		to := w.ask[w.turn%len(w.ask)]
		w.turn++
		w.next = now.Add(w.pause)
		w.pause = min(2*w.pause, fetchRetryMax)
		st.Send(to, &Fetch{Lane: w.Lane, Tip: w.Tip, After: max(w.after, m.lanes[w.Lane].below(w.Tip))})
	}
}

// below is the highest number under t that needs no fetching.
func (l *lane) below(t Tip) uint64 {
	floor := l.base.Seq
	for s := range l.bySeq {
		if s < t.Seq {
			floor = max(floor, s)
		}
	}
	return min(floor, t.Seq-1)
}

// HandleFetch answers a peer that lacks batches, with the newest of those that it asks for, as many as a cut may name at most. Being asked for a tip that this replica proposed uncertified means
// the lane held up a slot: for a while it is proposed certified-only.
func (m *Machine) HandleFetch(now protocols.Time, from protocols.Index, f *Fetch) Step {
	var st Step
	l := m.lanes[f.Lane]
	if f.Tip.Digest.IsZero() {
		if f.Lane == m.cfg.Self && m.own.tip.Seq > f.After {
			st.Send(from, &Chain{Lane: f.Lane, Tip: m.own.tip, After: max(f.After, l.ordered.Seq)})
		}
		return st
	}
	if f.Tip.Seq > l.ordered.Seq && f.Tip.Seq > l.certified.Seq && f.Lane != m.cfg.Self && l.acked[f.Tip.Seq] == f.Tip.Digest {
		l.suspectUntil = now.Add(suspicion)
	}
	if e := l.entries[f.Tip.Digest]; f.Tip.Seq > l.base.Seq && (e == nil || e.Seq != f.Tip.Seq) {
		return st
	}
	st.Send(from, &Chain{Lane: f.Lane, Tip: f.Tip, After: max(f.After, f.Tip.Seq-min(f.Tip.Seq, maxGrowth))})
	return st
}

// Holds reports whether the batch is in memory's window and on disk.
func (m *Machine) Holds(lane protocols.Index, d digest.Digest) bool {
	return m.lanes[lane].entries[d] != nil
}
