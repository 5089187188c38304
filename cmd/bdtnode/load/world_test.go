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
	"bdtnode/node/api/apitest"
	"bdtnode/node/client"
	"bdtnode/shard"
	"bdtnode/shard/settlement"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testHorizon = 10 * time.Minute

var testNet = digest.Of("test/network")

// testWorld is a network of ledgers with the real rules. Each is behind replicas that order each request at once in all
// its shards, and deliver messages between shards at once.
type testWorld struct {
	t      *testing.T
	scheme sig.Scheme
	funds  []sig.Signer

	mu       sync.Mutex
	states   []*ledger.State
	queues   [][]*ledger.Delivery // deliveries, by destination
	holding  int                  // submissions that hold the deliveries
	once     int                  // transactions that were submitted to one shard only
	seen     map[ledger.TxID]int  // number of submissions, by transaction
	txs      map[ledger.TxID]*ledger.Tx
	refused  map[ledger.TxID]ledger.Reason // finally refused, by a shard without any earlier part in the transaction
	replicas []*testReplica                // sorted by shard
}

// testReplica is a replica with a configurable fault: before and after may answer in place of the ledger.
type testReplica struct {
	world  *testWorld
	shard  uint16
	server *httptest.Server
	before func(n int, txs [][]byte) []api.TxAnswer // n counts the submissions to this replica from 1
	tx     func(id ledger.TxID) (api.TxAnswer, error)
	abort  func(n int) bool // breaks the connection instead of answering, after the ledger has executed the transactions
	posts  int
}

// newShard creates a network of one shard, see newWorld.
func newShard(t *testing.T, replicas, accounts int, outputs uint32, amount uint64) (*testWorld, Config) {
	t.Helper()
	return newWorld(t, 1, replicas, accounts, outputs, amount)
}

// newWorld creates a network and the configuration of a load on it. Each shard has the given number of replicas and of
// accounts; each account has the given number of outputs of one amount.
func newWorld(t *testing.T, shards, replicas, accounts int, outputs uint32, amount uint64) (*testWorld, Config) {
	t.Helper()
	scheme := sig.NewIdeal(1)
	w := &testWorld{
		t: t, scheme: scheme, queues: make([][]*ledger.Delivery, shards),
		seen: map[ledger.TxID]int{}, txs: map[ledger.TxID]*ledger.Tx{}, refused: map[ledger.TxID]ledger.Reason{},
	}
	lc := ledger.Config{
		Network: testNet, Home: w.home, Rules: settlement.Standard(),
		GenesisTimeMS: uint64(time.Now().UnixMilli()), HorizonMS: uint64(testHorizon.Milliseconds()),
	}
	at := make([]int, shards)
	for i := uint64(0); len(w.funds) < shards*accounts; i++ {
		k := scheme.Signer(i)
		a := ledger.AddressOf(k.Public())
		if at[w.home(a)]++; at[w.home(a)] > accounts {
			continue
		}
		w.funds = append(w.funds, k)
		lc.Allocations = append(lc.Allocations, ledger.Allocation{Address: a, Amount: amount, Outputs: outputs})
	}
	c := Config{Network: testNet, Horizon: testHorizon, Funds: w.funds, Seed: 7, Shards: make([][]*client.Client, shards)}
	for s := range shards {
		lc.Shard = uint16(s)
		state, err := ledger.Open(kv.NewMem(), lc)
		if err != nil {
			t.Fatal(err)
		}
		w.states = append(w.states, state)
		for range replicas {
			r := &testReplica{world: w, shard: lc.Shard}
			cl := r.serve(t)
			w.replicas, c.Shards[s] = append(w.replicas, r), append(c.Shards[s], cl)
		}
	}
	return w, c
}

func (w *testWorld) home(a ledger.Address) uint16 { return shard.Home(a, len(w.queues)) }

func (r *testReplica) serve(t *testing.T) *client.Client {
	t.Helper()
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
	return cl
}

