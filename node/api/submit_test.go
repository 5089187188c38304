package api_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"bdtnode/internal/wire"
	"bdtnode/ledger"
	"bdtnode/node/api"
)

const jsonType = "application/json"

func TestSubmitTakesEachEncodingAndAnswersInOrder(t *testing.T) {
	txs := [][]byte{{1, 2, 3}, bytes.Repeat([]byte{1, 0xfe}, 150), {1}}
	var seen [][]byte
	f := &fake{submit: func(ctx context.Context, got [][]byte, wait api.Wait) []api.TxAnswer {
		if wait != api.WaitCertified {
			t.Errorf("wait %q arrived", wait)
		}
		if _, ok := ctx.Deadline(); !ok {
			t.Error("the wait has no deadline")
		}
		seen = got
		return settle(ctx, got, wait)
	}}
	s := serve(t, api.Config{}, f)
	for name, enc := range map[string]func([]byte) string{"hexadecimal": hex.EncodeToString, "base64": base64.StdEncoding.EncodeToString} {
		body, _ := json.Marshal(map[string]any{"txs": []string{enc(txs[0]), enc(txs[1]), enc(txs[2])}})
		checkSubmit(t, name, do(t, "POST", s.URL+"/v1/txs?wait=certified&timeout_ms=60000", jsonType, string(body)), txs, seen)
	}
	checkSubmit(t, "binary", do(t, "POST", s.URL+"/v1/txs?wait=certified", api.TxsType, string(api.EncodeTxs(txs))), txs, seen)
}

// Hexadecimal is lower case only, so base64 text that consists of hexadecimal letters is still base64.
func TestBase64OfHexadecimalLetters(t *testing.T) {
	var seen [][]byte
	s := serve(t, api.Config{}, &fake{submit: func(ctx context.Context, got [][]byte, wait api.Wait) []api.TxAnswer {
		seen = got
		return settle(ctx, got, wait)
	}})
	a := do(t, "POST", s.URL+"/v1/txs", jsonType, `{"txs":["AaBb","aabb"]}`)
	checkSubmit(t, "letters", a, [][]byte{{0x01, 0xa0, 0x5b}, {0xaa, 0xbb}}, seen)
}

func checkSubmit(t *testing.T, name string, a answer, txs, seen [][]byte) {
	t.Helper()
	var out api.SubmitAnswer
	if err := json.Unmarshal(a.body, &out); err != nil || a.status != http.StatusOK {
		t.Fatalf("%s: answered %d %s: %v", name, a.status, a.body, err)
	}
	if !slices.EqualFunc(txs, seen, bytes.Equal) {
		t.Errorf("%s: sent %x, the replica got %x", name, txs, seen)
	}
	for i, tx := range txs {
		if out.Answers[i].ID != idOf(tx) || out.Answers[i].State != api.StateSettled || out.Answers[i].Height != 7 {
			t.Errorf("%s: answer %d is %+v", name, i, out.Answers[i])
		}
	}
}

func TestSubmitDefaultsToAccepted(t *testing.T) {
	s := serve(t, api.Config{}, &fake{submit: func(ctx context.Context, got [][]byte, wait api.Wait) []api.TxAnswer {
		if wait != api.WaitAccepted {
			t.Errorf("wait %q, want the default", wait)
		}
		return settle(ctx, got, wait)
	}})
	if a := do(t, "POST", s.URL+"/v1/txs", jsonType, `{"txs":["01"]}`); a.status != http.StatusOK {
		t.Errorf("answered %d %s", a.status, a.body)
	}
}

