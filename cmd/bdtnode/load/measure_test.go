package load

import (
	"math"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"bdtnode/node/client"
)

func TestScheduleHasOneArrivalInEachInterval(t *testing.T) {
	const n, span = 1000, 10 * time.Second
	draw := func(seed uint64) (due []time.Duration) {
		s := newSchedule(n, span, seed)
		for now := time.Duration(0); s.more(); now += 3 * time.Millisecond {
			before := len(due)
			due = s.take(now, due)
			for _, d := range due[before:] {
				if d > now || d <= now-3*time.Millisecond && before > 0 {
					t.Fatalf("an arrival due at %v was taken at %v", d, now)
				}
			}
		}
		return due
	}
	due := draw(1)
	if len(due) != n || !slices.IsSorted(due) {
		t.Fatalf("%d arrivals, sorted %v", len(due), slices.IsSorted(due))
	}
	for i, d := range due {
		if lo := span / n * time.Duration(i); d < lo || d > lo+span/n {
			t.Errorf("arrival %d is due at %v", i, d)
		}
	}
	if !slices.Equal(due, draw(1)) || slices.Equal(due, draw(2)) {
		t.Error("another seed gave the same arrivals")
	}
}

// TestQuantile: a quantile is the value of its rank, with an error of at most a thousandth.
func TestQuantile(t *testing.T) {
	hundred := make([]int, 100)
	for i := range hundred {
		hundred[i] = i + 1
	}
	for _, c := range []struct {
		values []int // milliseconds
		q      float64
		want   int
	}{
		{nil, 0.5, 0}, {[]int{7}, 0.5, 7}, {[]int{7}, 0.99, 7}, {[]int{1, 2}, 0.5, 1}, {[]int{1, 2, 3}, 0.5, 2},
		{hundred, 0.5, 50}, {hundred, 0.95, 95}, {hundred, 0.99, 99}, {hundred, 1, 100}, {hundred[:12], 0.95, 12}, {hundred[:12], 0.9, 11},
		{[]int{2_000_000, 30_000_000}, 0.5, 2_000_000}, {[]int{30_000_000}, 0.5, 3_600_000}, // up to an hour
	} {
		var l latencies
		for _, ms := range c.values {
			l.add(time.Duration(ms) * time.Millisecond)
		}
		if got, want := l.quantile(c.q), time.Duration(c.want)*time.Millisecond; !within(got.Seconds(), want.Seconds()) {
			t.Errorf("quantile %g of %d values is %v, want %v", c.q, len(c.values), got, want)
		}
	}
}

// within reports whether a value differs from another one by at most a thousandth.
func within(got, want float64) bool { return math.Abs(got-want) <= want/1000 }

// near reports whether percentiles differ from others by at most a thousandth.
func near(got, want Percentiles) bool {
	return within(got.P50, want.P50) && within(got.P95, want.P95) && within(got.P99, want.P99)
}

// TestDistribution: a distribution has the count, the mean and the longest latency, and its histogram can be decoded.
func TestDistribution(t *testing.T) {
	var l latencies
	if d := l.distribution(Inside); d.Count != 0 || d.Histogram != "" || d.Max != 0 {
		t.Errorf("of nothing: %+v", d)
	}
	for ms := 1; ms <= 1000; ms++ {
		l.add(time.Duration(ms) * time.Millisecond)
	}
	d := l.distribution(Across)
	if d.Kind != Across || d.Count != 1000 || !within(d.P999, 999) || !within(d.Max, 1000) || !within(d.Mean, 500.5) || !near(d.Percentiles, Percentiles{500, 950, 990}) {
		t.Errorf("%+v", d)
	}
	h, err := hdrhistogram.Decode([]byte(d.Histogram))
	if err != nil || h.TotalCount() != 1000 || !within(float64(h.ValueAtQuantile(50)), 500_000) {
		t.Errorf("decoded: %v, %v", h, err)
	}
}

// TestWarmupDoesNotCount: transfers that are due in the warm-up are in the samples, and not in the result; the rate is
// that of all answers in the measured time.
func TestWarmupDoesNotCount(t *testing.T) {
	c := &Config{Warmup: 2 * time.Second, For: 4 * time.Second}
	ta := newTally(c, time.Millisecond, oneReplica())
	all := []*transfer{{due: time.Second}, {due: time.Second}, {due: time.Second, kind: Spent}, {due: 3 * time.Second}, {due: 5 * time.Second}, {due: 5 * time.Second}}
	ta.sent(all)
	ta.accepted(all[5])
	ta.settled(all[0], 1100*time.Millisecond)
	ta.settled(all[1], 2500*time.Millisecond) // in the measured time, and due before it
	ta.rejected(all[2], "consumed", 1200*time.Millisecond)
	ta.settled(all[3], 3200*time.Millisecond)
	ta.settled(all[4], 7*time.Second) // after the measured time
	ta.unsent([]time.Duration{time.Second, 4 * time.Second})
	if s := ta.sample(time.Second); s.Submitted != 6 || s.Settled != 4 || s.Rejected != 1 || s.Unsent != 2 || s.Open != 1 {
		t.Errorf("sample %+v", s)
	}
	r := ta.result(8*time.Second, false)
	if r.Submitted != 3 || r.Settled != 2 || r.Rejected != 0 || r.Pending != 1 || r.Unsent != 1 || r.Accepted != 3 || len(r.Invalid) != 0 {
		t.Errorf("%+v", r)
	}
	if r.TPS != 0.5 || r.Measured != 4*time.Second || !near(r.Latency, Percentiles{2000, 3000, 3000}) {
		t.Errorf("%g tx/s in %v, %+v", r.TPS, r.Measured, r.Latency)
	}
	ta.ends(3 * time.Second)
	if r := ta.result(8*time.Second, true); r.Measured != time.Second || r.TPS != 2 {
		t.Errorf("ended early: %g tx/s in %v", r.TPS, r.Measured)
	}
}

