package load

import (
	"fmt"
	"math"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// A histogram counts latencies from 1 microsecond to an hour, and a percentile differs from the exact one by at most a
// thousandth.
const (
	shortest = 1
	longest  = int64(time.Hour / time.Microsecond)
	digits   = 3
)

// Names of distributions.
const (
	Inside  = "inside"   // settled inside a shard, and pending with the waiting time so far
	Across  = "across"   // across shards, likewise
	Refused = "rejected" // rejected
)

// Distribution is the distribution of the latencies of one kind of outcome, in milliseconds.
type Distribution struct {
	Kind  string `json:"kind"` // inside, across or rejected
	Count uint64 `json:"count"`
	Percentiles
	P999      float64 `json:"p999"`
	Max       float64 `json:"max"`
	Mean      float64 `json:"mean"`
	Histogram string  `json:"hdr,omitempty"` // HDR histogram of microseconds: version 2, compressed, base64
}

// latencies are a histogram of latencies.
type latencies struct{ h *hdrhistogram.Histogram }

func (l *latencies) add(took time.Duration) { l.addSame(took, 1) }

// addSame adds n equal latencies.
func (l *latencies) addSame(took time.Duration, n int) {
	if l.h == nil {
		l.h = hdrhistogram.New(shortest, longest, digits)
	}
	// The value is in the range, so there is no error.
	_ = l.h.RecordValues(min(max(took.Microseconds(), shortest), longest), int64(n))
}

func (l *latencies) count() uint64 {
	if l.h == nil {
		return 0
	}
	return uint64(l.h.TotalCount())
}

func (l *latencies) reset() {
	if l.h != nil {
		l.h.Reset()
	}
}

// quantile is the least latency that at least a share q of them does not exceed, 0 if there are none.
func (l *latencies) quantile(q float64) time.Duration {
	if l.count() == 0 {
		return 0
	}
	n := float64(l.count())
	rank := math.Ceil(q*n - 1e-9)
	return time.Duration(l.h.ValueAtQuantile(100*(rank-0.25)/n)) * time.Microsecond // the library rounds 0.5 up to the next rank
}

func (l *latencies) percentiles() Percentiles {
	ms := func(q float64) float64 { return float64(l.quantile(q).Microseconds()) / 1000 }
	return Percentiles{P50: ms(0.50), P95: ms(0.95), P99: ms(0.99)}
}

// distribution describes the latencies of a kind.
func (l *latencies) distribution(kind string) Distribution {
	d := Distribution{Kind: kind, Count: l.count(), Percentiles: l.percentiles()}
	if d.Count == 0 {
		return d
	}
	d.P999, d.Max, d.Mean = float64(l.quantile(0.999).Microseconds())/1000, float64(l.h.Max())/1000, l.h.Mean()/1000
	text, err := l.h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	if err != nil {
		panic(fmt.Sprintf("load: encode a histogram: %v", err)) // it is in memory and in its bounds
	}
	d.Histogram = string(text)
	return d
}
