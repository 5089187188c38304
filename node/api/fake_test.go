package api_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"bdtnode/internal/digest"
	"bdtnode/ledger"
	"bdtnode/node/api"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a backend of functions. Calling a function that a test did not set is a panic.
type fake struct {
	submit  func(ctx context.Context, txs [][]byte, wait api.Wait) []api.TxAnswer
	tx      func(id ledger.TxID) (api.TxAnswer, error)
	trace   func(id ledger.TxID, others bool) (api.Trace, error)
	proof   func(id ledger.TxID) ([]byte, error)
	account func(a ledger.Address, cursor string, limit int, older string, history int) (api.Account, error)
	block   func(shard uint16, height uint64) (api.Block, error)
	audit   func(ctx context.Context) (api.Audit, error)
	status  api.Status
	// unhinted is set by a submission without hints.
	unhinted bool
	peers    []api.Peer
	events   func(q api.EventQuery) (api.EventStream, error)
}

func (f *fake) Submit(ctx context.Context, _ string, txs [][]byte, wait api.Wait, hints bool) []api.TxAnswer {
	f.unhinted = f.unhinted || !hints
	return f.submit(ctx, txs, wait)
}
func (f *fake) Proof(_ context.Context, id ledger.TxID) ([]byte, error)    { return f.proof(id) }
func (f *fake) Tx(_ context.Context, id ledger.TxID) (api.TxAnswer, error) { return f.tx(id) }
func (f *fake) Trace(_ context.Context, id ledger.TxID, others bool) (api.Trace, error) {
	return f.trace(id, others)
}
func (f *fake) Account(_ context.Context, a ledger.Address, cursor string, limit int, older string, history int) (api.Account, error) {
	return f.account(a, cursor, limit, older, history)
}
func (f *fake) Block(_ context.Context, shard uint16, height uint64) (api.Block, error) {
	return f.block(shard, height)
}
func (f *fake) Audit(ctx context.Context) (api.Audit, error) { return f.audit(ctx) }
func (f *fake) Status() api.Status                           { return f.status }
func (f *fake) Network(context.Context, bool) api.NetworkReports {
	return api.NetworkReports{Name: "fake", Shards: []api.ShardSize{{Replicas: 4, Needed: 3}}, Reports: []api.Report{{Peers: []api.PeerReport{}}}}
}
func (f *fake) Peers() []api.Peer { return f.peers }
func (f *fake) Events(q api.EventQuery) (api.EventStream, error) {
	return f.events(q)
}

// settle answers every transaction as settled, with an id made from its index.
func settle(_ context.Context, txs [][]byte, _ api.Wait) []api.TxAnswer {
	out := make([]api.TxAnswer, len(txs))
	for i, tx := range txs {
		out[i] = api.TxAnswer{ID: idOf(tx), State: api.StateSettled, Certified: true, Height: 7}
	}
	return out
}

func idOf(tx []byte) ledger.TxID { return ledger.TxID(digest.Of("test/id", tx)) }

func serve(t *testing.T, cfg api.Config, f *fake) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(api.New(cfg, f))
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		s.Close()
	})
	return s
}

// answer is a response, read completely.
type answer struct {
	status  int
	header  http.Header
	body    []byte
	problem api.Problem // set if the answer is a problem
}

func do(t *testing.T, method, url, contentType, body string) answer {
	t.Helper()
	return send(t, method, url, contentType, strings.NewReader(body))
}

func send(t *testing.T, method, url, contentType string, body io.Reader) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	a := answer{status: resp.StatusCode, header: resp.Header}
	if a.body, err = io.ReadAll(resp.Body); err != nil {
		t.Fatal(err)
	}
	if a.header.Get("Content-Type") == api.ProblemType {
		if err := json.Unmarshal(a.body, &a.problem); err != nil {
			t.Fatalf("problem %s: %v", a.body, err)
		}
		if a.problem.Status != a.status || a.problem.Title == "" || a.problem.Detail == "" {
			t.Errorf("problem %s with status %d lacks status, title or detail", a.body, a.status)
		}
	}
	return a
}

// wantProblem checks that an answer is a problem with a status and that its text contains every word.
func wantProblem(t *testing.T, a answer, status int, words ...string) {
	t.Helper()
	if a.status != status || a.problem.Status != status {
		t.Fatalf("answered %d %s %s, want a problem of status %d", a.status, a.header.Get("Content-Type"), a.body, status)
	}
	for _, w := range words {
		if !strings.Contains(string(a.body), w) {
			t.Errorf("problem %s does not mention %q", a.body, w)
		}
	}
}
