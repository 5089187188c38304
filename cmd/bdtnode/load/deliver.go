package load

import (
	"context"
	"errors"
	"net/http"
	"time"

	"bdtnode/ledger"
	"bdtnode/node/api"
	"bdtnode/node/client"
)

const (
	retryUnstated = 200 * time.Millisecond // pause before another try if no replica named one
	askEvery      = time.Second            // pause between two queries for one transaction
	maxAsking     = 32                     // largest number of such queries at a time
	answerMargin  = 500 * time.Millisecond // part of the drain that is kept for the answer to arrive
)

// deliver submits transfers to a replica and counts the answers. Transfers that were refused for lack of space, or
// whose connection broke, are submitted to the next replica with the same ids, until the context ends.
func (r *run) deliver(ctx context.Context, batch []*transfer, replica int) {
	for try := 1; len(batch) > 0 && ctx.Err() == nil; try++ {
		raws := make([][]byte, len(batch))
		for i, t := range batch {
			raws[i] = t.raw
		}
		answers, err := r.submit(ctx, batch[0], raws, replica)
		var after time.Duration
		if err == nil {
			batch, after = r.count(ctx, batch, answers, replica)
		} else if after = r.retryAfter(err); after < 0 {
			if ctx.Err() == nil {
				r.fail(err)
			}
			return
		}
		if len(batch) == 0 {
			return
		}
		if after == 0 && try%len(r.to.clients) == 0 { // every replica failed without naming a pause
			after = retryUnstated
		}
		replica = r.to.after(replica)
		pause(ctx, after)
	}
}

// submit submits the transfers of a request, all of which are like the first.
func (r *run) submit(ctx context.Context, first *transfer, raws [][]byte, replica int) ([]api.TxAnswer, error) {
	wait, to := max(time.Millisecond, min(maxPostWait, r.left()-answerMargin)), r.to.clients[replica]
	switch {
	case first.orphan(): // it never settles, and a replica keeps it for a while
		return to.Submit(ctx, raws, api.WaitAccepted, wait)
	case first.once:
		return to.SubmitOnce(ctx, raws, api.WaitSettled, wait)
	}
	return to.Submit(ctx, raws, api.WaitSettled, wait)
}

// orphan reports whether the ledger may know no input of the transfer. Then no replica takes it, and no block has it. An
// old output is unknown under another owner than its own.
func (t *transfer) orphan() bool {
	return (t.kind == Unknown || t.kind == WrongOwner) && len(t.spends) == 1
}

// refused reports whether an answer refuses a transfer whose only input is unknown. The refusal is not final for the
// replica, because such an input may come.
func refused(t *transfer, a *api.TxAnswer) bool {
	return t.orphan() && (a.State == api.StateWaiting || a.State == api.StateUnknown && a.Reason == ledger.ReasonUnknownInput.String())
}

// count evaluates the answers of one request. It returns the transfers to submit again, and the pause before that. It
// starts queries for transfers without a final answer.
func (r *run) count(ctx context.Context, batch []*transfer, answers []api.TxAnswer, replica int) (again []*transfer, after time.Duration) {
	now := time.Now()
	var open []*transfer
	for i, t := range batch {
		switch a := &answers[i]; {
		case r.final(t, a, now):
		case a.State == api.StateUnknown: // not accepted, and may be submitted again
			again = append(again, t)
			after = max(after, time.Duration(a.RetryMS)*time.Millisecond)
			if a.RetryMS == 0 {
				after = max(after, retryUnstated)
			}
		default:
			open = append(open, t)
		}
	}
	if len(open) > 0 {
		r.work.Go(func() { r.ask(ctx, open, replica) })
	}
	return again, after
}

// final counts the answer and returns true if it is final for the transfer.
func (r *run) final(t *transfer, a *api.TxAnswer, now time.Time) bool {
	if refused(t, a) {
		r.answered(1)
		r.tally.rejected(t, ledger.ReasonUnknownInput.String(), now.Sub(r.start))
		r.collectRefunds(t, a, now)
		return true
	}
	if a.State != api.StateSettled && a.State != api.StateRejected {
		if a.State != api.StateWaiting && a.State != api.StateUnknown {
			r.tally.accepted(t)
		}
		return false
	}
	r.answered(1)
	if a.State == api.StateSettled {
		r.generator.settled(t)
		r.tally.settled(t, now.Sub(r.start))
	} else {
		r.tally.rejected(t, a.Reason, now.Sub(r.start))
		r.tally.ended(t, endingOf(a))
		r.collectRefunds(t, a, now)
	}
	return true
}

// retryAfter is the pause after which the same request may succeed, 0 if the error names none, and negative if it can
// never succeed.
func (r *run) retryAfter(err error) time.Duration {
	var full *client.ErrBookFull
	var problem *client.ProblemError
	switch {
	case errors.As(err, &full):
		return full.RetryAfter
	case errors.Is(err, client.ErrUnreachable):
		return 0
	case errors.As(err, &problem) && (problem.Status >= http.StatusInternalServerError || problem.Status == http.StatusRequestTimeout):
		return problem.RetryAfter
	}
	return -1
}

// ask queries transfers whose wait ended without a final answer, one by one, until each has one. If a replica cannot be
// reached, the next one is asked. Transfers that a replica has lost are submitted again.
func (r *run) ask(ctx context.Context, open []*transfer, replica int) {
	for len(open) > 0 {
		still := open[:0]
		var lost []*transfer
		for _, t := range open {
			select {
			case r.asking <- struct{}{}:
			case <-ctx.Done():
				return
			}
			a, err := r.to.clients[replica].Tx(ctx, t.id)
			<-r.asking
			switch {
			case err == nil && r.final(t, &a, time.Now()):
			case errors.Is(err, client.ErrNotFound):
				lost = append(lost, t)
			default:
				still = append(still, t)
				if err != nil {
					replica = r.to.after(replica)
				}
			}
		}
		if len(lost) > 0 {
			to := replica
			r.work.Go(func() { r.deliver(ctx, lost, to) })
		}
		open = still
		if len(open) > 0 {
			pause(ctx, askEvery)
		}
	}
}
