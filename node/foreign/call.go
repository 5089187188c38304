// Package foreign asks other shards: for accounts, blocks and transactions, whether outputs exist there, and to order
// transactions.
//
// No replica of another shard is believed alone. A question goes to its replicas as package quorum decides, and its
// answer is what f+1 of them say in equal words, so one honest among them. Without that an account is marked as
// unconfirmed, and a transaction's part in the shard is shown as unreachable or unconfirmed, never left out.
package foreign

import (
	"encoding/json"
	"errors"
	"fmt"

	"bdtnode/ledger"
	"bdtnode/node/api"
)

// Call is a question to a replica of another shard; one field is set. Calls and answers are JSON, the form that clients
// have them in.
type Call struct {
	Submit  *Submit  `json:"submit,omitempty"`
	Await   *Await   `json:"await,omitempty"`
	Tx      *Tx      `json:"tx,omitempty"`
	Account *Account `json:"account,omitempty"`
	Block   *Block   `json:"block,omitempty"`
}

// Submit gives transactions that have inputs in the shard. It is answered, when all have come to the stage or after a
// time, with an [api.TxAnswer] for each, of that shard alone.
type Submit struct {
	Txs    [][]byte `json:"txs"`
	Wait   api.Wait `json:"wait"`
	WaitMS int64    `json:"wait_ms"`
}

// Await asks to be answered when all transactions are final in the shard, or after a time. It is answered with an
// [api.State] for each: settled, rejected or, while it is open, unknown.
type Await struct {
	IDs    []ledger.TxID `json:"ids"`
	WaitMS int64         `json:"wait_ms"`
}

// Tx asks what the shard alone knows of a transaction. It is answered with an [api.TxAnswer].
type Tx struct {
	ID ledger.TxID `json:"id"`
}

// Account asks for pages of an account of the shard. It is answered with an [api.Account].
type Account struct {
	Address      ledger.Address `json:"address"`
	Cursor       string         `json:"cursor"`
	Limit        int            `json:"limit"`
	Older        string         `json:"older"`
	HistoryLimit int            `json:"history_limit"`
}

// Block asks for a block of the shard. It is answered with an [api.Block].
type Block struct {
	Height uint64 `json:"height"`
}

// reply is the answer to a call: a result, or what kept it from being one.
type reply struct {
	Result    json.RawMessage `json:"result,omitempty"`
	Error     string          `json:"error,omitempty"`
	NotFound  bool            `json:"not_found,omitempty"`
	BadCursor bool            `json:"bad_cursor,omitempty"`
}

// EncodeReply is the answer to a call.
func EncodeReply(result any, err error) []byte {
	if err != nil {
		return encode(reply{Error: err.Error(), NotFound: errors.Is(err, api.ErrNotFound), BadCursor: errors.Is(err, api.ErrBadCursor)})
	}
	return encode(reply{Result: encode(result)})
}

// decodeReply reads an answer. Errors that are the same at every replica wrap those of package api.
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
		panic(fmt.Sprintf("foreign: %T does not marshal: %v", v, err)) // all of them do
	}
	return raw
}
