package api_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/ledger"
	"bdtnode/node/api"
)

func TestTrace(t *testing.T) {
	id := ledger.TxID(digest.Of("a transaction"))
	asked := make(map[bool]int)
	f := &fake{trace: func(got ledger.TxID, others bool) (api.Trace, error) {
		asked[others]++
		if got != id {
			return api.Trace{}, api.ErrNotFound
		}
		lane := uint16(0)
		return api.Trace{ID: id, Shards: []uint16{0}, Replicas: []api.ReplicaTrace{{Steps: []api.TracedStep{
			{Step: api.StepOrdered, TimeUS: 7, Height: 1 << 60, Lane: &lane, Number: 3}, {Step: api.StepSettled, Height: 1 << 60},
		}}}}, nil
	}}
	s := serve(t, api.Config{}, f)
	path := s.URL + "/v1/txs/" + id.String() + "/trace"
	a := do(t, "GET", path, "", "")
	var got api.Trace
	if err := json.Unmarshal(a.body, &got); err != nil || a.status != http.StatusOK || asked[true] != 1 {
		t.Fatalf("%d %s %v", a.status, a.body, err)
	}
	if x := got.Replicas[0].Steps; len(x) != 2 || x[0].Height != 1<<60 || *x[0].Lane != 0 || x[1].TimeUS != 0 {
		t.Errorf("%+v", got)
	}
	for _, part := range []string{`"missing":[]`, `"height":"1152921504606846976"`, `"lane":0`, `"number":"3"`} {
		if !strings.Contains(string(a.body), part) {
			t.Errorf("no %s in %s", part, a.body)
		}
	}
	if strings.Count(string(a.body), "time_us") != 1 {
		t.Errorf("a step without a time has one: %s", a.body)
	}
	if a := do(t, "GET", path+"?others=false", "", ""); a.status != http.StatusOK || asked[false] != 1 {
		t.Errorf("%d %s", a.status, a.body)
	}
	wantProblem(t, do(t, "GET", path+"?other=false", "", ""), http.StatusUnprocessableEntity, "others")
	wantProblem(t, do(t, "GET", path+"?others=maybe", "", ""), http.StatusUnprocessableEntity)
	wantProblem(t, do(t, "GET", s.URL+"/v1/txs/xyz/trace", "", ""), http.StatusUnprocessableEntity)
	wantProblem(t, do(t, "GET", s.URL+"/v1/txs/"+strings.Repeat("0", 64)+"/trace", "", ""), http.StatusNotFound, "no replica that answers")
	f.trace = func(ledger.TxID, bool) (api.Trace, error) { return api.Trace{}, api.ErrUnavailable }
	wantProblem(t, do(t, "GET", path, "", ""), http.StatusServiceUnavailable)
	f.trace = func(ledger.TxID, bool) (api.Trace, error) { return api.Trace{}, errors.New("secret path /x") }
	if a := do(t, "GET", path, "", ""); a.status != http.StatusInternalServerError || strings.Contains(string(a.body), "secret") {
		t.Errorf("%d %s", a.status, a.body)
	}
}
