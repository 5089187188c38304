package load

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
	"bdtnode/internal/sig"
	"bdtnode/ledger"
	"bdtnode/node/api"
	"bdtnode/node/api/client"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testHorizon = 10 * time.Minute

var testNet = digest.Of("test/network")

// testShard is a ledger with the real rules behind replicas that order each request at once.
type testShard struct {
	t      *testing.T
	scheme sig.Scheme
	funds  []sig.Signer

	mu       sync.Mutex
	state    *ledger.State
	seen     map[ledger.TxID]int // how often each transaction was submitted
	replicas []*testReplica
}

// testReplica is one of them, with a fault to show: before and after may answer instead of the ledger.
type testReplica struct {
	shard  *testShard
	server *httptest.Server
	before func(n int, txs [][]byte) []api.TxAnswer // n counts this replica's submissions from 1
	tx     func(id ledger.TxID) (api.TxAnswer, error)
	abort  func(n int) bool // breaks the connection instead of answering, once the ledger has the transactions
	posts  int
}

// newShard makes a shard whose accounts have so many outputs of an amount each, and a configuration of a load on it.
func newShard(t *testing.T, replicas, accounts int, outputs uint32, amount uint64) (*testShard, Config) {
	t.Helper()
	scheme := sig.NewIdeal(1)
	s := &testShard{t: t, scheme: scheme, seen: map[ledger.TxID]int{}}
	lc := ledger.Config{
		Network: testNet, Home: func(ledger.Address) uint16 { return 0 },
		GenesisTimeMS: uint64(time.Now().UnixMilli()), HorizonMS: uint64(testHorizon.Milliseconds()),
	}
	for i := range accounts {
		k := scheme.Signer(uint64(i))
		s.funds = append(s.funds, k)
		lc.Allocations = append(lc.Allocations, ledger.Allocation{Address: ledger.AddressOf(k.Public()), Amount: amount, Outputs: outputs})
	}
	var err error
	if s.state, err = ledger.Open(kv.NewMem(), lc); err != nil {
		t.Fatal(err)
	}
	c := Config{Network: testNet, Horizon: testHorizon, Funds: s.funds, Seed: 7}
	for range replicas {
		r := &testReplica{shard: s}
		handler := api.New(api.Config{}, r)
		r.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if req.Method == http.MethodPost {
				handler.ServeHTTP(&breaker{w, r}, req)
				return
			}
			handler.ServeHTTP(w, req)
		}))
		cl, err := client.New(r.server.URL, client.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			cl.Close()
			r.server.Close()
		})
		s.replicas, c.Clients = append(s.replicas, r), append(c.Clients, cl)
	}
	return s, c
}

// breaker breaks the connection of an answer that its replica is to lose.
type breaker struct {
	http.ResponseWriter
	r *testReplica
}

func (b *breaker) Unwrap() http.ResponseWriter { return b.ResponseWriter }

func (b *breaker) WriteHeader(status int) {
	b.r.shard.mu.Lock()
	abort := b.r.abort != nil && b.r.abort(b.r.posts)
	b.r.shard.mu.Unlock()
	if abort {
		panic(http.ErrAbortHandler)
	}
	b.ResponseWriter.WriteHeader(status)
}

func (r *testReplica) Submit(ctx context.Context, txs [][]byte, wait api.Wait) []api.TxAnswer {
	s := r.shard
	s.mu.Lock()
	r.posts++
	n := r.posts
	for _, raw := range txs {
		tx, err := ledger.VerifyTx(s.scheme, testNet, raw)
		if err != nil {
			s.t.Errorf("the load sends a transaction that is refused at the door: %v", err)
			continue
		}
		s.seen[tx.ID()]++
	}
	s.mu.Unlock()
	if wait != api.WaitSettled {
		s.t.Errorf("the load waits for %q", wait)
	}
	if r.before != nil {
		if answers := r.before(n, txs); answers != nil {
			return answers
		}
	}
	return s.execute(txs)
}

