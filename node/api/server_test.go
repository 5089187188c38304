package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"bdtnode/ledger"
	"bdtnode/node/api"
)

var (
	someID   = ledger.TxID{1, 2, 3}
	someAddr = ledger.Address{4, 5, 6}
)

func TestReads(t *testing.T) {
	f := &fake{
		status: api.Status{Version: "v9", Height: 12, Ready: true},
		peers:  []api.Peer{{Replica: 2, PeerID: "12D3"}},
		tx: func(id ledger.TxID) (api.TxAnswer, error) {
			return api.TxAnswer{ID: id, State: api.StateRejected, Reason: "consumed", Detail: "spent"}, nil
		},
		account: func(a ledger.Address, cursor string, limit int, older string, history int) (api.Account, error) {
			if limit == 100 {
				return api.Account{Address: a}, nil
			}
			return api.Account{Address: a, Next: fmt.Sprint(cursor, limit, older, history)}, nil
		},
		block: func(s uint16, h uint64) (api.Block, error) { return api.Block{Shard: s, Height: h}, nil },
		audit: func(context.Context) (api.Audit, error) { return api.Audit{Genesis: 5, Conserved: true}, nil },
	}
	s := serve(t, api.Config{}, f)
	for path, want := range map[string]string{
		"/v1/status":                        `"version":"v9"`,
		"/v1/peers":                         `{"peers":[{"shard":0,"replica":2,"peer_id":"12D3"`,
		"/v1/txs/" + someID.String():        `{"id":"` + someID.String() + `","state":"rejected","certified":false,"reason":"consumed","detail":"spent","shard":0}`,
		"/v1/accounts/" + someAddr.String(): `"outputs":[]`,
		"/v1/accounts/" + someAddr.String() + "?cursor=a&limit=7&older=b&history=3": `"next":"a7b3"`,
		"/v1/accounts/" + someAddr.String() + "?limit=010&history=010":              `"next":"1010"`,
		"/v1/accounts/" + someAddr.String() + "?limit=0":                            `"next":"00"`,
		"/v1/shards/3/blocks/18446744073709551615":                                  `"shard":3,"height":"18446744073709551615"`,
		"/v1/audit": `"conserved":true`,
		"/livez":    `{"live":true}`,
		"/readyz":   `{"ready":true}`,
	} {
		a := do(t, "GET", s.URL+path, "", "")
		if a.status != http.StatusOK || a.header.Get("Content-Type") != jsonType || !strings.Contains(string(a.body), want) {
			t.Errorf("GET %s: %d %s %s, want %s", path, a.status, a.header.Get("Content-Type"), a.body, want)
		}
	}
	if a := do(t, "GET", s.URL+"/v1/shards/0/blocks/1", "", ""); !strings.Contains(string(a.body), `"signers":[],"txs":[]`) {
		t.Errorf("empty lists of a block: %s", a.body)
	}
}

