package lanes

import (
	"slices"
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
	// An answer that is arriving goes on with this batch, after so many bytes of payloads. Then not even a committed block
	// requests it before the grace is over.
	expected bool
	arrived  int
}

// AnswerBytes is the number of bytes of payloads after which an answer to a [Fetch] ends.
const AnswerBytes = 4 << 20

// wants are the open requests for batches.
type wants struct {
	self protocols.Index
	n    int           // replicas of the shard, and lanes
	open map[Ref]*want // by position, not by digest: a leader may name a batch with a wrong number or lane
}

// add requests one batch, after a grace in which the batch may arrive without a request: first from the given replicas,
// then from all others in turn. It does nothing if there are already 4·WindowHeaders requests for each lane on average.
func (x *wants) add(now protocols.Time, lane protocols.Index, t Tip, grace time.Duration, first ...protocols.Index) {
	at := Ref{lane, t}
	if x.open[at] != nil || len(x.open) >= 4*WindowHeaders*x.n {
		return
	}
	w := &want{Ref: at, next: now.Add(grace), pause: fetchRetryMin}
	var in protocols.Set
	in.Add(x.self)
	add := func(i protocols.Index) {
		if in.Add(i) {
			w.ask = append(w.ask, i)
		}
	}
	for _, i := range first {
		add(i)
	}
	for k := 1; k < x.n; k++ {
		add(protocols.Index((int(x.self) + k) % x.n))
	}
	x.open[at] = w
}

// markNamed records that a cut names a requested batch.
func (x *wants) markNamed(r Ref) {
	if w := x.open[r]; w != nil {
		w.named = true
	}
}

// addCommitted requests one batch of a committed block without a grace, and with it the batches between it and number after.
func (x *wants) addCommitted(now protocols.Time, lane protocols.Index, t Tip, after uint64, signers protocols.Set) {
	if w := x.open[Ref{lane, t}]; w != nil {
		w.named = true
		if w.turn == 0 && !w.expected {
			w.next = now // it is committed: do not wait for the grace
		}
		return
	}
	first := []protocols.Index{lane}
	for _, i := range signers.Members() {
		if i != x.self {
			first = append(first, i)
		}
	}
	x.add(now, lane, t, 0, first...)
	if w := x.open[Ref{lane, t}]; w != nil {
		w.after, w.named = after, true
	}
}

// expect is called when b arrives and its parent is wanted. If b was requested, or was itself expected, the rest of the answer
// follows on the same stream: without this rule each batch of a long chain would cause a request for all batches below it.
func (x *wants) expect(now protocols.Time, w *want, b *Batch) {
	if w == nil || w.turn == 0 && !w.expected {
		return
	}
	after, arrived := w.after, w.arrived+len(b.Payload)
	if w.turn > 0 {
		after, arrived = max(after, b.Seq-min(b.Seq, maxGrowth)), len(b.Payload)
	}
	p := x.open[Ref{b.Lane, Tip{b.Seq - 1, b.Parent}}]
	if p == nil || p.turn > 0 || p.Tip.Seq <= after || arrived >= AnswerBytes {
		return
	}
	p.expected, p.arrived, p.after, p.next = true, arrived, max(p.after, after), now.Add(fetchGrace)
}

// wake is the time of the next request, zero if there is none.
func (x *wants) wake() (at protocols.Time) {
	for _, w := range x.open {
		if at == 0 || w.next < at {
			at = w.next
		}
	}
	return at
}

// ask sends the requests that are due. It ends one that was sent askRounds times to each peer, unless its position is
// ordered.
func (x *wants) ask(now protocols.Time, st *Step, lanes []*lane) {
	var due []*want
	for _, w := range x.open {
		if now >= w.next {
			due = append(due, w)
		}
	}
	sortWants(due)
	for _, w := range due {
		if w.turn >= askRounds*len(w.ask) && w.Tip.Seq > lanes[w.Lane].ordered.Seq {
			delete(x.open, w.Ref)
			continue
		}
		to := w.ask[w.turn%len(w.ask)]
		w.turn++
		w.next = now.Add(w.pause)
		w.pause = min(2*w.pause, fetchRetryMax)
		st.Send(to, &Fetch{Lane: w.Lane, Tip: w.Tip, After: max(w.after, lanes[w.Lane].below(w.Tip))})
	}
}

// forget ends the requests for executed positions.
func (x *wants) forget(lanes []*lane) {
	for at := range x.open {
		if at.Tip.Seq <= lanes[at.Lane].base.Seq {
			delete(x.open, at)
		}
	}
}

func sortWants(ws []*want) {
	slices.SortFunc(ws, func(a, b *want) int {
		if a.Lane != b.Lane {
			return int(a.Lane) - int(b.Lane)
		}
		if a.Tip.Seq != b.Tip.Seq {
			if a.Tip.Seq < b.Tip.Seq {
				return -1
			}
			return 1
		}
		return slices.Compare(a.Tip.Digest[:], b.Tip.Digest[:])
	})
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
		l.lag.Lacks(from, f.Tip.Seq)
	}
	if e := l.entries[f.Tip.Digest]; f.Tip.Seq > l.base.Seq && (e == nil || e.Seq != f.Tip.Seq) {
		return st
	}
	st.Read(from, BatchRange{Lane: f.Lane, Tip: f.Tip, After: max(f.After, f.Tip.Seq-min(f.Tip.Seq, maxGrowth))})
	return st
}
