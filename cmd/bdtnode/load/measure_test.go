package load

import (
	"net/http"
	"slices"
	"testing"
	"time"

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

func TestQuantile(t *testing.T) {
	hundred := make([]uint32, 100)
	for i := range hundred {
		hundred[i] = uint32(i + 1)
	}
	for _, c := range []struct {
		sorted []uint32
		q      float64
		want   uint32
	}{
		{nil, 0.5, 0}, {[]uint32{7}, 0.5, 7}, {[]uint32{7}, 0.99, 7}, {[]uint32{1, 2}, 0.5, 1}, {[]uint32{1, 2, 3}, 0.5, 2},
		{hundred, 0.5, 50}, {hundred, 0.95, 95}, {hundred, 0.99, 99}, {hundred, 1, 100},
	} {
		if got := quantile(c.sorted, c.q); got != c.want {
			t.Errorf("quantile %g of %d values is %d, want %d", c.q, len(c.sorted), got, c.want)
		}
	}
}

// Latency counts from the due time of an arrival, and the rate from the first due arrival to the last answer.
func TestTally(t *testing.T) {
	ta := newTally(1, 2*time.Second, oneReplica())
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
	ta.unsent(3)
	s := ta.sample(2 * time.Second)
	if s.Submitted != 7 || s.Unsent != 3 || s.Settled != 3 || s.Rejected != 2 || s.Open != 2 || s.Rate != 1.5 || s.P50 != 300*time.Millisecond {
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
	if (r.Latency != Percentiles{300, 6000, 6000}) || r.TPS != 0.75 || r.CrossSettled != 0 || r.CrossLatency.P99 != 0 {
		t.Errorf("latency %+v, tps %g, across %d %+v", r.Latency, r.TPS, r.CrossSettled, r.CrossLatency)
	}
}

// Transfers across shards have latencies of their own, and are included in the number of settled transfers.
func TestTallyAcross(t *testing.T) {
	ta := newTally(1, 0, oneReplica())
	all := []*transfer{{due: time.Second}, {due: time.Second, cross: true}, {due: time.Second, cross: true}, {cross: true, kind: Spent}, {due: 2 * time.Second, cross: true}}
	ta.sent(all)
	ta.settled(all[0], 1100*time.Millisecond)
	ta.settled(all[1], 1250*time.Millisecond)
	ta.settled(all[2], 2*time.Second)
	ta.rejected(all[3], "consumed", 2*time.Second)
	ta.recovered(2)
	s := ta.sample(time.Second)
	if s.Settled != 3 || s.Rate != 3 || s.P50 != 100*time.Millisecond || s.CrossP50 != 250*time.Millisecond {
		t.Errorf("sample %+v", s)
	}
	r := ta.result(9*time.Second, false)
	if r.Settled != 3 || r.CrossSettled != 2 || r.Recovered != 2 || r.Partial || (r.Latency != Percentiles{100, 100, 100}) || (r.CrossLatency != Percentiles{1000, 7000, 7000}) {
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
