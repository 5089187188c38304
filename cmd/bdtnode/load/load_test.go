package load

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bdtnode/internal/sig"
	"bdtnode/ledger"
	"bdtnode/node/api"
	"bdtnode/node/client"
)

func TestLoadSettlesAndIsRejectedAsConfigured(t *testing.T) {
	s, c := newShard(t, 4, 3, 100, 1000)
	c.Rate, c.For, c.Invalid = 500, 1200*time.Millisecond, 0.1
	var samples []Sample
	c.Each = func(x Sample) { samples = append(samples, x) }
	res := s.complete(c, 60)
	sum := uint64(0)
	for _, n := range res.Reasons {
		sum += n
	}
	if sum != 60 || len(res.Invalid) != 5 {
		t.Errorf("reasons %v, kinds %+v, want 60 rejections of the 5 kinds inside a shard", res.Reasons, res.Invalid)
	}
	if res.TPS <= 0 {
		t.Errorf("tps %g", res.TPS)
	}
	for i, r := range s.replicas {
		if r.posts == 0 {
			t.Errorf("replica %d got no request", i)
		}
	}
	if len(samples) == 0 {
		t.Fatal("no sample in more than a second")
	}
	if x := samples[0]; x.Submitted == 0 || x.Settled == 0 || x.Rate <= 0 || x.P50 <= 0 || x.Elapsed <= 0 || x.Open != x.Submitted-x.Settled-x.Rejected {
		t.Errorf("sample %+v", x)
	}
}

// A long run reuses the outputs that it settles: here 2 outputs carry 300 transfers, because transfers split and pay
// them.
func TestOutputsAreSpentAgain(t *testing.T) {
	s, c := newShard(t, 2, 2, 1, 1<<20)
	c.Rate, c.For = 600, 500*time.Millisecond
	s.complete(c, 0)
	if audit := s.audit(); audit.Outputs < 10 {
		t.Errorf("%d outputs at the end: the load did not split outputs", audit.Outputs)
	}
}

// With one output of value 1 nothing can be split. Transfers form a chain, each waiting for the one before. Their
// latency includes the time since they were due, long before they could be sent: each link of the chain takes at least
// a tick.
func TestArrivalsWaitForOutputs(t *testing.T) {
	s, c := newShard(t, 2, 1, 1, 1)
	c.Rate, c.For = 5000, 10*time.Millisecond
	res := s.complete(c, 0)
	if least := float64((24*tick - c.For).Milliseconds()); res.Latency.P50 < least {
		t.Errorf("median latency of the chain %g ms, want at least %g: it was not counted from the due time", res.Latency.P50, least)
	}
}

// Most of the load spends the same few outputs again, and still all transfers have different ids.
func TestMostlyInvalidLoad(t *testing.T) {
	s, c := newShard(t, 2, 1, 40, 10)
	c.Rate, c.For, c.Invalid = 2000, 200*time.Millisecond, 0.8
	s.complete(c, 320)
}

func TestRefusedForLackOfSpaceIsSentElsewhere(t *testing.T) {
	s, c := newShard(t, 3, 2, 200, 10)
	c.Rate, c.For, c.Invalid = 300, 500*time.Millisecond, 0.2
	full := api.TxAnswer{State: api.StateUnknown, Reason: api.ReasonBookFull, RetryMS: 1}
	s.replicas[0].before = func(_ int, txs [][]byte) []api.TxAnswer { // never has space: 429
		return slices.Repeat([]api.TxAnswer{full}, len(txs))
	}
	s.replicas[1].before = func(n int, txs [][]byte) []api.TxAnswer { // sometimes has space for the first transaction only
		if n%2 == 0 {
			return nil
		}
		return append(s.execute(txs[:1]), slices.Repeat([]api.TxAnswer{full}, len(txs)-1)...)
	}
	s.complete(c, 30)
}

func TestTransientRefusalIsSentAgain(t *testing.T) {
	s, c := newShard(t, 2, 2, 200, 10)
	c.Rate, c.For = 100, 100*time.Millisecond
	s.replicas[0].before = func(_ int, txs [][]byte) []api.TxAnswer {
		return slices.Repeat([]api.TxAnswer{{State: api.StateUnknown, Reason: "unknown_input"}}, len(txs))
	}
	s.complete(c, 0)
}

func TestLostAnswersAreQueriedElsewhere(t *testing.T) {
	s, c := newShard(t, 3, 2, 200, 10)
	c.Rate, c.For, c.Invalid = 300, 500*time.Millisecond, 0.2
	s.replicas[0].abort = func(int) bool { return true }       // settles, and loses every answer
	s.replicas[1].abort = func(n int) bool { return n%3 == 0 } // loses every third answer
	s.complete(c, 30)
	if s.replicas[0].posts == 0 || s.replicas[1].posts == 0 {
		t.Error("the faults did not occur")
	}
}