// breaker breaks the connection of an answer that its replica is to lose.
type breaker struct {
	http.ResponseWriter
	r *testReplica
}

func (b *breaker) Unwrap() http.ResponseWriter { return b.ResponseWriter }

func (b *breaker) WriteHeader(status int) {
	b.r.world.mu.Lock()
	abort := b.r.abort != nil && b.r.abort(b.r.posts)
	b.r.world.mu.Unlock()
	if abort {
		panic(http.ErrAbortHandler)
	}
	b.ResponseWriter.WriteHeader(status)
}

func (r *testReplica) Submit(ctx context.Context, _ string, txs [][]byte, wait api.Wait, hints bool) []api.TxAnswer {
	w := r.world
	w.mu.Lock()
	r.posts++
	n := r.posts
	for _, raw := range txs {
		verified, err := ledger.VerifyTx(w.scheme, testNet, raw)
		if err != nil {
			w.t.Errorf("the load sends a transaction that the admission check refuses: %v", err)
			continue
		}
		tx := verified.Tx()
		w.seen[tx.ID()]++
		w.txs[tx.ID()] = tx
	}
	w.mu.Unlock()
	if wait != api.WaitSettled && wait != api.WaitAccepted {
		w.t.Errorf("the load waits for %q", wait)
	}
	if !hints {
		return w.submitOnce(r, txs)
	}
	if r.before != nil {
		if answers := r.before(n, txs); answers != nil {
			return answers
		}
	}
	return w.execute(txs)
}

// execute orders the transactions in the shards in which they spend, then the deliveries between shards, until no
// delivery is left.
func (w *testWorld) execute(txs [][]byte) []api.TxAnswer {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.order(txs, func(uint16, *ledger.Tx) bool { return true })
	w.deliver()
	return w.answers(txs)
}

// submitOnce orders transactions in the shard of a replica only, and lets a moment pass before the deliveries between
// shards, so that a transaction with the same inputs comes to another shard first.
func (w *testWorld) submitOnce(r *testReplica, txs [][]byte) []api.TxAnswer {
	w.mu.Lock()
	w.once += len(txs)
	w.holding++
	w.order(txs, func(s uint16, tx *ledger.Tx) bool {
		inputs := tx.Shards(w.home).Inputs
		return s == r.shard || !inputs.Has(r.shard) && s == inputs.Members()[0]
	})
	w.mu.Unlock()
	time.Sleep(10 * time.Millisecond)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.holding--
	w.deliver()
	return w.answers(txs)
}

// order executes transactions in shards in which they spend and for which in returns true.
func (w *testWorld) order(txs [][]byte, in func(shard uint16, tx *ledger.Tx) bool) {
	for s := range w.states {
		var of [][]byte
		for _, raw := range txs {
			tx, err := ledger.DecodeTx(raw)
			if err != nil {
				w.t.Errorf("transaction of the load: %v", err)
			} else if tx.Shards(w.home).Inputs.Has(uint16(s)) && in(uint16(s), tx) {
				of = append(of, raw)
			}
		}
		if len(of) > 0 {
			p, err := ledger.CheckPayload(nil, w.scheme, testNet, ledger.EncodePayload(of))
			if err != nil {
				w.t.Errorf("payload of the load: %v", err)
				return
			}
			w.block(s, p)
		}
	}
}

// deliver executes the deliveries between shards until none is left. It waits while a submission to one shard holds them.
func (w *testWorld) deliver() {
	for w.holding > 0 {
		w.mu.Unlock()
		time.Sleep(time.Millisecond)
		w.mu.Lock()
	}
	for s := 0; s < len(w.queues); s++ {
		if len(w.queues[s]) > 0 {
			w.block(s, nil)
			s = -1 // this block may have new deliveries for any shard
		}
	}
}