// execute orders the transactions in a block of their own.
func (s *testShard) execute(txs [][]byte) []api.TxAnswer {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := ledger.CheckPayload(s.scheme, testNet, ledger.EncodePayload(txs))
	if err != nil {
		s.t.Errorf("payload of the load: %v", err)
		return make([]api.TxAnswer, len(txs))
	}
	height := s.state.Height() + 1
	b, err := s.state.Execute(ledger.Ordered{Height: height, TimeMS: uint64(time.Now().UnixMilli()), Payloads: []*ledger.Payload{p}})
	if err != nil {
		s.t.Errorf("execute block %d: %v", height, err)
		return make([]api.TxAnswer, len(txs))
	}
	for _, l := range b.LeftOut {
		s.t.Errorf("the load sends a transaction that gets no answer: %v", l.Refusal)
	}
	answers := make([]api.TxAnswer, len(txs))
	for i, tx := range p.Txs {
		answers[i] = s.answer(tx.ID())
	}
	return answers
}

func (s *testShard) answer(id ledger.TxID) api.TxAnswer {
	r, ok, err := s.state.Receipt(id)
	if err != nil {
		s.t.Error(err)
	}
	switch {
	case !ok:
		return api.TxAnswer{ID: id, State: api.StateAccepted, TimedOut: true}
	case r.Verdict == ledger.VerdictRejected:
		return api.TxAnswer{ID: id, State: api.StateRejected, Reason: r.Reason.String(), Height: r.Height}
	}
	return api.TxAnswer{ID: id, State: api.StateSettled, Height: r.Height}
}

func (r *testReplica) Tx(id ledger.TxID) (api.TxAnswer, error) {
	if r.tx != nil {
		return r.tx(id)
	}
	r.shard.mu.Lock()
	defer r.shard.mu.Unlock()
	return r.shard.answer(id), nil
}

func (r *testReplica) Account(a ledger.Address, cursor string, limit int, older string, history int) (api.Account, error) {
	acc, err := r.shard.state.Account(a, ledger.Page{Cursor: cursor, Limit: limit, Older: older, HistoryLimit: history})
	out := api.Account{Address: a, Next: acc.Next}
	for _, u := range acc.Outputs {
		out.Outputs = append(out.Outputs, api.Output{Tx: u.Outpoint.Tx, Index: u.Outpoint.Index, Amount: u.Amount})
	}
	return out, err
}

func (r *testReplica) Block(uint16, uint64) (api.Block, error) { return api.Block{}, api.ErrNotFound }
func (r *testReplica) Status() api.Status                      { return api.Status{Ready: true} }
func (r *testReplica) Peers() []api.Peer                       { return nil }
func (r *testReplica) Audit(context.Context) (api.Audit, error) {
	return api.Audit{}, errors.New("not part of a load")
}

// finish runs a load and checks what holds of every result.
func (s *testShard) finish(ctx context.Context, c Config) (Result, error) {
	s.t.Helper()
	res, err := Run(ctx, c)
	if res.Submitted != res.Settled+res.Rejected+res.Pending {
		s.t.Errorf("submitted %d, settled %d, rejected %d, pending %d", res.Submitted, res.Settled, res.Rejected, res.Pending)
	}
	if res.WronglySettled != 0 || res.WronglyRejected != 0 {
		s.t.Errorf("%d wrongly settled, %d wrongly rejected: %v", res.WronglySettled, res.WronglyRejected, res.Reasons)
	}
	if p := res.Latency; p.P50 > p.P95 || p.P95 > p.P99 || (res.Settled > 0) != (p.P50 > 0) {
		s.t.Errorf("latencies %+v of %d settled", p, res.Settled)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if sent := res.Submitted - res.Unsent; uint64(len(s.seen)) > sent {
		s.t.Errorf("%d transactions reached the replicas, %d were sent: one was made anew instead of sent again", len(s.seen), sent)
	}
	if audit, err := s.state.Audit(context.Background()); err != nil || !audit.Conserved() {
		s.t.Errorf("value is not conserved: %+v, %v", audit, err)
	}
	return res, err
}

// complete runs a load of which every transaction must get its answer.
func (s *testShard) complete(c Config, rejected uint64) Result {
	s.t.Helper()
	res, err := s.finish(s.t.Context(), c)
	want := uint64(c.Rate*c.For.Seconds() + 0.5)
	if err != nil || res.Submitted != want || res.Pending != 0 || res.Rejected != rejected {
		s.t.Fatalf("%+v, %v; want %d submitted, %d rejected, none pending", res, err, want, rejected)
	}
	if len(s.seen) != int(want) {
		s.t.Errorf("%d different transactions for %d arrivals", len(s.seen), want)
	}
	return res
}
