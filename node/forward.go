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
	"bdtnode/node/engine"
	"bdtnode/node/foreign"
	"bdtnode/node/xshardnet"
)

// answerCall answers a call of a replica of another shard. It never forwards the call, so calls cannot form a cycle.
// ctx ends when that replica no longer waits for the answer.
func (n *Node) answerCall(ctx context.Context, from xshardnet.Peer, raw []byte) (reply []byte, untaken int) {
	b := backend{n}
	party := admission.PeerParty(from.Shard, from.Replica)
	var c foreign.Call
	if err := json.Unmarshal(raw, &c); err != nil {
		return foreign.EncodeReply(nil, fmt.Errorf("malformed call: %w", err)), len(raw)
	}
	var result any
	var err error
	switch {
	case n.state == nil && (c.Submit != nil || c.Await != nil || c.Tx != nil || c.Account != nil || c.Proof != nil || c.Trace != nil):
		err = errNoPayments
	case c.Submit != nil:
		result, untaken, err = n.submitHere(ctx, party, c.Submit)
	case c.Await != nil:
		result, err = n.awaitHere(ctx, party, c.Await)
	case c.Tx != nil:
		result, _ = b.txHere(c.Tx.ID)
	case c.Account != nil && n.home.Genesis.Home(c.Account.Address) == n.home.Shard:
		result, err = b.accountHere(c.Account)
	case c.Block != nil:
		result, err = b.blockHere(c.Block.Height)
	case c.Proof != nil:
		result, err = b.partHere(ctx, c.Proof.ID)
	case c.Report != nil:
		result = n.report()
	case c.Trace != nil:
		ctx, cancel := context.WithTimeout(ctx, traceTime)
		defer cancel()
		result, err = n.traceHere(ctx, c.Trace.ID)
	default:
		err = errors.New("the call has no request that this shard answers")
	}
	return foreign.EncodeReply(result, err), untaken
}

// waitOf is the waiting time of a call, 0 to [api.MaxWait].
func waitOf(ms int64) (time.Duration, error) {
	if ms < 0 || ms > api.MaxWait.Milliseconds() {
		return 0, fmt.Errorf("a wait of %d ms, want 0 to %d ms", ms, api.MaxWait.Milliseconds())
	}
	return time.Duration(ms) * time.Millisecond, nil
}

// submitHere submits transactions that have inputs in this shard, and returns the bytes of those that it did not take.
func (n *Node) submitHere(ctx context.Context, from admission.Party, c *foreign.Submit) (answers []api.TxAnswer, untaken int, err error) {
	for _, raw := range c.Txs {
		untaken += len(raw)
	}
	stage, ok := stages[c.Wait]
	if !ok || len(c.Txs) == 0 || len(c.Txs) > api.MaxTxsPerRequest {
		return nil, untaken, fmt.Errorf("a submission of %d transactions with stage %q: want 1 to %d transactions and a known stage", len(c.Txs), c.Wait, api.MaxTxsPerRequest)
	}
	wait, err := waitOf(c.WaitMS)
	if err != nil {
		return nil, untaken, err
	}
	txs, err := n.decodeCall(c.Txs)
	if err != nil {
		return nil, untaken, err
	}
	b := backend{n}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	answers = make([]api.TxAnswer, len(txs))
	for k, p := range n.engine.Submit(ctx, from, txs, stage) {
		answers[k] = b.answer(p, stage)
		if taken(answers[k].State) {
			untaken -= len(c.Txs[k])
		}
	}
	return answers, untaken, nil
}

// taken reports whether the replica took a transaction in this state, now or earlier. A waiting one lacks inputs.
func taken(s api.State) bool {
	return s != api.StateUnknown && s != api.StateWaiting && s != api.StateRejected
}

// decodeCall decodes the transactions of a call. An honest replica passes a transaction on once, and only if it is
// well-formed and has an input in this shard. So one that is not makes the whole call an error, before the next is decoded.
func (n *Node) decodeCall(raws [][]byte) ([]*ledger.Tx, error) {
	first := make(map[string]int, len(raws))
	txs := make([]*ledger.Tx, len(raws))
	for i, raw := range raws {
		if k, again := first[string(raw)]; again {
			return nil, fmt.Errorf("transaction %d is a copy of transaction %d", i, k)
		}
		first[string(raw)] = i
		tx, refusal := decodeTx(n.committee.Network(), raw)
		switch {
		case refusal != nil:
			return nil, fmt.Errorf("transaction %d: %w", i, refusal)
		case !tx.Shards(n.home.Genesis.Home).Inputs.Has(n.home.Shard):
			return nil, fmt.Errorf("transaction %d has no input in shard %d", i, n.home.Shard)
		}
		txs[i] = tx
	}
	return txs, nil
}

// awaitHere waits until transactions are final in this shard.
func (n *Node) awaitHere(ctx context.Context, from admission.Party, c *foreign.Await) ([]api.State, error) {
	if len(c.IDs) == 0 || len(c.IDs) > api.MaxTxsPerRequest {
		return nil, fmt.Errorf("a wait for %d transactions, want 1 to %d", len(c.IDs), api.MaxTxsPerRequest)
	}
	wait, err := waitOf(c.WaitMS)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	return n.finalHere(ctx, from, c.IDs), nil
}

// finalHere waits until transactions are final in this shard, or ctx ends. It returns for each one settled, rejected,
// or unknown while it is not final.
func (n *Node) finalHere(ctx context.Context, from admission.Party, ids []ledger.TxID) []api.State {
	states := make([]api.State, len(ids))
	for k, p := range n.engine.Await(ctx, from, ids, engine.Final) {
		switch r := &p.Receipt; {
		case r.Height == 0 || !r.Verdict.Final():
			states[k] = api.StateUnknown
		case r.Verdict == ledger.VerdictSettled:
			states[k] = api.StateSettled
		default:
			states[k] = api.StateRejected
		}
	}
	return states
}
