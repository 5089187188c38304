package main

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"bdtnode/cmd/bdtnode/output"
	"bdtnode/ledger"
	"bdtnode/node/api"
	"bdtnode/node/client"
)

// Pauses between two submissions of a transaction. The pause doubles from short to long.
const (
	shortPause = 50 * time.Millisecond
	longPause  = 2 * time.Second
)

// confirmWithin is the time in which a replica has to confirm a rejection.
const confirmWithin = 2 * time.Second

// delivery submits signed transactions to a network and waits for their outcomes.
type delivery struct {
	clients []*client.Client
	wait    api.Wait
	timeout time.Duration
}

// outcome is the last answer for one transaction. known is false if no replica answered, or if the transaction has not
// reached the stage that was waited for: then it may still settle.
type outcome struct {
	answer api.TxAnswer
	known  bool
}

// send submits the transactions and returns one outcome for each, in the same order. If a replica is unreachable or its
// mempool is full, send tries again with the next one until the timeout. Submitting a transaction again has no further
// effect, so repetition is safe. An error means that no replica accepted any of the transactions.
func (d *delivery) send(parent context.Context, txs []*ledger.Tx) ([]outcome, error) {
	started := time.Now()
	ctx, cancel := context.WithTimeout(parent, d.timeout)
	defer cancel()
	out := make([]outcome, len(txs))
	open := make([]int, len(txs)) // indexes of transactions without a final outcome
	for i := range txs {
		out[i].answer = api.TxAnswer{ID: txs[i].ID(), State: api.StateUnknown}
		open[i] = i
	}
	taken := false // whether a transaction may have arrived at a replica
	var last error // of the newest attempt that the timeout did not end
	pause := shortPause
	for at := 0; ; at++ {
		left := time.Until(deadlineOf(ctx))
		answers, err := d.clients[at%len(d.clients)].Submit(ctx, encoded(txs, open), d.wait, min(left, api.MaxWait))
		if err != nil {
			if ctx.Err() == nil {
				last = err
			}
			again, after := retryable(err)
			taken = taken || errors.Is(err, client.ErrInterrupted)
			lone := errors.Is(err, client.ErrUnreachable) && at+1 >= len(d.clients) // there is no other replica to try
			if !taken && (!again || lone) {
				return nil, err
			}
			if after > 0 {
				pause = after
			}
		} else {
			taken = true
			var retry []int
			for n, i := range open {
				a := answers[n]
				out[i] = outcome{answer: a, known: reached(a, d.wait)}
				if !out[i].known {
					retry = append(retry, i)
				}
				if a.RetryMS > 0 {
					pause = max(pause, time.Duration(a.RetryMS)*time.Millisecond)
				}
			}
			open = retry
		}
		if len(open) == 0 || !sleep(ctx, pause) {
			break
		}
		pause = min(2*pause, longPause)
	}
	switch waited := waitedText(started); {
	case taken || ctx.Err() == nil:
		return out, nil
	case parent.Err() != nil:
		return nil, output.Interrupted("interrupted after %s: no replica has accepted the transactions", waited)
	default:
		return nil, output.Unreachable("no replica accepted the transactions within %s%s", waited, because(last))
	}
}

// confirmed submits transactions that one replica rejected to as many further replicas as may be faulty. It returns
// true for a transaction unless one of these replicas gives another answer than rejected. Replicas that do not answer
// are skipped.
func (d *delivery) confirmed(ctx context.Context, txs []*ledger.Tx, faulty int) []bool {
	out := slices.Repeat([]bool{true}, len(txs))
	all := make([]int, len(txs))
	for i := range all {
		all[i] = i
	}
	for _, c := range d.clients[1:] {
		if faulty == 0 || len(txs) == 0 {
			break
		}
		answers, err := c.Submit(ctx, encoded(txs, all), api.WaitAccepted, confirmWithin)
		if err != nil {
			continue
		}
		for i := range answers {
			out[i] = out[i] && answers[i].State == api.StateRejected
		}
		faulty--
	}
	return out
}

// waitedText is the time since a moment, rounded for display.
func waitedText(since time.Time) string {
	waited := time.Since(since)
	if waited < time.Second {
		return waited.Round(time.Millisecond).String()
	}
	return waited.Round(100 * time.Millisecond).String()
}

// reached reports whether a is final or has the stage that wait names.
func reached(a api.TxAnswer, wait api.Wait) bool {
	switch a.State {
	case api.StateRejected:
		return a.Reason != api.ReasonBookFull
	case api.StateSettled:
		return wait != api.WaitCertified || a.Certified
	case api.StateCertified:
		return wait != api.WaitSettled
	case api.StateOrdered:
		return wait == api.WaitAccepted || wait == api.WaitOrdered
	case api.StateAccepted:
		return wait == api.WaitAccepted
	case api.StateUnknown, api.StateWaiting:
	}
	return false
}

// retryable reports whether the same submission may succeed later, and the pause that the replica asks for (0 if it
// names none).
func retryable(err error) (again bool, after time.Duration) {
	var full *client.ErrBookFull
	var problem *client.ProblemError
	switch {
	case errors.Is(err, client.ErrUnreachable):
		return true, 0
	case errors.As(err, &full):
		return true, full.RetryAfter
	case errors.As(err, &problem):
		return problem.RetryAfter > 0 || problem.Status == http.StatusRequestTimeout, problem.RetryAfter
	}
	return false, 0
}

func encoded(txs []*ledger.Tx, which []int) [][]byte {
	raw := make([][]byte, len(which))
	for n, i := range which {
		raw[n] = txs[i].Encode()
	}
	return raw
}

func deadlineOf(ctx context.Context) time.Time {
	t, _ := ctx.Deadline()
	return t
}

// sleep waits for d. It returns false if the context ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// because is the reason of a failure, for the end of a sentence; empty if it is not known.
func because(err error) string {
	if err == nil {
		return ""
	}
	return ": " + err.Error()
}
