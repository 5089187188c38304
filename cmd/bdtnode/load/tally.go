package load

import (
	"sync"
	"time"
)

// tally counts the outcomes of the transfers that are due in the measured time, and all for samples.
type tally struct {
	to *replicas

	mu     sync.Mutex
	res    Result
	all    Sample        // counts of the whole load
	from   time.Duration // begin of the measured time, since the start: the end of the warm-up, or the first arrival
	until  time.Duration // end of the measured time
	warmed bool          // there is a warm-up
	last   time.Duration // time of the latest final answer, since the start

	inside   latencies   // of transfers settled in one shard
	across   latencies   // of transfers settled across shards
	refused  latencies   // of rejected transfers
	at       []latencies // of transfers settled in one shard, by the replica that they were sent to first
	recent   latencies   // of all transfers settled in one shard since the last sample
	crossing latencies   // and across shards
	open     map[*transfer]struct{}
	kinds    map[Kind]*KindResult
	appends  map[*appending]struct{} // requests of payloads without a final answer
	endings  [endings]uint64         // of rejected transfers across shards
}

// newTally starts a tally of a load on replicas. Its measured time begins at first, when the first arrival is due, or
// after the warm-up.
func newTally(c *Config, first time.Duration, to *replicas) *tally {
	t := &tally{
		to: to, from: first, until: c.Warmup + c.For, warmed: c.Warmup > 0,
		res: Result{Reasons: map[string]uint64{}}, open: map[*transfer]struct{}{}, kinds: map[Kind]*KindResult{}, appends: map[*appending]struct{}{},
		at: make([]latencies, len(to.clients)),
	}
	if t.warmed {
		t.from = c.Warmup
	}
	return t
}

// of has the counts of a kind.
func (t *tally) of(k Kind) *KindResult {
	x := t.kinds[k]
	if x == nil {
		x = &KindResult{Kind: k, Reasons: make(map[string]uint64)}
		t.kinds[k] = x
	}
	return x
}

// measured reports whether an arrival counts: those of the warm-up do not.
func (t *tally) measured(due time.Duration) bool { return !t.warmed || due >= t.from }

// ends ends the measured time early.
func (t *tally) ends(now time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.until = min(t.until, now)
}

// sent counts transfers that are about to be submitted.
func (t *tally) sent(batch []*transfer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all.Submitted += uint64(len(batch))
	for _, tr := range batch {
		if !t.measured(tr.due) {
			continue
		}
		t.res.Submitted++
		t.open[tr] = struct{}{}
		if tr.invalid() {
			t.of(tr.kind).Submitted++
		}
	}
}

// unsent counts arrivals that are never sent.
func (t *tally) unsent(due []time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all.Unsent += uint64(len(due))
	for _, d := range due {
		if t.measured(d) {
			t.res.Unsent++
		}
	}
}

// accepted counts a transfer that a replica has accepted, once.
func (t *tally) accepted(tr *transfer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.accept(tr)
}

func (t *tally) accept(tr *transfer) {
	if !tr.accepted && t.measured(tr.due) {
		t.res.Accepted++
	}
	tr.accepted = true
}

func (t *tally) settled(tr *transfer, now time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all.Settled++
	if now >= t.from && now < t.until {
		t.res.Within++
		t.res.WithinBytes += uint64(len(tr.raw))
	}
	if tr.invalid() && (tr.pair == nil || tr.pair.settled > 0) {
		t.res.WronglySettled++
	}
	if tr.pair != nil {
		tr.pair.settled++
	}
	took := now - tr.due
	if tr.cross {
		t.crossing.add(took)
	} else {
		t.recent.add(took)
	}
	t.accept(tr)
	if !t.measured(tr.due) {
		return
	}
	delete(t.open, tr)
	t.last = max(t.last, now)
	t.res.Settled++
	if tr.invalid() {
		t.of(tr.kind).Settled++
	}
	if tr.cross {
		t.res.CrossSettled++
	}
	t.latency(tr, now)
}

// latency adds the time from the due time of a transfer to now.
func (t *tally) latency(tr *transfer, now time.Duration) {
	took := now - tr.due
	if tr.cross {
		t.across.add(took)
		return
	}
	t.inside.add(took)
	t.at[tr.first].add(took)
}

func (t *tally) rejected(tr *transfer, reason string, now time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all.Rejected++
	if !tr.invalid() {
		t.res.WronglyRejected++
	}
	if !t.measured(tr.due) {
		return
	}
	delete(t.open, tr)
	t.last = max(t.last, now)
	t.refused.add(now - tr.due)
	t.res.Rejected++
	t.res.Reasons[reason]++
	if tr.invalid() {
		of := t.of(tr.kind)
		of.Rejected++
		of.Reasons[reason]++
	}
}

// ended counts how a rejected transfer across shards ended, as far as answers have shown it. A later answer may show more.
func (t *tally) ended(tr *transfer, e ending) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !tr.cross || e <= tr.ending || !t.measured(tr.due) {
		return
	}
	if tr.ending != unknownEnding {
		t.endings[tr.ending]--
	}
	tr.ending = e
	t.endings[e]++
}

// unknown reports whether no answer has shown how a transfer ended.
func (t *tally) unknown(tr *transfer) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return tr.ending == unknownEnding
}

func (t *tally) recovered(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.res.Recovered += uint64(n)
}

// sample returns the counts of the whole load now, and the rate over the time since the last sample.
func (t *tally) sample(since time.Duration) Sample {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.all
	s.Open = s.Submitted - s.Settled - s.Rejected
	s.Rate = float64(t.recent.count()+t.crossing.count()) / since.Seconds()
	s.P50, s.CrossP50 = t.recent.quantile(0.5), t.crossing.quantile(0.5)
	t.recent.reset()
	t.crossing.reset()
	return s
}

// result is the final result, at a time since the start, after all work has ended. A transfer without an answer counts
// with its waiting time as its latency; without these, percentiles would cover fast transfers only.
func (t *tally) result(now time.Duration, partial bool) Result {
	t.mu.Lock()
	defer t.mu.Unlock()
	for tr := range t.open {
		if !tr.invalid() { // a rejection has no latency
			t.latency(tr, now)
		}
	}
	t.openPayloads(now)
	r := t.res
	for _, k := range Kinds {
		if of := t.kinds[k]; of != nil {
			of.Pending = of.Submitted - of.Settled - of.Rejected
			r.Invalid = append(r.Invalid, *of)
		}
	}
	r.Cancelled, r.ReturnedByCL, r.ReturnedByVerdict = t.endings[cancelled], t.endings[returnedByCL], t.endings[returnedByVerdict]
	r.Partial = partial
	r.Pending = r.Submitted - r.Settled - r.Rejected
	r.Latency, r.CrossLatency = t.inside.percentiles(), t.across.percentiles()
	r.Distributions = []Distribution{t.inside.distribution(Inside), t.across.distribution(Across), t.refused.distribution(Refused)}
	for s, first := range t.to.first {
		var list []Percentiles
		for i := range t.to.count[s] {
			list = append(list, t.at[first+i].percentiles())
		}
		r.Replicas = append(r.Replicas, list)
	}
	r.Measured = max(0, t.until-t.from)
	switch {
	case t.warmed && r.Measured > 0:
		r.TPS = float64(r.Within) / r.Measured.Seconds()
	case !t.warmed && t.last > t.from:
		r.TPS = float64(r.Settled) / (t.last - t.from).Seconds()
	}
	return r
}
