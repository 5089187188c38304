package engine

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"bdtnode/internal/sig"
	"bdtnode/ledger"
	"bdtnode/node/admission"
	"bdtnode/node/driver"
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

// Submit checks transactions of a party, admits the valid ones and waits until each has come to stage or is refused, or
// ctx ends. It returns the progress of each, in order. A transaction that has not Reached the stage is still open.
// Copies of one transaction cost as much as one.
func (e *Engine) Submit(ctx context.Context, from admission.Party, raws [][]byte, stage Stage) []Progress {
	distinct, index := ledger.Distinct(raws)
	since := e.clock.now()
	txs, answers := e.verify(ctx, from, distinct)
	ids := make([]ledger.TxID, 0, len(txs))
	for _, tx := range txs {
		if tx != nil {
			ids = append(ids, tx.ID())
		}
	}
	clients, done := e.driver.Clients(), make(chan struct{})
	r := admission.NewRequest(from, ids, stage, true, since, func() { close(done) })
	clients.Open(r)
	for _, tx := range txs {
		if tx == nil || ctx.Err() != nil {
			continue
		}
		if err := clients.Bring(r, tx); err != nil {
			break // the store failed: the node is stopping
		}
	}
	signal(e.kick)
	e.await(ctx, r, done)
	for i, tx := range txs {
		if tx != nil {
			answers[i] = r.Progress(tx.ID())
		}
	}
	out := make([]Progress, len(raws))
	for i, k := range index {
		out[i] = answers[k]
	}
	return out
}

// Await waits like Submit, for transactions that are submitted elsewhere. It admits none.
func (e *Engine) Await(ctx context.Context, from admission.Party, ids []ledger.TxID, stage Stage) []Progress {
	clients, done := e.driver.Clients(), make(chan struct{})
	r := admission.NewRequest(from, ids, stage, false, e.clock.now(), func() { close(done) })
	clients.Open(r)
	if err := clients.Recall(r); err != nil {
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

// verify checks encodings and signatures of many transactions at once, and singly if that fails. Parties verify in
// turn, a chunk at a time. A transaction that was not verified before ctx ended has an id at most.
func (e *Engine) verify(ctx context.Context, from admission.Party, raws [][]byte) ([]*ledger.Tx, []Progress) {
	txs, answers := make([]*ledger.Tx, len(raws)), make([]Progress, len(raws))
	for start := 0; start < len(raws); start += verifyChunk {
		if !e.verifying.take(ctx, from) {
			break
		}
		end := min(start+verifyChunk, len(raws))
		e.verifyChunk(raws[start:end], txs[start:end], answers[start:end])
		e.verifying.give()
	}
	for i, raw := range raws {
		if txs[i] == nil && answers[i].Refusal == nil { // there was no time for it
			if tx, err := ledger.DecodeTx(raw); err == nil {
				answers[i].ID = tx.ID()
			}
		}
	}
	return txs, answers
}

func (e *Engine) verifyChunk(raws [][]byte, txs []*ledger.Tx, answers []Progress) {
	network := e.cfg.Committee.Network()
	var items []sig.Check
	for i, raw := range raws {
		tx, err := ledger.DecodeTx(raw)
		if err == nil {
			if r := tx.Check(network); r != nil {
				err = r
			}
		}
		if err != nil {
			answers[i].Refusal = refusalOf(err)
			continue
		}
		txs[i] = tx
		items = append(items, tx.SigItems()...)
	}
	if e.cfg.Scheme.VerifyAll(items) {
		return
	}
	for i, tx := range txs {
		if tx == nil {
			continue
		}
		if _, err := ledger.VerifyTx(e.cfg.Scheme, network, raws[i]); err != nil {
			txs[i], answers[i].Refusal = nil, refusalOf(err)
		}
	}
}

func refusalOf(err error) *ledger.Refusal {
	var r *ledger.Refusal
	if !errors.As(err, &r) {
		panic(fmt.Sprintf("engine: a transaction failed without a refusal: %v", err)) // the scheme contradicts itself
	}
	return r
}

// Find is the progress of a transaction at this replica; ok is false if the transaction is unknown.
func (e *Engine) Find(id ledger.TxID) (p Progress, ok bool) { return e.driver.Clients().Find(id) }

// Holding is the number of transactions and requests of clients in memory.
func (e *Engine) Holding() driver.Holding { return e.driver.Clients().Holding() }

// Latency is the median time from submission to execution of the transactions submitted here in the last seconds.
func (e *Engine) Latency() time.Duration { return e.latencies.median(time.Now()) }

// runClients calls [driver.Driver.Attend] when it is due.
func (e *Engine) runClients(ctx context.Context) error {
	tick := time.NewTicker(driver.AttendEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-e.attend:
		case <-ctx.Done():
			return nil
		}
		if err := e.driver.Attend(); err != nil {
			return err
		}
	}
}
