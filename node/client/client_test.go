package client_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"bdtnode/internal/digest"
	"bdtnode/ledger"
	"bdtnode/node/api"
	"bdtnode/node/api/apitest"
	"bdtnode/node/client"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// node is a backend with one transaction, one account and one block.
type node struct {
	unhinted bool // the last submission was without hints
	answer   func(i int, wait api.Wait) api.TxAnswer
	status   api.Status
	events   func(q api.EventQuery) (api.EventStream, error)
}

var (
	known   = ledger.TxID{1}
	unknown = ledger.TxID{2}
	owner   = ledger.Address{3}
)

func (n *node) Submit(ctx context.Context, _ string, txs [][]byte, wait api.Wait, hints bool) []api.TxAnswer {
	out := make([]api.TxAnswer, len(txs))
	n.unhinted = !hints
	for i, tx := range txs {
		a := n.answer(i, wait)
		a.ID = ledger.TxID(digest.Of("test/id", tx))
		out[i] = a
	}
	return out
}

func (n *node) Tx(_ context.Context, id ledger.TxID) (api.TxAnswer, error) {
	if id != known {
		return api.TxAnswer{}, api.ErrNotFound
	}
	return api.TxAnswer{ID: id, State: api.StateSettled, Height: 4}, nil
}

func (n *node) Trace(_ context.Context, id ledger.TxID, _ bool) (api.Trace, error) {
	return api.Trace{ID: id, Shards: []uint16{1}}, nil
}

func (n *node) Account(_ context.Context, a ledger.Address, cursor string, limit int, older string, history int) (api.Account, error) {
	if cursor == "bad" {
		return api.Account{}, api.ErrBadCursor
	}
	return api.Account{Address: a, Next: fmt.Sprint(cursor, "|", limit), Older: fmt.Sprint(older, "|", history)}, nil
}

func (n *node) Block(_ context.Context, shard uint16, height uint64) (api.Block, error) {
	if height > 4 {
		return api.Block{}, fmt.Errorf("height %d: %w", height, api.ErrNotFound)
	}
	return api.Block{Shard: shard, Height: height, Signers: []uint16{0, 2}}, nil
}

func (n *node) Status() api.Status { return n.status }
func (n *node) Network(_ context.Context, others bool) api.NetworkReports {
	return api.NetworkReports{Name: fmt.Sprint(others)}
}
func (n *node) Peers() []api.Peer { return []api.Peer{{Replica: 1, PeerID: "p"}} }
func (n *node) Events(q api.EventQuery) (api.EventStream, error) {
	if n.events != nil {
		return n.events(q)
	}
	return apitest.Listed(q, api.Event{Kind: api.EventCommit, Height: q.From.Height + 1, Commit: &api.CommitEvent{AtUS: 2}}), nil
}
func (n *node) Proof(_ context.Context, id ledger.TxID) ([]byte, error) { return id[:], nil }
func (n *node) Audit(context.Context) (api.Audit, error)                { return api.Audit{Unspent: 9}, nil }

func connect(t *testing.T, h http.Handler) *client.Client {
	t.Helper()
	s := httptest.NewServer(h)
	c, err := client.New(s.URL, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		s.Close()
	})
	return c
}