// The mempool keeps transactions after the answer, so the memory of a body must never be reused for another request.
func TestSubmittedBytesAreNotUsedAgain(t *testing.T) {
	var kept [][]byte
	s := serve(t, api.Config{}, &fake{submit: func(ctx context.Context, got [][]byte, wait api.Wait) []api.TxAnswer {
		kept = append(kept, got...)
		return settle(ctx, got, wait)
	}})
	for i := range 50 {
		tx := bytes.Repeat([]byte{byte(i)}, 300)
		if i%2 == 0 {
			do(t, "POST", s.URL+"/v1/txs", api.TxsType, string(api.EncodeTxs([][]byte{tx})))
		} else {
			do(t, "POST", s.URL+"/v1/txs", jsonType, `{"txs":["`+hex.EncodeToString(tx)+`"]}`)
		}
	}
	for i, tx := range kept {
		if !bytes.Equal(tx, bytes.Repeat([]byte{byte(i)}, 300)) {
			t.Fatalf("transaction %d was overwritten: %x", i, tx[:8])
		}
	}
}

func TestSubmitErrors(t *testing.T) {
	many, _ := json.Marshal(map[string]any{"txs": slices.Repeat([]string{"01"}, api.MaxTxsPerRequest+1)})
	s := serve(t, api.Config{MaxBody: 10_000}, &fake{})
	for _, c := range []struct {
		name, query, media, body string
		status                   int
		words                    []string
	}{
		{"unknown stage", "?wait=soon", jsonType, `{"txs":["01"]}`, 422, []string{"wait", "accepted"}},
		{"no number", "?timeout_ms=1s", jsonType, `{"txs":["01"]}`, 422, []string{"timeout_ms"}},
		{"zero wait", "?timeout_ms=0", jsonType, `{"txs":["01"]}`, 422, []string{"timeout_ms"}},
		{"longer than MaxWait", fmt.Sprintf("?timeout_ms=%d", api.MaxWait.Milliseconds()+1), jsonType, `{"txs":["01"]}`, 422, []string{"60000"}},
		{"no content type", "", "", `{"txs":["01"]}`, 415, []string{"application/json"}},
		{"other content type", "", "text/csv", `01`, 415, []string{"text/csv"}},
		{"not JSON", "", jsonType, `txs`, 400, []string{"JSON"}},
		{"empty body", "", jsonType, ``, 400, []string{"JSON"}},
		{"unknown field", "", jsonType, `{"tx":["01"]}`, 400, []string{`tx`}},
		{"two values", "", jsonType, `{"txs":["01"]}{}`, 400, []string{"more than one"}},
		{"no transactions", "", jsonType, `{"txs":[]}`, 422, []string{"1 to 1000"}},
		{"too many", "", jsonType, string(many), 422, []string{"1001", "1 to 1000"}},
		{"neither hex nor base64", "", jsonType, `{"txs":["01","%%"]}`, 422, []string{"body.txs[1]"}},
		{"upper-case hex", "", jsonType, `{"txs":["0AF"]}`, 422, []string{"body.txs[0]"}},
		{"body too large", "", jsonType, strings.Repeat(" ", 10_001), 413, []string{"10000 bytes"}},
		{"binary of another version", "", api.TxsType, "\x02\x00\x01\x00\x00\x00\x01a", 422, []string{"version 2"}},
		{"binary, cut", "", api.TxsType, "\x01\x00\x01\x00\x00\x00\x02a", 422, []string{"bytes"}},
		{"binary, empty list", "", api.TxsType, "\x01\x00\x00", 422, []string{"no transactions"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			wantProblem(t, do(t, "POST", s.URL+"/v1/txs"+c.query, c.media, c.body), c.status, c.words...)
		})
	}
}

