package load

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// maxSamples bounds the number of latencies kept: percentiles are exact up to that number, and computed from a uniform
// sample beyond it.
const maxSamples = 1 << 22

// tally counts the outcomes of transfers.
type tally struct {
	mu     sync.Mutex
	res    Result
	first  time.Duration // due time of the first arrival, since the start
	last   time.Duration // time of the latest final answer, since the start
	rng    *rand.Rand
	inside latencies   // of transfers settled in one shard
	across latencies   // of transfers settled across shards
	at     []latencies // of transfers settled in one shard, by the replica that they were sent to first
	to     *replicas
	open   map[*transfer]struct{}
	kinds  map[Kind]*KindResult
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

// latencies are the latencies of settled transfers, in microseconds.
type latencies struct {
	count  uint64
	kept   []uint32
	recent []uint32 // since the last sample
}

func (l *latencies) add(micros uint32, rng *rand.Rand) {
	l.count++
	if len(l.kept) < maxSamples {
		l.kept = append(l.kept, micros)
	} else if i := rng.Uint64N(l.count); i < maxSamples {
		l.kept[i] = micros
	}
	if len(l.recent) < maxSamples {
		l.recent = append(l.recent, micros)
	}
}

func (l *latencies) percentiles() Percentiles {
	slices.Sort(l.kept)
	ms := func(q float64) float64 { return float64(quantile(l.kept, q)) / 1000 }
	return Percentiles{P50: ms(0.50), P95: ms(0.95), P99: ms(0.99)}
}

// takeRecent returns the latencies added since its last call.
func (l *latencies) takeRecent() []uint32 {
	recent := l.recent
	l.recent = make([]uint32, 0, len(recent))
	return recent
}

// newTally starts a tally of a load on replicas whose first arrival is due at first.
func newTally(seed uint64, first time.Duration, to *replicas) *tally {
	return &tally{
		first: first, rng: rand.New(rand.NewPCG(seed, 3)), res: Result{Reasons: map[string]uint64{}}, open: map[*transfer]struct{}{},
		kinds: map[Kind]*KindResult{}, to: to, at: make([]latencies, len(to.clients)),
	}
}

// sent counts transfers that are about to be submitted.
func (t *tally) sent(batch []*transfer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.res.Submitted += uint64(len(batch))
	for _, tr := range batch {
		t.open[tr] = struct{}{}
		if tr.invalid() {
			t.of(tr.kind).Submitted++
		}
	}
}

func (t *tally) unsent(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.res.Unsent += uint64(n)
}

func (t *tally) settled(tr *transfer, now time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.open, tr)
	t.last = max(t.last, now)
	t.res.Settled++
	if tr.invalid() {
		t.of(tr.kind).Settled++
		if tr.pair == nil || tr.pair.settled > 0 {
			t.res.WronglySettled++
		}
	}
	if tr.pair != nil {
		tr.pair.settled++
	}
	if tr.cross {
		t.res.CrossSettled++
	}
	t.latency(tr, now)
}

// latency adds the time from the due time of a transfer to now.
func (t *tally) latency(tr *transfer, now time.Duration) {
	micros := uint32(min(max(0, (now-tr.due).Microseconds()), math.MaxUint32))
	if tr.cross {
		t.across.add(micros, t.rng)
	} else {
		t.inside.add(micros, t.rng)
		t.at[tr.first].add(micros, t.rng)
	}
}

func (t *tally) rejected(tr *transfer, reason string, now time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.open, tr)
	t.last = max(t.last, now)
	t.res.Rejected++
	t.res.Reasons[reason]++
	if !tr.invalid() {
		t.res.WronglyRejected++
		return
	}
	of := t.of(tr.kind)
	of.Rejected++
	of.Reasons[reason]++
}

func (t *tally) recovered(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.res.Recovered += uint64(n)
}

// sample returns the counts now, and the rate over the time since the last sample.
func (t *tally) sample(since time.Duration) Sample {
	t.mu.Lock()
	s := Sample{
		Submitted: t.res.Submitted, Unsent: t.res.Unsent, Settled: t.res.Settled, Rejected: t.res.Rejected,
		Open: t.res.Submitted - t.res.Settled - t.res.Rejected,
	}
	inside, across := t.inside.takeRecent(), t.across.takeRecent()
	t.mu.Unlock()
	slices.Sort(inside)
	slices.Sort(across)
	s.Rate = float64(len(inside)+len(across)) / since.Seconds()
	s.P50 = time.Duration(quantile(inside, 0.5)) * time.Microsecond
	s.CrossP50 = time.Duration(quantile(across, 0.5)) * time.Microsecond
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
	r := t.res
	for _, k := range Kinds {
		if of := t.kinds[k]; of != nil {
			of.Pending = of.Submitted - of.Settled - of.Rejected
			r.Invalid = append(r.Invalid, *of)
		}
	}
	r.Partial = partial
	r.Pending = r.Submitted - r.Settled - r.Rejected
	r.Latency, r.CrossLatency = t.inside.percentiles(), t.across.percentiles()
	for s, first := range t.to.first {
		var list []Percentiles
		for i := range t.to.count[s] {
			list = append(list, t.at[first+i].percentiles())
		}
		r.Replicas = append(r.Replicas, list)
	}
	if t.last > t.first {
		r.TPS = float64(r.Settled) / (t.last - t.first).Seconds()
	}
	return r
}

// quantile is the smallest of the sorted values that at least a share q of them does not exceed, 0 if there are none.
func quantile(sorted []uint32, q float64) uint32 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[max(0, int(math.Ceil(q*float64(len(sorted))))-1)]
}