func TestReadErrors(t *testing.T) {
	var err error
	f := &fake{
		status:  api.Status{NotReady: "behind by 12 blocks"},
		tx:      func(ledger.TxID) (api.TxAnswer, error) { return api.TxAnswer{}, err },
		account: func(ledger.Address, string, int, string, int) (api.Account, error) { return api.Account{}, err },
		block:   func(uint16, uint64) (api.Block, error) { return api.Block{}, err },
		audit:   func(context.Context) (api.Audit, error) { return api.Audit{}, err },
	}
	s := serve(t, api.Config{}, f)
	tx, account := "/v1/txs/"+someID.String(), "/v1/accounts/"+someAddr.String()
	const block = "/v1/shards/0/blocks/9"
	for _, c := range []struct {
		name, path string
		err        error
		status     int
		words      []string
	}{
		{"unknown transaction", tx, api.ErrNotFound, 404, []string{someID.String()}},
		{"pruned transaction", tx, fmt.Errorf("%w: %w", api.ErrNotFound, &ledger.Pruned{Below: 40}), 404, []string{someID.String(), "pruned below height 40"}},
		{"pruned block", block, fmt.Errorf("block 9: %w: %w", &ledger.Pruned{Below: 40}, api.ErrNotFound), 404, []string{"block 9: pruned below height 40"}},
		{"bad id", "/v1/txs/12", nil, 422, []string{"transaction id"}},
		{"forgotten transaction", "/v1/txs/" + strings.Repeat("0", 64), errors.Join(api.ErrNotFound), 404, nil},
		{"bad address", "/v1/accounts/" + strings.Repeat("g", 64), nil, 422, []string{"address", "hexadecimal"}},
		{"bad cursor", account + "?cursor=x", fmt.Errorf("cursor %q: %w", "x", api.ErrBadCursor), 422, []string{"cursor"}},
		{"page too large", account + "?limit=1001", nil, 422, []string{"limit", "1000"}},
		{"history too large", account + "?history=1001", nil, 422, []string{"history"}},
		{"negative page", account + "?limit=-1", nil, 422, []string{"limit"}},
		{"page in another base", account + "?limit=0x10", nil, 422, []string{"limit"}},
		{"block ahead", block, fmt.Errorf("height 9, the ledger is at 3: %w", api.ErrNotFound), 404, []string{"height 9"}},
		{"shard is no number", "/v1/shards/one/blocks/1", nil, 422, []string{"shard"}},
		{"shard overflows", "/v1/shards/65536/blocks/1", nil, 422, []string{"shard"}},
		{"height is negative", "/v1/shards/0/blocks/-1", nil, 422, []string{"height"}},
		{"stopping", block, fmt.Errorf("the replica stops: %w", api.ErrUnavailable), 503, []string{"stops"}},
		{"audit stopped", "/v1/audit", api.ErrUnavailable, 503, nil},
		{"own fault", block, errors.New("secret path /x"), 500, []string{"see its log"}},
		{"not ready", "/readyz", nil, 503, []string{"behind by 12 blocks"}},
		{"no such path", "/v2/status", nil, 404, []string{"/v2/status"}},
		{"no metrics", "/metrics", nil, 404, nil},
		{"no docs page", "/docs", nil, 404, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			err = c.err
			a := do(t, "GET", s.URL+c.path, "", "")
			wantProblem(t, a, c.status, c.words...)
			if strings.Contains(string(a.body), "secret") {
				t.Errorf("the text of an internal error was sent: %s", a.body)
			}
			if (c.status == 503) != (a.header.Get("Retry-After") != "") {
				t.Errorf("Retry-After %q with status %d", a.header.Get("Retry-After"), c.status)
			}
		})
	}
	a := do(t, "DELETE", s.URL+"/v1/status", "", "")
	wantProblem(t, a, http.StatusMethodNotAllowed, "DELETE")
	if a.header.Get("Allow") == "" {
		t.Error("no Allow header")
	}
	if err = nil; do(t, "GET", s.URL+tx, "", "").status != http.StatusOK {
		t.Error("an answer without an error was replaced by an error")
	}
	f.tx = func(id ledger.TxID) (api.TxAnswer, error) { return api.TxAnswer{State: api.StateUnknown}, nil }
	wantProblem(t, do(t, "GET", s.URL+tx, "", ""), http.StatusNotFound)
}

// TestReadyWithAFault: a fault that may exist while a replica is ready, such as a clock that is ahead, is in the answer of
// /readyz and in the status.
func TestReadyWithAFault(t *testing.T) {
	const fault = "the clock is 2s ahead of the shard's"
	s := serve(t, api.Config{}, &fake{status: api.Status{Ready: true, Degraded: fault}})
	for _, path := range []string{"/readyz", "/v1/status"} {
		a := do(t, "GET", s.URL+path, "", "")
		var got struct {
			Ready    bool
			Degraded string
		}
		if err := json.Unmarshal(a.body, &got); err != nil || a.status != http.StatusOK || !got.Ready || got.Degraded != fault {
			t.Errorf("%s: %d %s %v", path, a.status, a.body, err)
		}
	}
}

