// Package foreign asks other shards: it reads accounts, blocks and transactions, waits until outputs exist there, and
// submits transactions.
//
// A single replica of another shard is not trusted. Package quorum selects the replicas to ask. An answer counts when
// f+1 replicas give equal answers, so that one of them is honest. Without such an answer an account is marked as
// unconfirmed, and the part of a transaction in that shard is shown as unreachable or unconfirmed; it is never left
// out.
package foreign

import (
	"encoding/json"
	"errors"
	"fmt"

	"bdtnode/ledger"
	"bdtnode/node/api"
)

// Call is a request to a replica of another shard; exactly one field is set. Calls and answers are encoded as JSON, in
// the form that clients get.
type Call struct {
	Submit  *Submit  `json:"submit,omitempty"`
	Await   *Await   `json:"await,omitempty"`
	Tx      *Tx      `json:"tx,omitempty"`
	Account *Account `json:"account,omitempty"`
	Block   *Block   `json:"block,omitempty"`
	Report  *Report  `json:"report,omitempty"`
	Trace   *Trace   `json:"trace,omitempty"`
	Proof   *Proof   `json:"proof,omitempty"`
}

// Trace asks for the steps of a transaction at the replica. The answer is a [TraceAnswer].
type Trace struct {
	ID ledger.TxID `json:"id"`
}

// TraceAnswer has the steps of a transaction at the replica, and the times of the question by its clock.
type TraceAnswer struct {
	api.ReplicaTrace
	Involved   []uint16 `json:"involved"` // shards of the transaction as far as the replica knows them
	AskedUS    int64    `json:"asked_us"` // Unix microseconds, like the next
	AnsweredUS int64    `json:"answered_us"`
}

// Proof asks for the shard's part of the proof of a transaction. The answer is its encoding ([]byte).
type Proof struct {
	ID ledger.TxID `json:"id"`
}

// Report asks for the replica's report about itself and its shard. The answer is an [api.Report].
type Report struct{}

// Submit submits transactions that have inputs in the shard. The answer is a list with an [api.TxAnswer] of that shard
// for each, sent when all have reached the stage or the time is over.
type Submit struct {
	Txs    [][]byte `json:"txs"`
	Wait   api.Wait `json:"wait"`
	WaitMS int64    `json:"wait_ms"`
}

// Await waits until all transactions are final in the shard. The answer is a list with an [api.State] for each, sent
// then or when the time is over: settled, rejected, or unknown while it is not final.
type Await struct {
	IDs    []ledger.TxID `json:"ids"`
	WaitMS int64         `json:"wait_ms"`
}

// Tx asks for the shard's own data about a transaction. The answer is an [api.TxAnswer].
type Tx struct {
	ID ledger.TxID `json:"id"`
}

// Account asks for pages of an account of the shard. The answer is an [api.Account].
type Account struct {
	Address      ledger.Address `json:"address"`
	Cursor       string         `json:"cursor"`
	Limit        int            `json:"limit"`
	Older        string         `json:"older"`
	HistoryLimit int            `json:"history_limit"`
}

// Block asks for a block of the shard. The answer is an [api.Block].
type Block struct {
	Height uint64 `json:"height"`
}

// reply is the answer to a call: a result or an error.
type reply struct {
	Result    json.RawMessage `json:"result,omitempty"`
	Error     string          `json:"error,omitempty"`
	NotFound  bool            `json:"not_found,omitempty"`
	BadCursor bool            `json:"bad_cursor,omitempty"`
}

// EncodeReply encodes the answer to a call.
func EncodeReply(result any, err error) []byte {
	if err != nil {
		return encode(reply{Error: err.Error(), NotFound: errors.Is(err, api.ErrNotFound), BadCursor: errors.Is(err, api.ErrBadCursor)})
	}
	return encode(reply{Result: encode(result)})
}

// DecodeReply decodes the answer to a call.
func DecodeReply(raw []byte, result any) error { return decodeReply(raw, result) }

// decodeReply decodes an answer. Errors that are the same at every replica wrap those of package api.
func decodeReply(raw []byte, result any) error {
	var r reply
	if err := json.Unmarshal(raw, &r); err != nil {
		return fmt.Errorf("malformed reply: %w", err)
	}
	switch {
	case r.NotFound:
		return fmt.Errorf("%s: %w", r.Error, api.ErrNotFound)
	case r.BadCursor:
		return fmt.Errorf("%s: %w", r.Error, api.ErrBadCursor)
	case r.Error != "":
		return errors.New(r.Error)
	}
	if err := json.Unmarshal(r.Result, result); err != nil {
		return fmt.Errorf("malformed result: %w", err)
	}
	return nil
}

func encode(v any) []byte {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("foreign: cannot encode %T: %v", v, err)) // cannot happen: all types used have an encoding
	}
	return raw
}