func TestReads(t *testing.T) {
	n := &node{status: api.Status{Height: 4, Ready: true}}
	c, ctx := connect(t, api.New(api.Config{}, n)), t.Context()

	if a, err := c.Tx(ctx, known); err != nil || a.ID != known || a.State != api.StateSettled {
		t.Errorf("Tx: %+v, %v", a, err)
	}
	a, err := c.Account(ctx, owner, client.AccountQuery{Outputs: 7, Cursor: "c&d", History: 3, Older: "o"})
	if err != nil || a.Address != owner || a.Next != "c&d|7" || a.Older != "o|3" {
		t.Errorf("Account: %+v, %v", a, err)
	}
	if a, err := c.Account(ctx, owner, client.AccountQuery{}); err != nil || a.Next != "|0" || a.Older != "|0" {
		t.Errorf("Account without pages: %+v, %v", a, err)
	}
	if b, err := c.Block(ctx, 2, 4); err != nil || b.Shard != 2 || b.Height != 4 || !slices.Equal(b.Signers, []uint16{0, 2}) {
		t.Errorf("Block: %+v, %v", b, err)
	}
	if s, err := c.Status(ctx); err != nil || s.Height != 4 {
		t.Errorf("Status: %+v, %v", s, err)
	}
	if p, err := c.Peers(ctx); err != nil || len(p) != 1 || p[0].PeerID != "p" {
		t.Errorf("Peers: %+v, %v", p, err)
	}
	if l, err := c.Commits(ctx, 1<<62); err != nil || len(l) != 1 || l[0].Height != 1<<62+1 || l[0].AtUS != 2 {
		t.Errorf("Commits: %+v, %v", l, err)
	}
	if p, err := c.Proof(ctx, ledger.TxID{4}); err != nil || ledger.TxID(p) != (ledger.TxID{4}) {
		t.Errorf("Proof: %x, %v", p, err)
	}
	if a, err := c.Audit(ctx); err != nil || a.Unspent != 9 {
		t.Errorf("Audit: %+v, %v", a, err)
	}
	if ready, reason, err := c.Ready(ctx); !ready || reason != "" || err != nil {
		t.Errorf("Ready: %v %q %v", ready, reason, err)
	}
	n.status = api.Status{NotReady: "2 of 3 peers"}
	if ready, reason, err := c.Ready(ctx); ready || reason != "2 of 3 peers" || err != nil {
		t.Errorf("Ready: %v %q %v", ready, reason, err)
	}
}

// TestMove: a client follows its replica to another address, and keeps its address if the new one is invalid.
func TestMove(t *testing.T) {
	before := connect(t, api.New(api.Config{}, &node{status: api.Status{Height: 1}}))
	after := connect(t, api.New(api.Config{}, &node{status: api.Status{Height: 2}}))
	c, err := client.New(before.URL(), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Move("ftp://x"); err == nil {
		t.Error("moved to an invalid address")
	}
	if s, err := c.Status(t.Context()); err != nil || s.Height != 1 {
		t.Errorf("before: %+v %v", s, err)
	}
	if err := c.Move(after.URL() + "/"); err != nil || c.URL() != after.URL() {
		t.Errorf("%v, at %s", err, c.URL())
	}
	if s, err := c.Status(t.Context()); err != nil || s.Height != 2 {
		t.Errorf("after: %+v %v", s, err)
	}
}

func TestNotFound(t *testing.T) {
	c := connect(t, api.New(api.Config{}, &node{}))
	if _, err := c.Tx(t.Context(), unknown); !errors.Is(err, client.ErrNotFound) || !strings.Contains(err.Error(), unknown.String()) {
		t.Errorf("Tx: %v", err)
	}
	if _, err := c.Block(t.Context(), 0, 5); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("Block: %v", err)
	}
}

func TestSubmit(t *testing.T) {
	states := []api.State{api.StateSettled, api.StateRejected, api.StateAccepted}
	n := &node{answer: func(i int, wait api.Wait) api.TxAnswer {
		return api.TxAnswer{State: states[i%3], Reason: string(wait)}
	}}
	c := connect(t, api.New(api.Config{}, n))
	txs := [][]byte{{1}, bytes.Repeat([]byte{2}, 1000), {3}}
	got, err := c.Submit(t.Context(), txs, api.WaitSettled, time.Hour) // longer than MaxWait is shortened to MaxWait
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range got {
		if a.ID != ledger.TxID(digest.Of("test/id", txs[i])) || a.State != states[i] || a.Reason != string(api.WaitSettled) {
			t.Errorf("answer %d: %+v", i, a)
		}
	}
	if n.unhinted {
		t.Error("submitted without hints")
	}
	if got, err := c.SubmitOnce(t.Context(), txs, api.WaitSettled, time.Second); err != nil || len(got) != len(txs) || !n.unhinted {
		t.Errorf("submitted to one shard only: %d answers, %v, without hints: %v", len(got), err, n.unhinted)
	}
	if got, err := c.Trace(t.Context(), known, true); err != nil || got.ID != known {
		t.Errorf("Trace: %+v, %v", got, err)
	}
	most := slices.Repeat([][]byte{{1}}, api.MaxTxsPerRequest)
	if got, err := c.Submit(t.Context(), most, api.WaitAccepted, 0); err != nil || len(got) != len(most) {
		t.Errorf("largest number of transactions: %d answers, %v", len(got), err)
	}
	for _, n := range []int{0, api.MaxTxsPerRequest + 1} {
		if _, err := c.Submit(t.Context(), make([][]byte, n), api.WaitAccepted, time.Second); err == nil {
			t.Errorf("%d transactions in one request are accepted", n)
		}
	}
}

