package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"bdtnode/ledger"
	"bdtnode/node/admission"
	"bdtnode/node/api"
	"bdtnode/node/relay"
	"bdtnode/protocols"
)

// forwardTimeout bounds a call that is passed on and has no wait of its own.
const forwardTimeout = 5 * time.Second

// maxForwarded bounds the answer to a call that is passed on, in bytes. The largest are pages of accounts, some 300 kB.
const maxForwarded = 1 << 20

// call is a client call passed on to a replica of another shard; one field is set. Calls and answers are JSON, the
// form that clients have them in.
type call struct {
	Submit  *submitCall  `json:"submit,omitempty"`
	Await   *awaitCall   `json:"await,omitempty"`
	Tx      *txCall      `json:"tx,omitempty"`
	Account *accountCall `json:"account,omitempty"`
	Block   *blockCall   `json:"block,omitempty"`
}

type submitCall struct {
	Txs  [][]byte `json:"txs"`
	Wait api.Wait `json:"wait"`
}

type awaitCall struct {
	IDs []ledger.TxID `json:"ids"`
}

type txCall struct {
	ID ledger.TxID `json:"id"`
}

type accountCall struct {
	Address      ledger.Address `json:"address"`
	Cursor       string         `json:"cursor"`
	Limit        int            `json:"limit"`
	Older        string         `json:"older"`
	HistoryLimit int            `json:"history_limit"`
}

type blockCall struct {
	Height uint64 `json:"height"`
}

// reply is the answer to a call: a result, or what kept it from being one.
type reply struct {
	Result    json.RawMessage `json:"result,omitempty"`
	Error     string          `json:"error,omitempty"`
	NotFound  bool            `json:"not_found,omitempty"`
	BadCursor bool            `json:"bad_cursor,omitempty"`
}

// forward passes a call on to any replica of a shard that answers.
func forward[T any](n *Node, shard uint16, c call) (T, error) {
	ctx, cancel := context.WithTimeout(context.Background(), forwardTimeout)
	defer cancel()
	return forwardCtx[T](ctx, n, shard, c)
}

func forwardCtx[T any](ctx context.Context, n *Node, shard uint16, c call) (T, error) {
	raw, err := n.callAny(ctx, shard, mustJSON(c))
	return readReply[T](shard, raw, err)
}

// callAny passes a call on to a shard and returns its answer: the first replica that gives one, of at most all.
func (n *Node) callAny(ctx context.Context, shard uint16, raw []byte) ([]byte, error) {
	count := n.network.Committee(shard).N()
	var errs []error
	for k := range count {
		to := protocols.Index((int(n.home.Replica) + k) % count)
		answer, err := n.relay.Call(ctx, shard, to, raw, maxForwarded)
		if err == nil {
			return answer, nil
		}
		errs = append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, fmt.Errorf("no replica of shard %d answers: %w", shard, errors.Join(errs...))
}

// forwardTo passes a call on to one replica of a shard.
func forwardTo[T any](ctx context.Context, n *Node, shard uint16, to int, c call) (T, error) {
	raw, err := n.relay.Call(ctx, shard, protocols.Index(to), mustJSON(c), maxForwarded)
	return readReply[T](shard, raw, err)
}

func readReply[T any](shard uint16, raw []byte, err error) (T, error) {
	var out T
	if err != nil {
		return out, fmt.Errorf("%w: %w", api.ErrUnavailable, err)
	}
	var r reply
	if err := json.Unmarshal(raw, &r); err != nil {
		return out, fmt.Errorf("%w: shard %d answers what is no reply: %w", api.ErrUnavailable, shard, err)
	}
	switch {
	case r.NotFound:
		return out, fmt.Errorf("%s: %w", r.Error, api.ErrNotFound)
	case r.BadCursor:
		return out, fmt.Errorf("%s: %w", r.Error, api.ErrBadCursor)
	case r.Error != "":
		return out, fmt.Errorf("%w: shard %d: %s", api.ErrUnavailable, shard, r.Error)
	}
	if err := json.Unmarshal(r.Result, &out); err != nil {
		return out, fmt.Errorf("%w: shard %d answers what is no result: %w", api.ErrUnavailable, shard, err)
	}
	return out, nil
}

// answerCall answers a call that another replica passed on. It never passes one on itself, so no call goes in circles.
func (n *Node) answerCall(ctx context.Context, from relay.Peer, raw []byte) []byte {
	b := backend{n}
	party := admission.PeerParty(from.Shard, from.Replica)
	var c call
	if err := json.Unmarshal(raw, &c); err != nil {
		return mustJSON(reply{Error: fmt.Sprintf("the call does not decode: %v", err)})
	}
	var result any
	var err error
	switch {
	case c.Submit != nil:
		result, err = n.submitHere(ctx, party, c.Submit)
	case c.Await != nil && len(c.Await.IDs) <= api.MaxTxsPerRequest:
		ctx, cancel := context.WithTimeout(ctx, api.MaxWait)
		defer cancel()
		result = n.finalHere(ctx, party, c.Await.IDs)
	case c.Tx != nil:
		result, _ = b.txHere(c.Tx.ID)
	case c.Account != nil && n.home.Genesis.Home(c.Account.Address) == n.home.Shard:
		q := c.Account
		result, err = b.Account(q.Address, q.Cursor, q.Limit, q.Older, q.HistoryLimit)
	case c.Block != nil:
		result, err = b.Block(n.home.Shard, c.Block.Height)
	default:
		err = errors.New("the call names nothing that this shard answers")
	}
	if err != nil {
		return mustJSON(reply{Error: err.Error(), NotFound: errors.Is(err, api.ErrNotFound), BadCursor: errors.Is(err, api.ErrBadCursor)})
	}
	return mustJSON(reply{Result: mustJSON(result)})
}

// submitHere takes transactions that have inputs in this shard.
func (n *Node) submitHere(ctx context.Context, from admission.Party, c *submitCall) ([]api.TxAnswer, error) {
	stage, ok := stages[c.Wait]
	if !ok || len(c.Txs) == 0 || len(c.Txs) > api.MaxTxsPerRequest {
		return nil, fmt.Errorf("a submission of %d transactions waiting for %q", len(c.Txs), c.Wait)
	}
	for i, raw := range c.Txs {
		if tx, err := ledger.DecodeTx(raw); err == nil && !tx.Parties(n.home.Genesis.Home).Inputs.Has(n.home.Shard) {
			return nil, fmt.Errorf("transaction %d has no input in shard %d", i, n.home.Shard)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, api.MaxWait)
	defer cancel()
	b := backend{n}
	answers := make([]api.TxAnswer, 0, len(c.Txs))
	for _, p := range n.engine.Submit(ctx, from, c.Txs, stage) {
		answers = append(answers, b.answer(p, stage))
	}
	return answers, nil
}

func mustJSON(v any) []byte {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("node: %T does not marshal: %v", v, err)) // all of them do
	}
	return raw
}