func TestOneAuditAtATime(t *testing.T) {
	started, release := make(chan struct{}), make(chan struct{})
	s := serve(t, api.Config{}, &fake{audit: func(context.Context) (api.Audit, error) {
		close(started)
		<-release
		return api.Audit{}, nil
	}})
	first := make(chan answer)
	go func() { first <- do(t, "GET", s.URL+"/v1/audit", "", "") }()
	<-started
	wantProblem(t, do(t, "GET", s.URL+"/v1/audit", "", ""), http.StatusServiceUnavailable, "another audit")
	close(release)
	if a := <-first; a.status != http.StatusOK {
		t.Errorf("answered %d", a.status)
	}
}

func TestMetricsAreServed(t *testing.T) {
	m := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "bdt_height 3") })
	s := serve(t, api.Config{Metrics: m}, &fake{})
	if a := do(t, "GET", s.URL+"/metrics", "", ""); string(a.body) != "bdt_height 3" {
		t.Errorf("answered %d %s", a.status, a.body)
	}
}

// run serves a real listener until the test ends it.
func run(t *testing.T, cfg api.Config, f *fake) (url string, stop context.CancelFunc, done chan error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done = make(chan error, 1)
	go func() { done <- api.New(cfg, f).Run(ctx, l) }()
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	return "http://" + l.Addr().String(), cancel, done
}

func TestRunAnswersWaitingSubmissionsAndThenEnds(t *testing.T) {
	f, started, _ := waiting()
	url, stop, done := run(t, api.Config{}, f)
	first := make(chan answer)
	go func() { first <- do(t, "POST", url+"/v1/txs?timeout_ms=60000", jsonType, `{"txs":["01"]}`) }()
	<-started
	stop()
	if a := <-first; a.status != http.StatusOK || !strings.Contains(string(a.body), `"timed_out":true`) {
		t.Errorf("answered %d %s", a.status, a.body)
	}
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
	if _, err := http.Get(url + "/livez"); err == nil {
		t.Error("the server still answers after the end")
	}
}

func TestRunEndsAlthoughABackendDoesNot(t *testing.T) {
	started, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	url, stop, done := run(t, api.Config{Grace: 1}, &fake{audit: func(context.Context) (api.Audit, error) {
		close(started)
		<-release
		return api.Audit{}, nil
	}})
	go func() {
		if resp, err := http.Get(url + "/v1/audit"); err == nil {
			resp.Body.Close()
		}
	}()
	<-started
	stop()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestPanicOfTheBackendEndsRun(t *testing.T) {
	f, started, _ := waiting()
	f.block = func(uint16, uint64) (api.Block, error) { panic("value not conserved") }
	url, stop, done := run(t, api.Config{}, f)
	defer stop()
	first := make(chan answer)
	go func() { first <- do(t, "POST", url+"/v1/txs?timeout_ms=60000", jsonType, `{"txs":["01"]}`) }()
	<-started
	wantProblem(t, do(t, "GET", url+"/v1/shards/0/blocks/1", "", ""), http.StatusInternalServerError, "broken invariant")
	if a := <-first; a.status != http.StatusOK || !strings.Contains(string(a.body), `"timed_out":true`) {
		t.Errorf("the waiting submission was answered %d %s", a.status, a.body)
	}
	if err := <-done; err == nil || !strings.Contains(err.Error(), "value not conserved") {
		t.Errorf("Run: %v", err)
	}
}

func TestRunReturnsTheErrorOfTheListener(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := api.New(api.Config{}, &fake{}).Run(t.Context(), l); err == nil || !strings.Contains(err.Error(), l.Addr().String()) {
		t.Errorf("Run: %v", err)
	}
}
