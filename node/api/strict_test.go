package api_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"bdtnode/node/api"
)

// TestUnknownParametersAreRefused: a query parameter that a path does not have, or has once, is refused with the names
// that are known.
func TestUnknownParametersAreRefused(t *testing.T) {
	s := serve(t, api.Config{Metrics: http.NotFoundHandler()}, &fake{})
	account := "/v1/accounts/" + someAddr.String()
	for path, words := range map[string][]string{
		"/v1/status?verbose=1":               {`\"verbose\" is unknown`, "has none"},
		account + "?limits=5":                {"limits", "cursor, history, limit, older", "did you mean limit?"},
		account + "?limit=5&limit=6":         {"limit", "2 times"},
		account + "?Limit=5":                 {"Limit"},
		"/v1/events?kind=block":              {"did you mean kinds?"},
		"/v1/events?kinds=block&kinds=epoch": {"separate its values by commas"},
		"/v1/txs/" + someID.String() + "?x":  {"\\\"x\\\""},
		"/livez?x=1":                         {"has none"},
		"/metrics?x=1":                       {"has none"},
		"/v1/openapi.json?x=1":               {"has none"},
	} {
		wantProblem(t, do(t, "GET", s.URL+path, "", ""), 422, words...)
	}
	wantProblem(t, do(t, "POST", s.URL+"/v1/txs?waits=settled", jsonType, `{"txs":["01"]}`), 422, "did you mean wait?")
	wantProblem(t, do(t, "GET", s.URL+account+"?limit=%zz", "", ""), 400, "malformed")
	wantProblem(t, do(t, "GET", s.URL+account+"?limit=1;older=x", "", ""), 400, "malformed")
}

// TestBodiesAreStrict: only the exact form of a JSON body is taken.
func TestBodiesAreStrict(t *testing.T) {
	s := serve(t, api.Config{}, &fake{submit: settle})
	for body, word := range map[string]string{
		`{"txs":["01"],"wait":"settled"}`: "wait", `{"TXS":["01"]}`: "TXS", `{"txs":["01"],"txs":["02"]}`: "twice",
		`["01"]`: "[", `{"txs":[1]}`: "number", `{"txs":["01"]`: "", `{"txs":["01"]}]`: "", `null`: "", ``: "",
	} {
		wantProblem(t, do(t, "POST", s.URL+"/v1/txs", jsonType, body), 400, word)
	}
	if a := do(t, "POST", s.URL+"/v1/txs", jsonType, ` { "txs" : [ "01" ] } `+"\n"); a.status != http.StatusOK {
		t.Errorf("answered %d %s", a.status, a.body)
	}
}

// TestHosts: a request whose Host is not a name of the replica is refused, so a page cannot reach a replica through a
// name that resolves to it.
func TestHosts(t *testing.T) {
	h := api.New(api.Config{Hosts: []string{"Replica-0.example.com"}}, &fake{})
	for host, ok := range map[string]bool{
		"127.0.0.1:26700": true, "10.1.2.3": true, "[::1]:26700": true, "[fe80::1]": true, "localhost": true, "LOCALHOST:80": true, "localhost.:80": true, "": true,
		"replica-0.example.com:26700": true, "replica-0.EXAMPLE.com.": true,
		"evil.example": false, "evil.example:26700": false, "localhost.evil.example": false, "127.0.0.1.evil.example": false, "x.localhost": false,
		"replica-0.example.com.evil.example": false, "0x7f000001": false, "2130706433": false,
	} {
		for _, method := range []string{"GET", "POST", "OPTIONS"} {
			r := httptest.NewRequest(method, "http://x/livez", nil)
			r.Host = host
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if refused := w.Code == http.StatusMisdirectedRequest; refused == ok || refused && !strings.Contains(w.Body.String(), "api.hosts") {
				t.Errorf("%s with host %q: %d %s", method, host, w.Code, w.Body)
			}
		}
	}
}