// Latency counts from the due time of an arrival, and the rate from the first due arrival to the last answer.
func TestTally(t *testing.T) {
	ta := newTally(&Config{For: time.Hour}, 2*time.Second, oneReplica())
	all := []*transfer{
		{due: 2 * time.Second}, {due: 3 * time.Second}, {due: 3 * time.Second, kind: Spent},
		{due: 3 * time.Second, kind: Spent}, {due: 3 * time.Second}, {due: 4 * time.Second}, {due: 4 * time.Second, kind: Spent},
	}
	ta.sent(all)
	ta.settled(all[0], 2100*time.Millisecond)
	ta.settled(all[1], 5*time.Second)
	ta.settled(all[2], 3300*time.Millisecond)
	ta.rejected(all[3], "consumed", 6*time.Second)
	ta.rejected(all[4], "expired", 4*time.Second)
	ta.unsent(make([]time.Duration, 3))
	s := ta.sample(2 * time.Second)
	if s.Submitted != 7 || s.Unsent != 3 || s.Settled != 3 || s.Rejected != 2 || s.Open != 2 || s.Rate != 1.5 || !within(s.P50.Seconds(), 0.3) {
		t.Errorf("sample %+v", s)
	}
	if s := ta.sample(time.Second); s.Rate != 0 || s.P50 != 0 || s.Settled != 3 {
		t.Errorf("second without answers: %+v", s)
	}
	r := ta.result(10*time.Second, true)
	if r.Submitted != 7 || r.Settled != 3 || r.Rejected != 2 || r.Pending != 2 || r.Unsent != 3 || !r.Partial {
		t.Errorf("counts %+v", r)
	}
	if r.WronglySettled != 1 || r.WronglyRejected != 1 || r.Reasons["consumed"] != 1 || r.Reasons["expired"] != 1 {
		t.Errorf("wrong outcomes %+v", r)
	}
	// Latencies of 100, 300 and 2000 ms, and 6000 ms so far of the valid transfer without an answer.
	if !near(r.Latency, Percentiles{300, 6000, 6000}) || r.TPS != 0.75 || r.CrossSettled != 0 || r.CrossLatency.P99 != 0 {
		t.Errorf("latency %+v, tps %g, across %d %+v", r.Latency, r.TPS, r.CrossSettled, r.CrossLatency)
	}
}

// Transfers across shards have latencies of their own, and are included in the number of settled transfers.
func TestTallyAcross(t *testing.T) {
	ta := newTally(&Config{For: time.Hour}, 0, oneReplica())
	all := []*transfer{{due: time.Second}, {due: time.Second, cross: true}, {due: time.Second, cross: true}, {cross: true, kind: Spent}, {due: 2 * time.Second, cross: true}}
	ta.sent(all)
	ta.settled(all[0], 1100*time.Millisecond)
	ta.settled(all[1], 1250*time.Millisecond)
	ta.settled(all[2], 2*time.Second)
	ta.rejected(all[3], "consumed", 2*time.Second)
	ta.recovered(2)
	s := ta.sample(time.Second)
	if s.Settled != 3 || s.Rate != 3 || !within(s.P50.Seconds(), 0.1) || !within(s.CrossP50.Seconds(), 0.25) {
		t.Errorf("sample %+v", s)
	}
	r := ta.result(9*time.Second, false)
	if r.Settled != 3 || r.CrossSettled != 2 || r.Recovered != 2 || r.Partial || !near(r.Latency, Percentiles{100, 100, 100}) || !near(r.CrossLatency, Percentiles{1000, 7000, 7000}) {
		t.Errorf("%+v", r)
	}
}

// A request that a replica did not process may be sent again; a permanent error ends the load.
func TestRetryAfter(t *testing.T) {
	for want, err := range map[time.Duration]error{
		3 * time.Second: &client.ErrBookFull{RetryAfter: 3 * time.Second},
		2 * time.Second: &client.ProblemError{Status: http.StatusServiceUnavailable, RetryAfter: 2 * time.Second},
		0:               &client.ProblemError{Status: http.StatusRequestTimeout},
		-1:              &client.ProblemError{Status: http.StatusUnprocessableEntity},
	} {
		if got := (&run{}).retryAfter(err); got != want {
			t.Errorf("%v: %v, want %v", err, got, want)
		}
	}
}

// oneReplica is a network of one shard with one replica, for a tally.
func oneReplica() *replicas { return newReplicas([][]*client.Client{{nil}}) }
