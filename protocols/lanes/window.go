package lanes

import "bdtnode/protocols"

// payloadBytes counts the payload bytes of a lane in the store.
type payloadBytes struct {
	held   int // above the ordered position
	acked  int // the acknowledged part of held
	behind int // ordered and not executed
}

// countBytes adds the payload of a header (sign 1) or removes it (sign -1).
func (l *lane) countBytes(h *SignedHeader, sign int) {
	if h.Seq > l.ordered.Seq {
		l.bytes.held += sign * int(h.Size)
	} else {
		l.bytes.behind += sign * int(h.Size)
	}
}

// pathBytes is the total payload of the held headers from a tip down to the one that follows a number.
func (l *lane) pathBytes(t Tip, floor uint64) int {
	sum := 0
	for t.Seq > floor {
		e := l.entries[t.Digest]
		if e == nil || e.Seq != t.Seq {
			break
		}
		sum += int(e.Size)
		t = Tip{e.Seq - 1, e.Parent}
	}
	return sum
}

// accepts reports whether to store a batch. w is the request that it answers, or nil. A batch that a cut names is always
// accepted. Another batch above the ordered position is accepted if it fits into the window. At or below the ordered position
// a requested batch is accepted; a batch without a request only if it is the first with its number and within the limit.
func (l *lane) accepts(b *Batch, w *want) bool {
	switch {
	case w != nil && w.named:
		return true
	case b.Seq > l.ordered.Seq:
		return b.Seq <= l.ordered.Seq+maxGrowth && l.bytes.held+int(b.Size) <= l.limit
	case w != nil:
		return true
	}
	return len(l.bySeq[b.Seq]) == 0 && l.bytes.behind+int(b.Size) <= l.limit
}

// Ordered is called when cut was committed. It moves the windows.
func (m *Machine) Ordered(now protocols.Time, cut Cut) Step {
	var st Step
	moved := false
	for i, t := range cut {
		l := m.lanes[i]
		if t.Seq <= l.ordered.Seq {
			continue
		}
		moved = true
		l.moveOrdered(t)
		if protocols.Index(i) == m.cfg.Self {
			m.own.forgetAcks(t.Seq)
			if m.own.tip.Seq < t.Seq {
				m.own.tip = t // own batches that this replica lost are ordered: continue after them
			}
		}
		m.ackFrom(now, &st, l, l.child(t))
		m.ackFrom(now, &st, l, l.child(l.tip)) // headers that were beyond the window before
		if l.refused && !l.frozen && l.bytes.held <= m.cfg.Window {
			l.refused = false
			st.Send(protocols.Index(i), &Fetch{Lane: protocols.Index(i), After: l.tip.Seq})
		}
	}
	if moved && m.beyondWindow {
		m.beyondWindow = false
		st.Emit(Output{Progressed: true})
	}
	return st
}

// moveOrdered moves the ordered position.
func (l *lane) moveOrdered(t Tip) {
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
	l.lag.Ordered(t.Seq)
	if l.tip.Seq < t.Seq {
		l.tip = t
	}
}

// Executed is called when all batches up to cut have been executed and their effects are durable elsewhere. It removes them
// from memory and deletes their acks.
func (m *Machine) Executed(cut Cut) Step {
	var st Step
	for i, t := range cut {
		l := m.lanes[i]
		if t.Seq <= l.base.Seq {
			continue
		}
		for s := l.base.Seq + 1; s <= t.Seq; s++ {
			for _, d := range l.bySeq[s] {
				l.countBytes(l.entries[d], -1)
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
	m.wants.forget(m.lanes)
	return st
}