func TestDeadReplicaIsSkipped(t *testing.T) {
	s, c := newShard(t, 3, 2, 200, 10)
	c.Rate, c.For = 300, 300*time.Millisecond
	s.replicas[0].server.Close() // also the first replica that is asked for outputs
	s.complete(c, 0)
}

func TestBusyReplicaIsSkipped(t *testing.T) {
	s, c := newShard(t, 2, 2, 200, 10)
	c.Rate, c.For = 300, 100*time.Millisecond
	busy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", api.ProblemType)
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprint(w, `{"status":503,"detail":"busy","retry_ms":1}`)
	}))
	defer busy.Close()
	c.Shards[0][1], _ = client.New(busy.URL, client.Options{})
	defer c.Shards[0][1].Close()
	s.complete(c, 0)
}

// A wait that ends without a final answer is followed by queries. Transfers that the replica has lost are submitted
// again.
func TestTimedOutTransfersAreQueried(t *testing.T) {
	s, c := newShard(t, 2, 2, 200, 10)
	c.Rate, c.For = 100, 100*time.Millisecond
	var asked, lost atomic.Int64
	for i, r := range s.replicas {
		r.before = func(n int, txs [][]byte) []api.TxAnswer {
			if n > 1 {
				return nil
			}
			if i == 0 { // ordered later, after the wait
				s.execute(txs)
			}
			return slices.Repeat([]api.TxAnswer{{State: api.StateAccepted, TimedOut: true}}, len(txs))
		}
	}
	s.replicas[0].tx = func(id ledger.TxID) (api.TxAnswer, error) {
		asked.Add(1)
		s.mu.Lock()
		defer s.mu.Unlock()
		a, _ := s.answer(id)
		return a, nil
	}
	s.replicas[1].tx = func(ledger.TxID) (api.TxAnswer, error) {
		lost.Add(1)
		return api.TxAnswer{}, api.ErrNotFound
	}
	s.complete(c, 0)
	if asked.Load() == 0 || lost.Load() == 0 {
		t.Errorf("%d queried, %d lost: the test needs both", asked.Load(), lost.Load())
	}
}

func TestWithoutAnAnswerIsPending(t *testing.T) {
	s, c := newShard(t, 1, 2, 200, 10)
	c.Rate, c.For, c.Drain = 100, 100*time.Millisecond, 50*time.Millisecond
	s.replicas[0].before = func(_ int, txs [][]byte) []api.TxAnswer {
		return slices.Repeat([]api.TxAnswer{{State: api.StateAccepted, TimedOut: true}}, len(txs))
	}
	res, err := s.finish(t.Context(), c)
	// A busy machine may be too late to submit some of them.
	if err != nil || res.Submitted+res.Unsent != 10 || res.Pending == 0 || res.Pending != res.Submitted || res.TPS != 0 {
		t.Errorf("%+v, %v", res, err)
	}
	if res.Latency.P50 < 50 { // each has waited at least for the drain
		t.Errorf("pending transfers do not count: %+v", res.Latency)
	}
}

// hold keeps a network from answering until n transactions have arrived or release is called.
func hold(s *testWorld, n int) (release func()) {
	var mu sync.Mutex
	arrived, gate := 0, make(chan struct{})
	open := sync.OnceFunc(func() { close(gate) })
	for _, r := range s.replicas {
		r.before = func(_ int, txs [][]byte) []api.TxAnswer {
			mu.Lock()
			arrived += len(txs)
			if arrived >= n {
				open()
			}
			mu.Unlock()
			<-gate
			return nil
		}
	}
	return open
}

// Nothing is answered before all transactions have arrived: a load that waited for answers would not end.
func TestSlowAnswersDelayNoArrival(t *testing.T) {
	s, c := newShard(t, 4, 2, 200, 10)
	c.Rate, c.For, c.Drain = 1000, 300*time.Millisecond, time.Minute
	defer hold(s, 300)()
	s.complete(c, 0)
}

func TestArrivalsBeyondTheBoundAreCounted(t *testing.T) {
	s, c := newShard(t, 2, 2, 200, 10)
	c.Rate, c.For, c.MaxInFlight, c.Drain = 1000, 200*time.Millisecond, 40, 200*time.Millisecond
	defer hold(s, 1000)()
	res, err := s.finish(t.Context(), c)
	if err != nil || res.Submitted != 40 || res.Unsent != 160 || res.Pending != 40 {
		t.Errorf("%+v, %v", res, err)
	}
}

func TestArrivalsWithoutOutputsAreCounted(t *testing.T) {
	s, c := newShard(t, 1, 1, 1, 1)
	c.Rate, c.For, c.Drain = 100, 100*time.Millisecond, 50*time.Millisecond
	defer hold(s, 100)()
	res, err := s.finish(t.Context(), c)
	if err != nil || res.Submitted != 1 || res.Pending != 1 || res.Unsent != 9 {
		t.Errorf("%+v, %v", res, err)
	}
}

