package channels

import (
	"bytes"
	"cmp"
	"slices"
	"time"

	"bdtnode/protocols"
	"bdtnode/protocols/lanes"
)

// want is LDs that are asked for, from the end of a stretch of a channel to its beginning.
type want struct {
	Ref
	after uint64
	ask   []protocols.Index
	turn  int
	next  protocols.Time
	pause time.Duration
}

// want asks for the LDs from t down to but without number after, from the first of them that is not held.
func (m *Machine) want(now protocols.Time, source uint16, t lanes.Tip, after uint64, grace time.Duration, first ...protocols.Index) {
	t, lacks := m.chans[source].lacking(t, after)
	if !lacks {
		return
	}
	at := Ref{source, t}
	if w := m.wants[at]; w != nil {
		if w.turn == 0 {
			w.next = min(w.next, now.Add(grace))
		}
		return
	}
	if len(m.wants) >= Window*len(m.chans) {
		return
	}
	w := &want{Ref: at, after: after, next: now.Add(grace), pause: fetchRetryMin}
	var in protocols.Set
	in.Add(m.cfg.Self)
	for k := range len(first) + m.cfg.Committee.N() {
		i := protocols.Index((int(m.cfg.Self) + k - len(first)) % m.cfg.Committee.N())
		if k < len(first) {
			i = first[k]
		}
		if in.Add(i) {
			w.ask = append(w.ask, i)
		}
	}
	m.wants[at] = w
}

// moveOn goes on with a want whose LD has come: answers begin at its end, and hold as much as one answer may.
func (m *Machine) moveOn(now protocols.Time, c *channel, w *want) {
	t, lacks := c.lacking(w.Tip, w.after)
	if !lacks || m.wants[Ref{w.Source, t}] != nil {
		return
	}
	w.Tip, w.pause, w.next = t, fetchRetryMin, now.Add(fetchGrace)
	w.turn = max(1, w.turn) - 1 // the peer that answered has more
	m.wants[w.Ref] = w
}

// Wake is when the machine next wants a Tick, or zero.
func (m *Machine) Wake() protocols.Time {
	var at protocols.Time
	for _, w := range m.wants {
		if at == 0 || w.next < at {
			at = w.next
		}
	}
	return at
}

// Tick asks for what is missing.
func (m *Machine) Tick(now protocols.Time) Step {
	var st Step
	var due []*want
	for _, w := range m.wants {
		if now >= w.next {
			due = append(due, w)
		}
	}
	slices.SortFunc(due, func(a, b *want) int {
		return cmp.Or(bytes.Compare(a.Tip.Digest[:], b.Tip.Digest[:]), cmp.Compare(a.Tip.Seq, b.Tip.Seq), cmp.Compare(a.Source, b.Source))
	})
	for _, w := range due {
		st.Send(w.ask[w.turn%len(w.ask)], &FetchLD{Source: w.Source, Tip: w.Tip, After: max(w.after, w.Tip.Seq-min(w.Tip.Seq, Window))})
		w.turn++
		w.next = now.Add(w.pause)
		w.pause = min(2*w.pause, fetchRetryMax)
	}
	return st
}

// HandleFetchLD answers a peer that lacks LDs.
func (m *Machine) HandleFetchLD(from protocols.Index, f *FetchLD) Step {
	var st Step
	if m.known(f.Source) != nil {
		st.Send(from, &Stretch{Source: f.Source, Tip: f.Tip, After: f.After})
	}
	return st
}
