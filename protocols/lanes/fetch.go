package lanes

import (
	"time"

	"bdtnode/protocols"
)

// MaxRequestTime is the longest time for which a replica of a shard of n requests a batch that no committed cut names
// and that nobody sends.
func MaxRequestTime(n int) time.Duration { return time.Duration(askRounds*(n-1)) * fetchRetryMax }

// want is a request for one batch.
type want struct {
	Ref
	named bool              // a cut names it; else only a batch that follows it
	after uint64            // batches at or below this number are requested separately
	ask   []protocols.Index // peers to ask, in turn
	turn  int               // number of requests sent
	next  protocols.Time    // time of the next request
	pause time.Duration     // until the request after that; doubles up to fetchRetryMax
}

// want requests one batch, after a grace in which the batch may arrive without a request: first from the given replicas,
// then from all others in turn. It does nothing if there are already 4·WindowHeaders requests for each lane on average.
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

// markNamed records that a cut names a requested batch.
func (m *Machine) markNamed(r Ref) {
	if w := m.wants[r]; w != nil {
		w.named = true
	}
}

// wantFrom requests one batch of a committed block without a grace, and with it the batches between it and number after.
func (m *Machine) wantFrom(now protocols.Time, lane protocols.Index, t Tip, after uint64, signers protocols.Set) {
	if w := m.wants[Ref{lane, t}]; w != nil {
		w.named = true
		if w.turn == 0 {
			w.next = now // it is committed: do not wait for the grace
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
		w.after, w.named = after, true
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

// HandleFetch answers a peer that lacks batches. The answer has the newest of the requested batches, at most as many as one
// cut may add to a lane. A leader also records that the peer lacks a batch which the leader may have proposed uncertified.
func (m *Machine) HandleFetch(now protocols.Time, from protocols.Index, f *Fetch) Step {
	var st Step
	l := m.lanes[f.Lane]
	if f.Tip.Digest.IsZero() {
		if f.Lane == m.cfg.Self && m.own.tip.Seq > f.After {
			st.Read(from, BatchRange{Lane: f.Lane, Tip: m.own.tip, After: max(f.After, l.ordered.Seq)})
		}
		return st
	}
	if f.Tip.Seq > l.ordered.Seq && l.acked[f.Tip.Seq] == f.Tip.Digest {
		l.lag.lacks(from, f.Tip.Seq)
	}
	if e := l.entries[f.Tip.Digest]; f.Tip.Seq > l.base.Seq && (e == nil || e.Seq != f.Tip.Seq) {
		return st
	}
	st.Read(from, BatchRange{Lane: f.Lane, Tip: f.Tip, After: max(f.After, f.Tip.Seq-min(f.Tip.Seq, maxGrowth))})
	return st
}
