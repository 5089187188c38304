package load

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// maxSamples bounds the latencies kept: percentiles are exact up to so many, beyond of a uniform sample of so many.
const maxSamples = 1 << 22

// tally counts what becomes of transfers.
type tally struct {
	mu        sync.Mutex
	res       Result
	first     time.Duration // when the first arrival was due, since the start
	last      time.Duration // latest final answer, since the start
	latencies []uint32      // microseconds, of settled ones
	rng       *rand.Rand
	recent    []uint32 // latencies since the last sample
}

// newTally starts a tally of a load whose first arrival is due at first.
func newTally(seed uint64, first time.Duration) *tally {
	return &tally{first: first, rng: rand.New(rand.NewPCG(seed, 3)), res: Result{Reasons: map[string]uint64{}}}
}

func (t *tally) arrived(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.res.Submitted += uint64(n)
}

func (t *tally) unsent(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.res.Unsent += uint64(n)
}

func (t *tally) settled(tr *transfer, now time.Duration) {
	latency := uint32(min(max(0, (now-tr.due).Microseconds()), math.MaxUint32))
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = max(t.last, now)
	t.res.Settled++
	if tr.invalid {
		t.res.WronglySettled++
	}
	if len(t.latencies) < maxSamples {
		t.latencies = append(t.latencies, latency)
	} else if i := t.rng.Uint64N(t.res.Settled); i < maxSamples {
		t.latencies[i] = latency
	}
	if len(t.recent) < maxSamples {
		t.recent = append(t.recent, latency)
	}
}

func (t *tally) rejected(tr *transfer, reason string, now time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = max(t.last, now)
	t.res.Rejected++
	t.res.Reasons[reason]++
	if !tr.invalid {
		t.res.WronglyRejected++
	}
}

// sample is the counts now, and the rate over the time since the last sample.
func (t *tally) sample(since time.Duration) Sample {
	t.mu.Lock()
	s := Sample{
		Submitted: t.res.Submitted, Settled: t.res.Settled, Rejected: t.res.Rejected,
		Open: t.res.Submitted - t.res.Settled - t.res.Rejected,
		Rate: float64(len(t.recent)) / since.Seconds(),
	}
	recent := t.recent
	t.recent = make([]uint32, 0, len(recent))
	t.mu.Unlock()
	slices.Sort(recent)
	s.P50 = time.Duration(quantile(recent, 0.5)) * time.Microsecond
	return s
}

// result is the final account. All work has ended.
func (t *tally) result() Result {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.res
	r.Pending = r.Submitted - r.Settled - r.Rejected
	slices.Sort(t.latencies)
	ms := func(q float64) float64 { return float64(quantile(t.latencies, q)) / 1000 }
	r.Latency = Percentiles{P50: ms(0.50), P95: ms(0.95), P99: ms(0.99)}
	if t.last > t.first {
		r.TPS = float64(r.Settled) / (t.last - t.first).Seconds()
	}
	return r
}

// quantile is the smallest of sorted values that a share q of them does not exceed, 0 of none.
func quantile(sorted []uint32, q float64) uint32 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[max(0, int(math.Ceil(q*float64(len(sorted))))-1)]
}
