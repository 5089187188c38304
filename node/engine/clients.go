package engine

import (
	"context"
	"runtime"
	"time"

	"bdtnode/ledger"
	"bdtnode/node/admission"
	"bdtnode/node/clients"
)

// Stages of a transaction and its progress, see package admission.
type (
	Stage    = admission.Stage
	Progress = admission.Progress
)

// The stages, see [admission.Stage].
const (
	Logged    = admission.Logged
	Ordered   = admission.Ordered
	Certified = admission.Certified
	Final     = admission.Final
)

// verifyChunk is the number of transactions verified in one turn of their party.
const verifyChunk = 64

// verifiers is the number of requests that are verified at a time. One processor is left to consensus under any load of
// clients.
func verifiers() int { return max(1, runtime.GOMAXPROCS(0)-1) }

// Submit verifies transactions of a party, admits the valid ones and waits until each has come to stage or is refused,
// or ctx ends. It returns the progress of each, in order. A transaction that has not Reached the stage is still open.
// The transactions are distinct: see [ledger.Distinct].
func (e *Engine) Submit(ctx context.Context, from admission.Party, txs []*ledger.Tx, stage Stage) []Progress {
	since := e.clock.now()
	out := make([]Progress, len(txs))
	verified := e.verify(ctx, from, txs, out)
	ids := make([]ledger.TxID, 0, len(txs))
	for _, v := range verified {
		if v.Tx() != nil {
			ids = append(ids, v.Tx().ID())
		}
	}
	c, done := e.driver.Clients(), make(chan struct{})
	r := admission.NewRequest(from, ids, stage, true, since, func() { close(done) })
	c.Open(r)
	for _, v := range verified {
		if v.Tx() == nil || ctx.Err() != nil {
			continue
		}
		if err := c.Bring(r, v); err != nil {
			break // the store failed: the node is stopping
		}
	}
	signal(e.kick)
	e.measures.Admission.Observe(e.clock.now().Sub(since), len(ids))
	e.await(ctx, r, done)
	for i, v := range verified {
		if v.Tx() != nil {
			out[i] = r.Progress(v.Tx().ID())
		}
		if refusal := out[i].Refusal; refusal != nil {
			e.CountRefusal(refusal)
		}
	}
	return out
}

// Await waits like Submit, for transactions that are submitted elsewhere. It admits none.
func (e *Engine) Await(ctx context.Context, from admission.Party, ids []ledger.TxID, stage Stage) []Progress {
	c, done := e.driver.Clients(), make(chan struct{})
	r := admission.NewRequest(from, ids, stage, false, e.clock.now(), func() { close(done) })
	c.Open(r)
	if err := c.Recall(r); err != nil {
		outside.Errorw("receipts cannot be read", "own", "error", err)
	}
	e.await(ctx, r, done)
	out := make([]Progress, len(ids))
	for i, id := range ids {
		out[i] = r.Progress(id)
	}
	return out
}

// await waits for the end of a request, and closes it.
func (e *Engine) await(ctx context.Context, r *admission.Request, done <-chan struct{}) {
	select {
	case <-done:
	case <-ctx.Done():
	case <-e.stopped:
	}
	e.driver.Clients().Close(r)
}

// verify verifies many transactions. Parties verify in turn, a chunk at a time. It stores the refusals of transactions
// in out, and the ids of those that were not verified before ctx ended.
func (e *Engine) verify(ctx context.Context, from admission.Party, txs []*ledger.Tx, out []Progress) []ledger.VerifiedTx {
	verified := make([]ledger.VerifiedTx, 0, len(txs))
	for len(verified) < len(txs) {
		if !e.verifying.Take(ctx, from) {
			break
		}
		start := len(verified)
		chunk, refusals := ledger.VerifyTxs(e.cfg.Scheme, e.cfg.Committee.Network(), e.driver.KnownTxs(), txs[start:min(start+verifyChunk, len(txs))])
		e.verifying.Give(from)
		verified = append(verified, chunk...)
		for i, r := range refusals {
			out[start+i].Refusal = r
		}
	}
	for i := len(verified); i < len(txs); i++ { // there was no time for it
		out[i].ID = txs[i].ID()
	}
	return verified
}

// Find is the progress of a transaction at this replica; ok is false if the transaction is unknown.
func (e *Engine) Find(id ledger.TxID) (p Progress, ok bool) { return e.driver.Clients().Find(id) }

// Holding is the number of transactions and requests of clients in memory.
func (e *Engine) Holding() clients.Holding { return e.driver.Clients().Holding() }

// Latency is the median time from submission to execution of the transactions submitted here in the last seconds.
func (e *Engine) Latency() time.Duration { return e.latencies.median(time.Now()) }

// runClients calls [driver.Driver.Attend] when it is due.
func (e *Engine) runClients(ctx context.Context) error {
	timer := time.NewTimer(clients.AttendEvery)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-e.attend:
		case <-ctx.Done():
			return nil
		}
		next, err := e.driver.Attend()
		if err != nil {
			return err
		}
		if next == 0 {
			timer.Stop()
		} else {
			timer.Reset(max(0, next.Sub(e.clock.now())))
		}
	}
}