// TestOrigins: requests that web pages cause are refused, unless the origin of the page is configured.
func TestOrigins(t *testing.T) {
	h := api.New(api.Config{Origins: []string{"https://wallet.example"}}, &fake{submit: settle})
	send := func(method, path string, header ...string) *httptest.ResponseRecorder {
		var body io.Reader
		if method == "POST" {
			body = strings.NewReader(`{"txs":["01"]}`)
		}
		r := httptest.NewRequest(method, "http://127.0.0.1"+path, body)
		r.Header.Set("Content-Type", jsonType)
		for i := 0; i < len(header); i += 2 {
			r.Header.Add(header[i], header[i+1])
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	for _, origin := range []string{"https://evil.example", "null", "http://127.0.0.1", "http://wallet.example", "https://wallet.example.evil.example", "https://wallet.example:444", ""} {
		for _, x := range []struct{ method, path string }{{"GET", "/livez"}, {"POST", "/v1/txs"}, {"OPTIONS", "/v1/txs"}, {"GET", "/nowhere"}} {
			w := send(x.method, x.path, "Origin", origin)
			if w.Code != http.StatusForbidden || w.Header().Get("Access-Control-Allow-Origin") != "" || !strings.Contains(w.Body.String(), "api.origins") {
				t.Errorf("%s %s from origin %q: %d %v %s", x.method, x.path, origin, w.Code, w.Header(), w.Body)
			}
		}
	}
	if w := send("GET", "/livez", "Origin", "https://wallet.example", "Origin", "https://evil.example"); w.Code != http.StatusForbidden {
		t.Errorf("with two origins: %d", w.Code)
	}
	for site, ok := range map[string]bool{"cross-site": false, "same-site": false, "same-origin": true, "none": true, "": true} {
		if w := send("GET", "/livez", "Sec-Fetch-Site", site); (w.Code == http.StatusOK) != ok {
			t.Errorf("from site %q: %d", site, w.Code)
		}
	}
	for _, x := range []struct{ method, path string }{{"GET", "/livez"}, {"POST", "/v1/txs"}} {
		w := send(x.method, x.path, "Origin", "https://wallet.example", "Sec-Fetch-Site", "cross-site")
		if w.Code != http.StatusOK || w.Header().Get("Access-Control-Allow-Origin") != "https://wallet.example" || w.Header().Get("Vary") != "Origin" {
			t.Errorf("%s %s from a configured origin: %d %v", x.method, x.path, w.Code, w.Header())
		}
	}
	w := send("OPTIONS", "/v1/txs", "Origin", "https://wallet.example", "Access-Control-Request-Method", "POST", "Access-Control-Request-Private-Network", "true")
	if w.Code != http.StatusNoContent || !strings.Contains(w.Header().Get("Access-Control-Allow-Methods"), "POST") ||
		w.Header().Get("Access-Control-Allow-Headers") == "" || w.Header().Get("Access-Control-Allow-Private-Network") != "true" || w.Header().Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("preflight: %d %v", w.Code, w.Header())
	}
}

// TestNumbersAreExact: heights and amounts are texts, so that a client whose numbers are floating point reads them
// exactly. A number in their place is refused.
func TestNumbersAreExact(t *testing.T) {
	s := serve(t, api.Config{}, &fake{block: func(shard uint16, height uint64) (api.Block, error) {
		return api.Block{Height: height, Epoch: 3}, nil
	}})
	a := do(t, "GET", s.URL+"/v1/shards/0/blocks/18446744073709551615", "", "")
	if !strings.Contains(string(a.body), `"height":"18446744073709551615"`) || !strings.Contains(string(a.body), `"epoch":3`) {
		t.Errorf("%s", a.body)
	}
	wantProblem(t, do(t, "GET", s.URL+"/v1/shards/0/blocks/18446744073709551616", "", ""), 422, "height")
	wantProblem(t, do(t, "GET", s.URL+"/v1/shards/0/blocks/1e3", "", ""), 422, "height")
}