func TestBodyOfUnknownLengthIsBounded(t *testing.T) {
	s := serve(t, api.Config{MaxBody: 1000}, &fake{})
	req, _ := http.NewRequest("POST", s.URL+"/v1/txs", io.LimitReader(zeros{}, 1<<20))
	req.Header.Set("Content-Type", api.TxsType)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("answered %s", resp.Status)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func TestFullMempool(t *testing.T) {
	if api.ReasonBookFull != ledger.ReasonBookFull.String() {
		t.Errorf("the API has reason %q and the ledger %q", api.ReasonBookFull, ledger.ReasonBookFull)
	}
	full := api.TxAnswer{State: api.StateUnknown, Reason: api.ReasonBookFull, RetryMS: 1500}
	answers := []api.TxAnswer{full, full}
	s := serve(t, api.Config{}, &fake{submit: func(context.Context, [][]byte, api.Wait) []api.TxAnswer { return answers }})
	const two = `{"txs":["01","02"]}`

	a := do(t, "POST", s.URL+"/v1/txs", jsonType, two)
	wantProblem(t, a, http.StatusTooManyRequests, "mempool")
	if a.header.Get("Retry-After") != "2" || a.problem.RetryMS != 1500 {
		t.Errorf("Retry-After %q and retry_ms %d, want 2 and 1500", a.header.Get("Retry-After"), a.problem.RetryMS)
	}

	answers = []api.TxAnswer{{State: api.StateAccepted}, full} // one was accepted: all transactions are answered one by one
	var out api.SubmitAnswer
	a = do(t, "POST", s.URL+"/v1/txs", jsonType, two)
	if err := json.Unmarshal(a.body, &out); err != nil || a.status != http.StatusOK {
		t.Fatalf("answered %d %s: %v", a.status, a.body, err)
	}
	if out.Answers[0].State != api.StateAccepted || out.Answers[1].Reason != api.ReasonBookFull || out.Answers[1].RetryMS != 1500 {
		t.Errorf("answers %+v", out.Answers)
	}
}

// waiting is a backend whose submissions wait until they are released or their context ends.
func waiting() (f *fake, started chan struct{}, release chan struct{}) {
	started, release = make(chan struct{}, 16), make(chan struct{})
	return &fake{submit: func(ctx context.Context, txs [][]byte, w api.Wait) []api.TxAnswer {
		started <- struct{}{}
		select {
		case <-release:
			return settle(ctx, txs, w)
		case <-ctx.Done():
			return []api.TxAnswer{{State: api.StateAccepted, TimedOut: true}}
		}
	}}, started, release
}

func TestWaitEndsAtTheTimeout(t *testing.T) {
	f, _, _ := waiting()
	s := serve(t, api.Config{}, f)
	a := do(t, "POST", s.URL+"/v1/txs?timeout_ms=1", jsonType, `{"txs":["01"]}`)
	if a.status != http.StatusOK || !strings.Contains(string(a.body), `"timed_out":true`) {
		t.Errorf("answered %d %s", a.status, a.body)
	}
}

func TestSubmissionsAreBounded(t *testing.T) {
	known := func(s string) io.Reader { return strings.NewReader(s) }
	unknown := func(s string) io.Reader { return io.MultiReader(strings.NewReader(s)) } // sent without its length
	for name, c := range map[string]struct {
		cfg  api.Config
		body func(string) io.Reader
	}{
		"in number":                {api.Config{MaxWaiting: 1}, known},
		"in bytes":                 {api.Config{MaxBody: 100, MaxBodies: 100}, known},
		"in bytes not known ahead": {api.Config{MaxBody: 100, MaxBodies: 100}, unknown},
	} {
		t.Run(name, func(t *testing.T) {
			f, started, release := waiting()
			s := serve(t, c.cfg, f)
			first := make(chan answer)
			// A body counts while it arrives, and its transactions as long as they wait for the answer.
			go func() {
				first <- send(t, "POST", s.URL+"/v1/txs", jsonType, c.body(`{"txs":["`+strings.Repeat("01", 40)+`"]}`))
			}()
			<-started
			a := do(t, "POST", s.URL+"/v1/txs", jsonType, `{"txs":["`+strings.Repeat("02", 40)+`"]}`)
			wantProblem(t, a, http.StatusServiceUnavailable, "too many submissions")
			if a.header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
			close(release)
			if a := <-first; a.status != http.StatusOK {
				t.Errorf("the first was answered %d %s", a.status, a.body)
			}
			if a := do(t, "POST", s.URL+"/v1/txs", jsonType, `{"txs":["03"]}`); a.status != http.StatusOK {
				t.Errorf("after the place became free: answered %d %s", a.status, a.body)
			}
		})
	}
}

func TestClientThatLeavesEndsItsWait(t *testing.T) {
	ended := make(chan error, 1)
	started := make(chan struct{})
	s := serve(t, api.Config{}, &fake{submit: func(ctx context.Context, txs [][]byte, _ api.Wait) []api.TxAnswer {
		close(started)
		<-ctx.Done()
		ended <- context.Cause(ctx)
		return make([]api.TxAnswer, len(txs))
	}})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-started
		cancel()
	}()
	req, _ := http.NewRequestWithContext(ctx, "POST", s.URL+"/v1/txs?timeout_ms=60000", strings.NewReader(`{"txs":["01"]}`))
	req.Header.Set("Content-Type", jsonType)
	if _, err := http.DefaultClient.Do(req); !errors.Is(err, context.Canceled) {
		t.Errorf("the client got %v", err)
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the wait ended with %v, want it cancelled long before its timeout", err)
	}
}