func TestBookFull(t *testing.T) {
	n := &node{answer: func(int, api.Wait) api.TxAnswer {
		return api.TxAnswer{Reason: api.ReasonBookFull, RetryMS: 250}
	}}
	_, err := connect(t, api.New(api.Config{}, n)).Submit(t.Context(), [][]byte{{1}}, api.WaitSettled, time.Second)
	var full *client.ErrBookFull
	if !errors.As(err, &full) || full.RetryAfter != 250*time.Millisecond {
		t.Errorf("got %v", err)
	}
}

func TestProblem(t *testing.T) {
	c := connect(t, api.New(api.Config{}, &node{}))
	_, err := c.Account(t.Context(), owner, client.AccountQuery{Outputs: api.MaxPage + 1})
	var p *client.ProblemError
	if !errors.As(err, &p) || p.Status != http.StatusUnprocessableEntity || len(p.Fields) != 1 || !strings.Contains(p.Fields[0], "query.limit") {
		t.Errorf("page too large: %v", err)
	}
	_, err = c.Account(t.Context(), owner, client.AccountQuery{Cursor: "bad"})
	if !errors.As(err, &p) || !strings.Contains(p.Detail, "cursor") {
		t.Errorf("bad cursor: %v", err)
	}
	busy := connect(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", api.ProblemType)
		w.Header().Set("Retry-After", "3")
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprint(w, `{"status":503,"detail":"busy"}`)
	}))
	if _, err := busy.Status(t.Context()); !errors.As(err, &p) || p.RetryAfter != 3*time.Second || p.Detail != "busy" {
		t.Errorf("busy: %v", err)
	}
}

func TestUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close() // no listener is left at this address
	c, _ := client.New(l.Addr().String(), client.Options{})
	_, err = c.Status(t.Context())
	if !errors.Is(err, client.ErrUnreachable) || errors.Is(err, client.ErrInterrupted) || !strings.Contains(err.Error(), l.Addr().String()) {
		t.Errorf("no listener: %v", err)
	}
	if _, _, err := c.Ready(t.Context()); !errors.Is(err, client.ErrUnreachable) {
		t.Errorf("Ready: %v", err)
	}

	drop := connect(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }))
	_, err = drop.Submit(t.Context(), [][]byte{{1}}, api.WaitSettled, time.Second)
	if !errors.Is(err, client.ErrUnreachable) || !errors.Is(err, client.ErrInterrupted) {
		t.Errorf("the connection broke before the answer: %v", err)
	}

	reset := connect(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, _ := http.NewResponseController(w).Hijack()
		_ = conn.(*net.TCPConn).SetLinger(0) // close with a reset, as after the death of the process
		_ = conn.Close()
	}))
	if _, err := reset.Submit(t.Context(), [][]byte{{1}}, api.WaitSettled, time.Second); !errors.Is(err, client.ErrInterrupted) {
		t.Errorf("the connection was reset: %v", err)
	}

	cut := connect(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		fmt.Fprint(w, `{`)
	}))
	if _, err := cut.Status(t.Context()); !errors.Is(err, client.ErrInterrupted) {
		t.Errorf("the connection broke in the answer: %v", err)
	}
}

