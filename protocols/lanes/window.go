package lanes

import "bdtnode/protocols"

// weight is the payload bytes that a lane has in store.
type weight struct {
	held   int // above the ordered position
	acked  int // of these, acknowledged
	behind int // ordered and not executed
}

// limit is how many bytes of a lane above the ordered position a receiver stores unasked and acknowledges: twice what its
// owner may have, since this replica may be as far behind its owner.
func (m *Machine) limit() int { return 2 * m.cfg.Window }

// weigh counts a header's payload, with sign 1 when it comes and -1 when it goes.
func (l *lane) weigh(h *SignedHeader, sign int) {
	if h.Seq > l.ordered.Seq {
		l.bytes.held += sign * int(h.Size)
	} else {
		l.bytes.behind += sign * int(h.Size)
	}
}

// pathBytes is the payload from a tip back to the ordered position, as far as it is held.
func (l *lane) pathBytes(t Tip) int {
	sum := 0
	for t.Seq > l.ordered.Seq {
		e := l.entries[t.Digest]
		if e == nil || e.Seq != t.Seq {
			break
		}
		sum += int(e.Size)
		t = Tip{e.Seq - 1, e.Parent}
	}
	return sum
}

// takes reports whether a batch is stored: what a cut names always is, the rest as far as the window goes. w is the
// question that it answers, if there is one. Of what is ordered and was not asked for, one header for a number is.
func (m *Machine) takes(l *lane, b *Batch, w *want) bool {
	switch {
	case w != nil && w.named:
		return true
	case b.Seq > l.ordered.Seq:
		return b.Seq <= l.ordered.Seq+maxGrowth && l.bytes.held+int(b.Size) <= m.limit()
	case w != nil:
		return true
	}
	return len(l.bySeq[b.Seq]) == 0 && l.bytes.behind+int(b.Size) <= m.limit()
}

// Ordered reports that cut was committed: the windows move.
func (m *Machine) Ordered(now protocols.Time, cut Cut) Step {
	var st Step
	moved := false
	for i, t := range cut {
		l := m.lanes[i]
		if t.Seq <= l.ordered.Seq {
			continue
		}
		moved = true
		m.shift(l, t)
		if protocols.Index(i) == m.cfg.Self {
			m.forgetAcks(t.Seq)
			if m.own.tip.Seq < t.Seq {
				m.own.tip = t // own batches that this replica lost are ordered: it goes on after them
			}
		}
		m.ackFrom(now, &st, l, l.child(t))
		m.ackFrom(now, &st, l, l.child(l.tip)) // which the window kept from it
		if l.refused && !l.frozen && l.bytes.held <= m.cfg.Window {
			l.refused = false
			st.Send(protocols.Index(i), &Fetch{Lane: protocols.Index(i), After: l.tip.Seq})
		}
	}
	if moved && m.beyond {
		m.beyond = false
		st.Emit(Output{Grew: true})
	}
	return st
}

// shift moves the ordered position of a lane.
func (m *Machine) shift(l *lane, t Tip) {
	for s := l.ordered.Seq + 1; s <= t.Seq; s++ {
		for _, d := range l.bySeq[s] {
			size := int(l.entries[d].Size)
			l.bytes.held -= size
			l.bytes.behind += size
			if l.acked[s] == d {
				l.bytes.acked -= size
			}
		}
	}
	l.ordered = t
	l.lag.ordered(t.Seq)
	if l.tip.Seq < t.Seq {
		l.tip = t
	}
}

// forgetAcks drops the acks of own batches up to a number.
func (m *Machine) forgetAcks(seq uint64) {
	for s := range m.acks {
		if s <= seq {
			delete(m.acks, s)
		}
	}
}

// Executed reports that everything up to cut has been executed and its effects are kept elsewhere: memory of it ends.
func (m *Machine) Executed(cut Cut) Step {
	var st Step
	for i, t := range cut {
		l := m.lanes[i]
		if t.Seq <= l.base.Seq {
			continue
		}
		for s := l.base.Seq + 1; s <= t.Seq; s++ {
			for _, d := range l.bySeq[s] {
				l.weigh(l.entries[d], -1)
				delete(l.entries, d)
			}
			delete(l.bySeq, s)
			delete(l.certAt, s)
			if _, ok := l.acked[s]; ok {
				delete(l.acked, s)
				st.Record(ackedKey(protocols.Index(i), s), nil)
			}
		}
		l.base = t
	}
	for at := range m.wants {
		if at.Tip.Seq <= m.lanes[at.Lane].base.Seq {
			delete(m.wants, at)
		}
	}
	return st
}
