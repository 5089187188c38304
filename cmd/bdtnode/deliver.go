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
	"bdtnode/node/api/client"
)

// Pauses between attempts to hand a transaction in.
const (
	shortPause = 50 * time.Millisecond
	longPause  = 2 * time.Second
)

// confirmWithin is how long a replica may take to confirm a refusal.
const confirmWithin = 2 * time.Second

// delivery hands signed transactions to a network and waits for what becomes of them.
type delivery struct {
	clients []*client.Client
	wait    api.Wait
	timeout time.Duration
}

// outcome is the last answer for one transaction. Known is false if there was none, or not the one waited for: then
// it may still settle.
type outcome struct {
	answer api.TxAnswer
	known  bool
}

// send hands the transactions in and answers for each, in order. A replica that is gone or full is asked again, then
// the next one, until the time is up; a transaction means the same however often it arrives. An error means that none
// was taken.
func (d *delivery) send(parent context.Context, txs []*ledger.Tx) ([]outcome, error) {
	started := time.Now()
	ctx, cancel := context.WithTimeout(parent, d.timeout)
	defer cancel()
	out := make([]outcome, len(txs))
	open := make([]int, len(txs)) // those without their outcome
	for i := range txs {
		out[i].answer = api.TxAnswer{ID: txs[i].ID(), State: api.StateUnknown}
		open[i] = i
	}
	taken := false // whether any may have arrived
	pause := shortPause
	for at := 0; ; at++ {
		left := time.Until(deadlineOf(ctx))
		answers, err := d.clients[at%len(d.clients)].Submit(ctx, encoded(txs, open), d.wait, min(left, api.MaxWait))
		if err != nil {
			again, after := retryable(err)
			taken = taken || errors.Is(err, client.ErrInterrupted)
			lone := errors.Is(err, client.ErrUnreachable) && at+1 >= len(d.clients) // nobody else to turn to
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
		return nil, output.Interrupted("interrupted after %s: no replica has taken the transactions", waited)
	default:
		return nil, output.Unreachable("no replica took the transactions within %s", waited)
	}
}

// confirmed asks further replicas, as many as may be faulty, about transactions that one says are refused, and answers
// for each whether none of them denies it. Replicas that do not answer say nothing.
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

// waitedText is the time since a moment, for people.
func waitedText(since time.Time) string {
	waited := time.Since(since)
	if waited < time.Second {
		return waited.Round(time.Millisecond).String()
	}
	return waited.Round(100 * time.Millisecond).String()
}

// reached reports whether a is the answer that wait asked for, or a final one.
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
	}
	return false
}

// retryable reports whether the same submission may succeed later, and when if the replica said so.
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

// sleep reports false if the context ended first.
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