// A submission is sent again if a kept connection breaks just as it is used.
func TestSubmitSurvivesAStaleConnection(t *testing.T) {
	n := &node{answer: func(int, api.Wait) api.TxAnswer { return api.TxAnswer{State: api.StateSettled} }}
	served := api.New(api.Config{}, n)
	var requests atomic.Int64
	c := connect(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if requests.Add(1) == 2 {
			panic(http.ErrAbortHandler)
		}
		served.ServeHTTP(w, r)
	}))
	for i := range 2 {
		if _, err := c.Submit(t.Context(), [][]byte{{1}}, api.WaitSettled, time.Second); err != nil {
			t.Errorf("submission %d: %v", i, err)
		}
	}
	if requests.Load() != 3 {
		t.Errorf("%d requests arrived, want 3", requests.Load())
	}
}

func TestEveryCallEnds(t *testing.T) {
	release := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer s.Close()
	defer close(release)
	c, err := client.New(s.URL, client.Options{Timeout: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Status(t.Context()); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, client.ErrUnreachable) {
		t.Errorf("Status: %v", err)
	}
	if _, err := c.Submit(t.Context(), [][]byte{{1}}, api.WaitSettled, time.Millisecond); !errors.Is(err, client.ErrInterrupted) {
		t.Errorf("Submit: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Audit(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Audit: %v", err)
	}
}

func TestInvalidAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		body   string
		words  string
	}{
		"another server":       {404, "<html>no such page</html>", "address of a replica"},
		"no JSON":              {200, "<html>hello</html>", "same version"},
		"answers for too many": {200, `{"answers":[{},{}]}`, "2 transactions, want 1"},
		"invalid id":           {200, `{"answers":[{"id":"xyz"}]}`, "same version"},
	} {
		t.Run(name, func(t *testing.T) {
			cl := connect(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(c.status)
				fmt.Fprint(w, c.body)
			}))
			_, err := cl.Submit(t.Context(), [][]byte{{1}}, api.WaitSettled, time.Second)
			if err == nil || errors.Is(err, client.ErrNotFound) || !strings.Contains(err.Error(), c.words) {
				t.Errorf("got %v, want %q", err, c.words)
			}
		})
	}
}

func TestNew(t *testing.T) {
	for in, want := range map[string]string{
		"127.0.0.1:8080":       "http://127.0.0.1:8080",
		"http://localhost:1/":  "http://localhost:1",
		"https://[::1]:8443/x": "https://[::1]:8443/x",
	} {
		if c, err := client.New(in, client.Options{}); err != nil || c.URL() != want {
			t.Errorf("New(%q): %v, want %s", in, err, want)
		}
	}
	for _, in := range []string{"", "ftp://h", "http://", "http://h?x=1", "http://u:p@h", "http://h:port"} {
		if _, err := client.New(in, client.Options{}); err == nil {
			t.Errorf("New(%q) was accepted", in)
		}
	}
}

// FuzzAnswer: the client handles any answer of a server without a panic.
func FuzzAnswer(f *testing.F) {
	ok, _ := json.Marshal(api.SubmitAnswer{Answers: []api.TxAnswer{{ID: known, State: api.StateSettled}}})
	f.Add(200, "application/json", ok)
	f.Add(429, api.ProblemType, []byte(`{"retry_ms":-1}`))
	f.Add(503, api.ProblemType, []byte(`{"errors":[null]}`))
	f.Fuzz(func(t *testing.T, status int, media string, body []byte) {
		if status < 200 || status > 599 {
			return
		}
		c := connect(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Content-Type"] = []string{media}
			w.WriteHeader(status)
			_, _ = w.Write(body)
		}))
		if got, err := c.Submit(t.Context(), [][]byte{{1}}, api.WaitSettled, time.Second); err == nil && len(got) != 1 {
			t.Fatalf("%d answers and no error", len(got))
		}
	})
}
