package api_test

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"testing"

	"bdtnode/node/api"
)

// TestCopiesAreSubmittedOnce: of many copies of a transaction in one request, the replica gets one, and each copy has the
// answer of that one.
func TestCopiesAreSubmittedOnce(t *testing.T) {
	one, other := []byte{1, 2, 3}, []byte{1, 2, 4}
	txs := slices.Repeat([][]byte{one}, api.MaxTxsPerRequest)
	txs[77] = other
	got := 0
	s := serve(t, api.Config{}, &fake{submit: func(ctx context.Context, txs [][]byte, wait api.Wait) []api.TxAnswer {
		got += len(txs)
		return settle(ctx, txs, wait)
	}})
	a := do(t, "POST", s.URL+"/v1/txs", api.TxsType, string(api.EncodeTxs(txs)))
	var out api.SubmitAnswer
	if err := json.Unmarshal(a.body, &out); err != nil || a.status != http.StatusOK || len(out.Answers) != len(txs) {
		t.Fatalf("answered %d with %d answers: %v", a.status, len(out.Answers), err)
	}
	if got != 2 {
		t.Errorf("the replica got %d transactions, want the 2 that differ", got)
	}
	for i, tx := range txs {
		if out.Answers[i].ID != idOf(tx) {
			t.Errorf("answer %d is for transaction %s", i, out.Answers[i].ID)
		}
	}
}
