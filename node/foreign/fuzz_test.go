package foreign

import (
	"encoding/json"
	"errors"
	"testing"

	"bdtnode/node/api"
)

// FuzzReply: no answer of a replica of another shard makes DecodeReply panic, and an accepted one has an encoding that decodes
// to the same value.
func FuzzReply(f *testing.F) {
	f.Add(EncodeReply(api.TxAnswer{State: api.StateSettled, Height: 7, Parts: []api.Part{{Shard: 1, Stage: "returned", Reason: "cancelled"}}}, nil))
	f.Add(EncodeReply(api.Account{Balance: 5, Outputs: []api.Output{{Amount: 5}}}, nil))
	f.Add(EncodeReply([]api.State{api.StateRejected}, nil))
	f.Add(EncodeReply(nil, api.ErrNotFound))
	f.Add(EncodeReply(nil, errors.New("it is stopping")))
	f.Add([]byte(`{"result":null}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		replied[api.TxAnswer](t, raw)
		replied[api.Account](t, raw)
		replied[api.Block](t, raw)
		replied[[]api.TxAnswer](t, raw)
		replied[[]api.State](t, raw)
		replied[TraceAnswer](t, raw)
		replied[[]byte](t, raw)
	})
}

func replied[T any](t *testing.T, raw []byte) {
	t.Helper()
	var first, second T
	if DecodeReply(raw, &first) != nil {
		return
	}
	once := encode(first)
	if err := DecodeReply(EncodeReply(first, nil), &second); err != nil || string(encode(second)) != string(once) {
		t.Errorf("%s decodes to %s, and that to %s, %v", raw, once, encode(second), err)
	}
}

// FuzzCall: no call of a replica of another shard makes decoding panic, and an accepted one has an encoding that decodes to the
// same call.
func FuzzCall(f *testing.F) {
	for _, c := range []Call{
		{Submit: &Submit{Txs: [][]byte{{1, 2}}, Wait: api.WaitSettled, WaitMS: 5}}, {Tx: &Tx{}}, {Account: &Account{Cursor: "x", Limit: 3}},
		{Block: &Block{Height: 9}}, {Report: &Report{}}, {Trace: &Trace{}}, {Proof: &Proof{}}, {},
	} {
		f.Add(encode(c))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var c, again Call
		if json.Unmarshal(raw, &c) != nil {
			return
		}
		if err := json.Unmarshal(encode(c), &again); err != nil || string(encode(again)) != string(encode(c)) {
			t.Errorf("%s decodes to %s, and that to %s, %v", raw, encode(c), encode(again), err)
		}
	})
}