func TestCancelledLoadReturnsItsResult(t *testing.T) {
	s, c := newShard(t, 2, 2, 200, 10)
	c.Rate, c.For = 500, time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for _, r := range s.replicas {
		r.before = func(n int, _ [][]byte) []api.TxAnswer {
			if n == 10 {
				cancel()
			}
			return nil
		}
	}
	res, err := s.finish(ctx, c)
	if !errors.Is(err, context.Canceled) || res.Settled == 0 {
		t.Errorf("%+v, %v", res, err)
	}
}

// TestStoppedLoadWaitsForAnswers: transfers submitted before a load is stopped still get their answers.
func TestStoppedLoadWaitsForAnswers(t *testing.T) {
	s, c := newShard(t, 2, 2, 200, 10)
	c.Rate, c.For = 500, time.Hour
	stop := make(chan struct{})
	c.Stop = stop
	for i, r := range s.replicas {
		r.before = func(n int, _ [][]byte) []api.TxAnswer {
			if i == 0 && n == 10 {
				close(stop)
			}
			return nil
		}
	}
	res, err := s.finish(t.Context(), c)
	if err != nil || !res.Partial || res.Settled == 0 || res.Pending != 0 {
		t.Errorf("%+v, %v", res, err)
	}
}

func TestPermanentErrorEndsTheLoad(t *testing.T) {
	_, c := newShard(t, 1, 2, 200, 10)
	handler := c.Shards[0][0]
	bad := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", api.ProblemType)
		w.WriteHeader(http.StatusUnprocessableEntity)
		fmt.Fprint(w, `{"status":422,"detail":"no such stage"}`)
	}))
	defer bad.Close()
	refusing, _ := client.New(bad.URL, client.Options{})
	defer refusing.Close()
	c.Shards[0] = []*client.Client{handler, refusing}
	c.Rate, c.For = 100, time.Hour
	if _, err := Run(t.Context(), c); err == nil || !strings.Contains(err.Error(), "no such stage") {
		t.Errorf("got %v", err)
	}
}

func TestNoOutputs(t *testing.T) {
	_, c := newShard(t, 1, 1, 10, 10)
	c.Rate, c.For = 100, time.Second
	c.Funds = []sig.Signer{sig.NewIdeal(1).Signer(99)}
	if _, err := Run(t.Context(), c); err == nil || !strings.Contains(err.Error(), "no unspent outputs") {
		t.Errorf("got %v", err)
	}
}

func TestConfigErrors(t *testing.T) {
	_, good := newShard(t, 1, 1, 1, 1)
	good.Rate, good.For = 1, time.Second
	nan := 0.0
	nan /= nan
	for name, change := range map[string]func(*Config){
		"no replica":     func(c *Config) { c.Shards = [][]*client.Client{nil} },
		"no shard":       func(c *Config) { c.Shards = nil },
		"across one":     func(c *Config) { c.Cross = 0.5 },
		"cross above 1":  func(c *Config) { c.Cross = 1.1 },
		"cross NaN":      func(c *Config) { c.Cross = nan },
		"no accounts":    func(c *Config) { c.Funds = nil },
		"no rate":        func(c *Config) { c.Rate = 0 },
		"rate NaN":       func(c *Config) { c.Rate = nan },
		"no time":        func(c *Config) { c.For = 0 },
		"too many":       func(c *Config) { c.Rate, c.For = 1e9, time.Hour },
		"share above 1":  func(c *Config) { c.Invalid = 1.1 },
		"negative share": func(c *Config) { c.Invalid = -0.1 },
		"share NaN":      func(c *Config) { c.Invalid = nan },
		"no horizon":     func(c *Config) { c.Horizon = 0 },
	} {
		c := good
		change(&c)
		if _, err := Run(t.Context(), c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestFetchCoinsTakesPagesOfAllAccounts(t *testing.T) {
	for shards := 1; shards <= 3; shards += 2 {
		_, c := newWorld(t, shards, 1, 3/shards, 2500, 5)
		for _, want := range []int{1, 10, 3000, 7500, 100_000} {
			b := newAccounts(&c)
			p, err := fetchCoins(t.Context(), b, newReplicas(c.Shards), want)
			if err != nil {
				t.Fatal(err)
			}
			got, owners := map[ledger.Outpoint]bool{}, map[int]int{}
			total := p.total
			for s := range p.coins {
				for len(p.coins[s]) > 0 {
					k := p.take(s)
					if got[k.point] || int(b.home[k.owner]) != s {
						t.Fatalf("output %v of account %d occurs twice, or in shard %d, want %d", k.point, k.owner, s, b.home[k.owner])
					}
					got[k.point] = true
					owners[k.owner]++
				}
			}
			if most := min(want, 7500); len(got) < most || len(got) > most+2 || total != len(got) || p.total != 0 {
				t.Errorf("%d outputs for %d arrivals, counted %d and then %d", len(got), want, total, p.total)
			}
			if want >= 10 && (len(owners) != 3 || max(owners[0], owners[1], owners[2])-min(owners[0], owners[1], owners[2]) > 2) {
				t.Errorf("outputs of accounts: %v", owners)
			}
		}
	}
}