func (w *testWorld) answers(txs [][]byte) []api.TxAnswer {
	answers := make([]api.TxAnswer, len(txs))
	for i, raw := range txs {
		if tx, err := ledger.DecodeTx(raw); err == nil {
			answers[i], _ = w.answer(tx.ID())
		}
	}
	return answers
}

// block executes one block of a shard, with all its deliveries unless they are held.
func (w *testWorld) block(s int, p *ledger.Payload) {
	in := ledger.CommittedBlock{Height: w.states[s].Height() + 1, TimeMS: uint64(time.Now().UnixMilli())}
	if w.holding == 0 {
		in.Deliveries, w.queues[s] = w.queues[s], nil
	}
	if p != nil {
		in.Payloads = []*ledger.Payload{p}
	}
	b, err := w.states[s].Execute(in)
	if err != nil {
		w.t.Errorf("shard %d, execute block %d: %v", s, in.Height, err)
		return
	}
	for _, l := range b.LeftOut {
		if l.Refusal.Reason != ledger.ReasonUnknownInput && !l.Refusal.Final() {
			w.t.Errorf("the load sends a transaction that gets no answer: %v", l.Refusal)
		}
		w.refused[l.ID] = l.Refusal.Reason
	}
	for _, o := range b.Outbox {
		d := o.Delivery.Destination
		w.queues[d] = append(w.queues[d], o.Delivery)
	}
}

// answer combines the receipts of a transaction from all shards.
func (w *testWorld) answer(id ledger.TxID) (a api.TxAnswer, known bool) {
	a = api.TxAnswer{ID: id, State: api.StateAccepted, TimedOut: true}
	if reason, ok := w.refused[id]; ok {
		a, known = api.TxAnswer{ID: id, State: api.StateRejected, Reason: reason.String()}, true
		if reason == ledger.ReasonUnknownInput { // the input may come
			a = api.TxAnswer{ID: id, State: api.StateWaiting}
		}
	}
	for s, state := range w.states {
		r, ok, err := state.Receipt(id)
		if err != nil {
			w.t.Error(err)
		}
		if !ok {
			continue
		}
		known = true
		a = api.TxAnswer{ID: id, Shard: uint16(s), Height: r.Height, State: api.StateSettled}
		if r.Verdict != ledger.VerdictSettled {
			a.State, a.Reason = api.StateRejected, r.Reason.String()
		}
	}
	return a, known
}

func (r *testReplica) Tx(_ context.Context, id ledger.TxID) (api.TxAnswer, error) {
	if r.tx != nil {
		return r.tx(id)
	}
	return r.find(id)
}

// find returns the answer for a transaction, with its parts.
func (r *testReplica) find(id ledger.TxID) (api.TxAnswer, error) {
	w := r.world
	w.mu.Lock()
	defer w.mu.Unlock()
	a, known := w.answer(id)
	if !known {
		return a, api.ErrNotFound
	}
	for s, state := range w.states {
		p, ok, err := state.Part(id)
		if err != nil {
			w.t.Error(err)
		}
		if ok {
			part := api.Part{Shard: uint16(s), Stage: p.Stage.String(), Height: p.Height}
			if r, ok, err := state.Receipt(id); err == nil && ok && r.Verdict != ledger.VerdictSettled && r.Verdict != ledger.VerdictSpent {
				part.Reason = r.Reason.String()
			}
			a.Parts = append(a.Parts, part)
		}
	}
	return a, nil
}

func (r *testReplica) Trace(_ context.Context, _ ledger.TxID, _ bool) (api.Trace, error) {
	return api.Trace{}, api.ErrNotFound
}

func (r *testReplica) Account(_ context.Context, a ledger.Address, cursor string, limit int, older string, history int) (api.Account, error) {
	acc, err := r.world.states[r.world.home(a)].Account(a, ledger.Page{Cursor: cursor, Limit: limit, Older: older, HistoryLimit: history})
	out := api.Account{Address: a, Next: acc.Next}
	for _, u := range acc.Outputs {
		out.Outputs = append(out.Outputs, api.Output{Tx: u.Outpoint.Tx, Index: u.Outpoint.Index, Amount: u.Amount})
	}
	return out, err
}

