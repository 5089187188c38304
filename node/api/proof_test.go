package api_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"bdtnode/ledger"
	"bdtnode/node/api"
)

// TestProof: a proof is base64, and each reason for which there is none has its status.
func TestProof(t *testing.T) {
	id := ledger.TxID{5}
	var failure error
	s := serve(t, api.Config{}, &fake{proof: func(got ledger.TxID) ([]byte, error) {
		if got != id {
			t.Errorf("a proof of %s", got)
		}
		return []byte("a proof"), failure
	}})
	a := do(t, "GET", s.URL+"/v1/txs/"+id.String()+"/proof", "", "")
	var p api.Proof
	if err := json.Unmarshal(a.body, &p); err != nil || a.status != 200 || p.ID != id {
		t.Fatalf("%d %s: %v", a.status, a.body, err)
	}
	if raw, err := base64.StdEncoding.DecodeString(p.Proof); err != nil || string(raw) != "a proof" {
		t.Errorf("%q, %v", raw, err)
	}
	for _, c := range []struct {
		err    error
		status int
		text   string
	}{
		{fmt.Errorf("not settled yet: %w", api.ErrNotFound), 404, "not settled yet"},
		{fmt.Errorf("shard 1 does not answer: %w", api.ErrUnavailable), 503, "shard 1 does not answer"},
		{errors.New("secret"), 500, "see its log"},
	} {
		failure = c.err
		a := do(t, "GET", s.URL+"/v1/txs/"+id.String()+"/proof", "", "")
		if a.status != c.status || !strings.Contains(string(a.body), c.text) || strings.Contains(string(a.body), "secret") {
			t.Errorf("%v: %d %s", c.err, a.status, a.body)
		}
	}
	for _, bad := range []string{"12", strings.Repeat("g", 64), id.String() + "0"} {
		if a := do(t, "GET", s.URL+"/v1/txs/"+bad+"/proof", "", ""); a.status != 422 {
			t.Errorf("%s: %d %s", bad, a.status, a.body)
		}
	}
}