// A body that stops halfway holds its place only until its connection ends, and never reaches the backend.
func TestBrokenBody(t *testing.T) {
	s := serve(t, api.Config{MaxWaiting: 1}, &fake{submit: settle})
	c, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(c, "POST /v1/txs HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: 100\r\n\r\n{", jsonType)
	c.(*net.TCPConn).CloseWrite()
	got, err := io.ReadAll(c)
	if err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 400") {
		t.Errorf("answered %q, %v", got, err)
	}
	c.Close()
	if a := do(t, "POST", s.URL+"/v1/txs", jsonType, `{"txs":["01"]}`); a.status != http.StatusOK {
		t.Errorf("the place was not released: %d %s", a.status, a.body)
	}
}

func FuzzDecodeTxs(f *testing.F) {
	f.Add(api.EncodeTxs([][]byte{{1, 2}, {}, bytes.Repeat([]byte{7}, 300)}))
	f.Add([]byte{1, 0, 1, 0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{1, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, body []byte) {
		txs, err := api.DecodeTxs(body)
		if err != nil {
			if !errors.Is(err, wire.ErrMalformed) {
				t.Fatalf("error %v does not wrap ErrMalformed", err)
			}
			return
		}
		if len(txs) == 0 || len(txs) > api.MaxTxsPerRequest || !bytes.Equal(api.EncodeTxs(txs), body) {
			t.Fatalf("%x is not the only encoding of %x", body, txs)
		}
	})
}

// deadlines records the deadlines that a handler sets on its connection.
type deadlines struct {
	*httptest.ResponseRecorder
	set     []time.Time // read deadlines
	written []time.Time // write deadlines
}

func (d *deadlines) SetWriteDeadline(t time.Time) error {
	d.written = append(d.written, t)
	return nil
}

func (d *deadlines) SetReadDeadline(t time.Time) error {
	d.set = append(d.set, t)
	return nil
}

// The deadline of the body must be removed before the wait: the server keeps reading to detect a client that leaves,
// and would mistake an expired deadline for that.
func TestTheWaitHasNoReadDeadline(t *testing.T) {
	w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
	h := api.New(api.Config{}, &fake{submit: func(ctx context.Context, txs [][]byte, wait api.Wait) []api.TxAnswer {
		if n := len(w.set); n < 2 || w.set[0].IsZero() || !w.set[n-1].IsZero() {
			t.Errorf("read deadlines %v, want some for the body and none for the wait", w.set)
		}
		if len(w.written) != 0 {
			t.Errorf("write deadlines %v before the wait is over", w.written)
		}
		return settle(ctx, txs, wait)
	}})
	r := httptest.NewRequest("POST", "http://localhost/v1/txs", strings.NewReader(`{"txs":["01"]}`))
	r.Header.Set("Content-Type", jsonType)
	h.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		t.Errorf("answered %d %s", w.Code, w.Body)
	}
	if len(w.written) != 1 || w.written[0].IsZero() {
		t.Errorf("write deadlines %v, want one for the answer", w.written)
	}
}