func (r *testReplica) Block(context.Context, uint16, uint64) (api.Block, error) {
	return api.Block{}, api.ErrNotFound
}
func (r *testReplica) Status() api.Status                               { return api.Status{Ready: true} }
func (r *testReplica) Network(context.Context, bool) api.NetworkReports { return api.NetworkReports{} }
func (r *testReplica) Peers() []api.Peer                                { return nil }
func (r *testReplica) Events(q api.EventQuery) (api.EventStream, error) {
	return apitest.Listed(q), nil
}
func (r *testReplica) Proof(context.Context, ledger.TxID) ([]byte, error) {
	return nil, errors.New("not part of a load")
}

func (r *testReplica) Audit(context.Context) (api.Audit, error) {
	return api.Audit{}, errors.New("not part of a load")
}

// finish runs a load and checks the invariants of every result.
func (w *testWorld) finish(ctx context.Context, c Config) (Result, error) {
	w.t.Helper()
	res, err := Run(ctx, c)
	if res.Submitted != res.Settled+res.Rejected+res.Pending {
		w.t.Errorf("submitted %d, settled %d, rejected %d, pending %d", res.Submitted, res.Settled, res.Rejected, res.Pending)
	}
	if res.WronglySettled != 0 || res.WronglyRejected != 0 {
		w.t.Errorf("%d wrongly settled, %d wrongly rejected: %v", res.WronglySettled, res.WronglyRejected, res.Reasons)
	}
	for _, l := range []struct {
		p Percentiles
		n uint64
	}{{res.Latency, res.Settled - res.CrossSettled}, {res.CrossLatency, res.CrossSettled}} {
		if l.p.P50 > l.p.P95 || l.p.P95 > l.p.P99 || l.n > 0 && l.p.P50 == 0 || l.n+res.Pending == 0 && l.p.P50 > 0 {
			w.t.Errorf("latencies %+v of %d settled", l.p, l.n)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.Warmup == 0 && uint64(len(w.seen)) > res.Submitted { // a warm-up is not counted
		w.t.Errorf("%d transactions reached the replicas, %d were sent: a new one was made instead of sending the same again", len(w.seen), res.Submitted)
	}
	if audit := w.audit(); audit.Unspent != audit.Genesis || audit.Escrow != 0 {
		w.t.Errorf("value is not conserved: %+v", audit)
	}
	return res, err
}

// audit sums up the value of all shards.
func (w *testWorld) audit() (sum ledger.Audit) {
	w.t.Helper()
	for s, state := range w.states {
		a, err := state.Audit(w.t.Context())
		if err != nil || !a.Conserved() {
			w.t.Errorf("shard %d does not conserve value: %+v, %v", s, a, err)
		}
		sum.Outputs += a.Outputs
		sum.Unspent += a.Unspent
		sum.Escrow += a.Escrow
		sum.Genesis += a.Genesis
	}
	return sum
}

// complete runs a load and checks that every transaction gets its answer.
func (w *testWorld) complete(c Config, rejected uint64) Result {
	w.t.Helper()
	res, err := w.finish(w.t.Context(), c)
	want := uint64(c.Rate*c.For.Seconds() + 0.5)
	for _, k := range res.Invalid {
		if k.Kind == Conflict {
			rejected -= k.Settled // one of a pair
		}
	}
	if err != nil || res.Submitted != want || res.Pending != 0 || res.Rejected != rejected {
		w.t.Fatalf("%+v, %v; want %d submitted, %d rejected, none pending", res, err, want, rejected)
	}
	if len(w.seen) != int(want) {
		w.t.Errorf("%d different transactions for %d arrivals", len(w.seen), want)
	}
	return res
}
