package load

import (
	"sync"
	"testing"
	"time"

	"bdtnode/node/api"
)

// TestClosedLoop: a closed loop keeps exactly its number of transfers without an answer, and its latency counts from
// the moment at which it may send a transfer.
func TestClosedLoop(t *testing.T) {
	const outstanding, pause = 20, 30 * time.Millisecond
	s, c := newShard(t, 2, 2, 100, 1000)
	c.Rate, c.Closed, c.For, c.Warmup = 0, outstanding, 600*time.Millisecond, 100*time.Millisecond
	var mu sync.Mutex
	open, most := 0, 0
	for _, r := range s.replicas {
		r.before = func(_ int, txs [][]byte) []api.TxAnswer {
			mu.Lock()
			open += len(txs)
			most = max(most, open)
			mu.Unlock()
			time.Sleep(pause)
			answers := s.execute(txs)
			mu.Lock()
			open -= len(txs)
			mu.Unlock()
			return answers
		}
	}
	res, err := s.finish(t.Context(), c)
	if err != nil || res.Settled == 0 || res.Pending != 0 || res.Unsent != 0 || res.Accepted != res.Settled || res.Partial {
		t.Errorf("%+v, %v", res, err)
	}
	if most != outstanding {
		t.Errorf("%d transfers without an answer, want %d", most, outstanding)
	}
	if least := float64(pause.Milliseconds()); res.Latency.P50 < least || res.TPS > outstanding/pause.Seconds() {
		t.Errorf("%g tx/s with a median latency of %g ms", res.TPS, res.Latency.P50)
	}
}

// TestSignedBeforeTheLoad: with Presign all transfers of the load are signed before the first one is sent, and spend
// each other's outputs.
func TestSignedBeforeTheLoad(t *testing.T) {
	s, c := newShard(t, 2, 2, 1000, 1000)
	c.Rate, c.For, c.Warmup, c.Presign = 400, 800*time.Millisecond, 200*time.Millisecond, true
	begun, ended := 0, 0
	c.Window = func(begins bool) {
		if begins {
			begun++
		} else {
			ended++
		}
	}
	first := sync.OnceFunc(func() {
		if n := len(s.txs); n > 200 {
			t.Errorf("%d transfers in the first request", n)
		}
	})
	for _, r := range s.replicas {
		r.before = func(int, [][]byte) []api.TxAnswer {
			s.mu.Lock()
			first()
			s.mu.Unlock()
			return nil
		}
	}
	res, err := s.finish(t.Context(), c)
	if err != nil || res.Submitted != 320 || res.Settled != 320 || begun != 1 || ended != 1 || res.Measured != 800*time.Millisecond {
		t.Errorf("%+v, %v; the measured time began %d times and ended %d times", res, err, begun, ended)
	}
	b := newAccounts(&c)
	to := newReplicas(c.Shards)
	p, err := fetchCoins(t.Context(), b, to, 2000)
	if err != nil {
		t.Fatal(err)
	}
	g := newGenerator(&c, b, p, 5000)
	if !g.chain || g.ahead != 401 || cap(g.ready) != 401 {
		t.Errorf("chain %v, %d ahead", g.chain, g.ahead)
	}
}

// TestInputsAndOutputs: transfers inside a shard have the numbers of inputs and outputs asked for.
func TestInputsAndOutputs(t *testing.T) {
	s, c := newShard(t, 2, 2, 500, 1000)
	c.Rate, c.For, c.Inputs, c.Outputs = 200, 400*time.Millisecond, 3, 4
	s.complete(c, 0)
	for _, tx := range s.txs {
		if len(tx.Inputs) != 3 || len(tx.Outputs) != 4 {
			t.Errorf("%d inputs and %d outputs", len(tx.Inputs), len(tx.Outputs))
		}
	}
}
