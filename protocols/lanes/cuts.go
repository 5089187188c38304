package lanes

import (
	"time"

	"bdtnode/protocols"
)

// maxUncertified is the number of payload bytes above the certified position by which a leader extends a lane in one cut
// without a certificate, one batch at least. It bounds the time for which a slot waits at a replica that lacks the batches.
const maxUncertified = 512 << 10

// restAfter is the time after which a leader looks again at a lane of which it proposed a part.
const restAfter = 10 * time.Millisecond

// ProposableCut is the highest cut that this replica can propose on top of parent. It comes with the certificates of
// the new tips that are in the cut because they are certified. The new tips of a lane that is proposed certified-only
// are all certified.
func (m *Machine) ProposableCut(now protocols.Time, parent Cut) (Cut, []*TipCertificate) {
	cut := make(Cut, len(m.lanes))
	copy(cut, parent)
	m.tipDue = 0
	var certs []*TipCertificate
	for i, l := range m.lanes {
		p := cut[i]
		tip := p
		if !l.certifiedOnly && l.tip.Seq > max(p.Seq, l.certified.Seq) {
			top := m.proposable(now, l)
			if tip = l.part(p, top); tip != top && tip != p {
				m.tipDue = protocols.Earliest(m.tipDue, now.Add(restAfter))
			}
		}
		switch {
		case l.frozen || l.bad:
		case tip.Seq > max(p.Seq, l.certified.Seq):
			cut[i] = tip
		case l.certified.Seq > p.Seq:
			cut[i] = l.certified
			certs = append(certs, l.cert)
		}
	}
	return cut, certs
}

// above gives the tip for a cut on top of stop: top if all headers between the two are held and linked to stop, else stop.
// top is acknowledged, so it is in the window.
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

// part is like above, with at most maxUncertified bytes above the certified position, or one batch.
func (l *lane) part(stop, top Tip) Tip {
	tip := l.above(stop, top)
	floor := max(stop.Seq, l.certified.Seq)
	for bytes := l.pathBytes(tip, floor); bytes > maxUncertified && tip.Seq > floor+1; {
		e := l.entries[tip.Digest]
		bytes -= int(e.Size)
		tip = Tip{e.Seq - 1, e.Parent}
	}
	return tip
}

// Verdict says whether this replica may vote for a cut.
type Verdict uint8

// The verdicts on a cut.
const (
	Votable Verdict = iota
	Missing         // content is missing and was requested, or the commit is missing that moves the window to the tip
	Refused         // another chain was acknowledged, the lane is frozen, or a position is invalid
)

// CheckCut reports whether this replica may vote for cut on top of parent. Every new tip must be certified, or all
// headers from it back to the tip in parent must be held, with no other header acknowledged at their numbers (so that
// AckCut will be allowed), and the tip must be in the window above the ordered position. The machine requests missing
// headers, first from hint, which is the proposer. For a tip beyond the window the verdict is Missing: the proposer
// already has the commit that moves the window. If another header is acknowledged, the machine sends it to hint as a
// [Conflict].
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
		if t.Seq > l.ordered.Seq+maxGrowth || l.pathBytes(t, l.ordered.Seq) > l.limit {
			m.beyondWindow = true
			verdict = max(verdict, Missing)
			continue
		}
		for t.Seq > parent[i].Seq {
			e := l.entries[t.Digest]
			if e == nil {
				m.wants.add(now, protocols.Index(i), t, fetchGrace, hint, protocols.Index(i))
				m.wants.markNamed(Ref{protocols.Index(i), t})
				verdict = max(verdict, Missing)
				break
			}
			if e.Seq != t.Seq {
				return st, Refused // no header has this number and digest: no header can follow it and nobody can send it
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

// AckCut acknowledges all headers up to the uncertified tips of a cut for which CheckCut returned Votable. Its step
// must be part of the same step as the vote.
func (m *Machine) AckCut(now protocols.Time, parent, cut Cut) Step {
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

// Content lists the batches between two committed cuts in the order of execution: round-robin over the lanes, each lane by
// number. If some are not held, it requests them from signers and returns false. If the chain of a lane does not contain
// the position of the previous cut, the lane contributes nothing from that block on, at every replica: it is frozen at its
// number in the previous cut. A frozen lane keeps that number, so a replica that executes earlier blocks again gets the
// same result.
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
				m.wants.addCommitted(now, protocols.Index(i), t, prev[i].Seq, signers)
				complete = false
				break
			}
			rev = append(rev, Ref{protocols.Index(i), t})
			t = Tip{e.Seq - 1, e.Parent}
		}
		if t.Seq == prev[i].Seq && t != prev[i] {
			l.frozen, l.frozenAt = true, t.Seq
			st.Record(markKey(protocols.Index(i)), l.marks())
			st.Blame(protocols.Index(i), "froze its lane at number %d: a committed chain does not contain that position", t.Seq)
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

// Prefetch requests the data between two committed cuts that will be executed later.
func (m *Machine) Prefetch(now protocols.Time, prev, cut Cut, signers protocols.Set) {
	for i, t := range cut {
		if l := m.lanes[i]; !(l.frozen && t.Seq > l.frozenAt) && t.Seq > max(prev[i].Seq, l.base.Seq) && l.entries[t.Digest] == nil {
			m.wants.addCommitted(now, protocols.Index(i), t, prev[i].Seq, signers)
		}
	}
}
