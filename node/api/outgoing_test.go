package api

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"
)

// Large answers that clients do not read hold a bounded number of bytes. Further large ones are refused with a time to
// try again; small ones and those for other addresses are not. All bytes are released at the end.
func TestUnreadAnswersAreBounded(t *testing.T) {
	const size, bound = 300_000, 8 << 20
	o := newOutlet(bound)
	var open []*outgoing
	answer := func(client string, size int) *httptest.ResponseRecorder {
		out := httptest.NewRecorder()
		w := &outgoing{ResponseWriter: out, limit: time.Second, outlet: o, client: netip.MustParsePrefix(client + "/32")}
		w.WriteHeader(http.StatusOK)
		if n, err := w.Write(make([]byte, size)); n != size || err != nil {
			t.Fatal(n, err)
		}
		w.end()
		open = append(open, w)
		return out
	}
	held, refused := 0, 0
	for range 1000 {
		out := answer("10.0.0.1", size)
		switch out.Code {
		case http.StatusOK:
			held += out.Body.Len()
		case http.StatusServiceUnavailable:
			refused++
			var p Problem
			if err := json.Unmarshal(out.Body.Bytes(), &p); err != nil || p.RetryMS == 0 || out.Header().Get("Retry-After") == "" {
				t.Fatalf("refused with %q, %v", out.Body, err)
			}
		default:
			t.Fatalf("status %d", out.Code)
		}
	}
	if held > bound || held < bound/2 || refused == 0 {
		t.Errorf("%d bytes are held, want at most %d", held, bound)
	}
	if out := answer("10.0.0.1", 1000); out.Code != http.StatusOK || out.Body.Len() != 1000 {
		t.Errorf("a small answer is refused: %d", out.Code)
	}
	if out := answer("10.0.0.2", size); out.Code != http.StatusOK {
		t.Errorf("an answer for another address is refused: %d", out.Code)
	}
	for _, w := range open {
		w.giveBack()
	}
	if o.bytes.Free() != bound || o.bytes.Parties() != 0 {
		t.Errorf("not released: %+v", o.bytes)
	}
	if out := answer("10.0.0.1", 2*bound); out.Code != http.StatusOK || out.Body.Len() != 2*bound {
		t.Errorf("an answer above the bound is never given: %d", out.Code)
	}
}
