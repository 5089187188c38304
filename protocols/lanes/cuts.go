package lanes

import "bdtnode/protocols"

// View is the highest cut that this replica can propose on top of parent, with the certificates of those new tips
// that it has not itself acknowledged. With certifiedOnly every new tip is certified.
func (m *Machine) View(now protocols.Time, parent Cut) (Cut, []*TipCertificate) {
	cut := make(Cut, len(m.lanes))
	copy(cut, parent)
	m.ripeAt = 0
	var certs []*TipCertificate
	for i, l := range m.lanes {
		p := cut[i]
		tip := p
		if !l.certifiedOnly && l.tip.Seq > max(p.Seq, l.certified.Seq) {
			tip = l.above(p, m.ripe(now, l))
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

// above is how far a cut on top of stop may go: to top, which is acknowledged and so in the window, or not at all unless
// everything on the way is held and linked to stop.
func (l *lane) above(stop, top Tip) Tip {
	tip := top
	for tip.Seq > stop.Seq {
		e := l.entries[tip.Digest]
		if e == nil {
			return stop
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
	Missing         // content is not here yet and was asked for, or the commit that moves the window there is not
	Refused         // another chain was acknowledged, the lane is frozen, or it is no position that a leader may name
)

// CheckCut says whether every new tip of cut on top of parent is certified, or is in the window above the ordered position
// and held back to the parent's tip with nothing else acknowledged in between (so that Lock will be allowed). What is
// missing is asked for, first from hint, who proposed it. A tip beyond the window is missing the commit that moves it:
// the proposer has that one already. Where another header was acknowledged, hint is told which.
func (m *Machine) CheckCut(now protocols.Time, parent, cut Cut, hint protocols.Index) (Step, Verdict) {
	var st Step
	verdict := Votable
	for i, t := range cut {
		l := m.lanes[i]
		if t == parent[i] || l.certAt[t.Seq] == t.Digest && t.Seq > l.base.Seq {
			continue
		}
		if l.frozen {
			return st, Refused
		}
		if t.Seq > l.ordered.Seq+maxGrowth || l.pathBytes(t) > m.limit() {
			m.beyond = true
			verdict = max(verdict, Missing)
			continue
		}
		for t.Seq > parent[i].Seq {
			e := l.entries[t.Digest]
			if e == nil {
				m.want(now, protocols.Index(i), t, fetchGrace, hint, protocols.Index(i))
				m.name(Ref{protocols.Index(i), t})
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
			m.ackFrom(now, &st, l, l.child(path[0].Tip()))
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
// previous cut contributes nothing from that block on, on every replica alike: it is frozen at its number in that cut, so
// that one which executes the blocks before it once more executes the same.
func (m *Machine) Content(now protocols.Time, prev, cut Cut, signers protocols.Set) (Step, []Ref, bool) {
	var st Step
	complete := true
	chains := make([][]Ref, len(cut))
	longest := 0
	for i, t := range cut {
		l := m.lanes[i]
		if l.frozen && t.Seq > l.frozenAt {
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
			l.frozen, l.frozenAt = true, t.Seq
			st.Record(markKey(protocols.Index(i)), l.marks())
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
		if l := m.lanes[i]; !(l.frozen && t.Seq > l.frozenAt) && t.Seq > max(prev[i].Seq, l.base.Seq) && l.entries[t.Digest] == nil {
			m.wantFrom(now, protocols.Index(i), t, prev[i].Seq, signers)
		}
	}
}
