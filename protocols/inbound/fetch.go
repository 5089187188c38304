package inbound

import (
	"bytes"
	"cmp"
	"slices"
	"time"

	"bdtnode/protocols"
	"bdtnode/protocols/lanes"
)

// want is a request for the LDs of a part of a channel: from Tip down, above the number after. The LDs are requested from
// the newest to the oldest.
type want struct {
	Ref
	after uint64            // LDs at or below it are not requested
	ask   []protocols.Index // peers to ask, in turn
	turn  int               // index in ask of the next peer, modulo its length; 0 before the first request
	next  protocols.Time    // time of the next request
	pause time.Duration     // until the request after that; doubles up to fetchRetryMax
}

// want asks for the LDs from t down to after, without after itself, beginning at the first that is not held. The first
// request is sent after grace. Peers in first are asked before all others.
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

// moveOn continues a want after its LD arrived. An answer begins at the requested end and has as many LDs as fit into one
// answer, so the next request is for the first LD that is still missing.
func (m *Machine) moveOn(now protocols.Time, c *channel, w *want) {
	t, lacks := c.lacking(w.Tip, w.after)
	if !lacks || m.wants[Ref{w.Source, t}] != nil {
		return
	}
	w.Tip, w.pause, w.next = t, fetchRetryMin, now.Add(fetchGrace)
	w.turn = max(1, w.turn) - 1 // ask the peer that answered once more: it has the following LDs too
	m.wants[w.Ref] = w
}

// Wake is the time at which the machine next needs a Tick, or zero.
func (m *Machine) Wake() protocols.Time {
	at := m.tipDue
	for _, w := range m.wants {
		at = protocols.Earliest(at, w.next)
	}
	return at
}

// Tick sends the requests that are due, and reports an LD that is not held back any more.
func (m *Machine) Tick(now protocols.Time) Step {
	var st Step
	if m.tipDue != 0 && now >= m.tipDue {
		m.tipDue = 0
		st.Emit(Output{Progressed: true})
	}
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

// HandleFetchLD answers a peer that lacks LDs with a LDRange. A leader also records that the peer lacks an LD which the
// leader may have proposed uncertified.
func (m *Machine) HandleFetchLD(from protocols.Index, f *FetchLD) Step {
	var st Step
	if c := m.known(f.Source); c != nil {
		if f.Tip.Seq > c.ordered.Seq && c.own[f.Tip.Seq] == f.Tip.Digest {
			c.lag.Lacks(from, f.Tip.Seq)
		}
		st.Read(from, LDRange{Source: f.Source, Tip: f.Tip, After: f.After})
	}
	return st
}
