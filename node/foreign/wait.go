package foreign

import (
	"context"
	"fmt"
	"sync"
	"time"

	"bdtnode/ledger"
	"bdtnode/node/api"
	"bdtnode/node/quorum"
	"bdtnode/protocols"
)

// Settled waits until f+1 replicas of a shard report each transaction as settled there, or until ctx ends. It returns
// true for the transactions for which they do. Waits that begin at about the same time share calls.
func (r *Reader) Settled(ctx context.Context, shard uint16, ids []ledger.TxID) []bool {
	return r.awaits[shard].wait(ctx, ids)
}

// await asks until f+1 replicas of a shard report each transaction as final there, until most has passed, or ctx ends. It calls
// decided for each transaction on whose state they agree. For several waits (shared), an answer has the states after turnTime
// at the latest, and the others are asked for again.
func (r *Reader) await(ctx context.Context, shard uint16, ids []ledger.TxID, most time.Duration, shared bool, decided func(i int, state quorum.Key)) {
	known := make([]bool, len(ids))
	q := question[[]api.State]{
		Config: r.waiting(shard, len(ids)), shard: shard, most: mostAnswer,
		call: func(left time.Duration) []byte {
			wait := max(0, left-margin)
			if shared {
				wait = min(wait, turnTime)
			}
			return encode(Call{Await: &Await{IDs: ids, WaitMS: wait.Milliseconds()}})
		},
		read: func(_ protocols.Index, a *[]api.State, err error) ([]quorum.Key, error) {
			if err != nil {
				return nil, err
			}
			keys := make([]quorum.Key, len(*a))
			for i, s := range *a {
				if s == api.StateSettled || s == api.StateRejected {
					keys[i] = quorum.Key(s)
				}
			}
			return keys, nil
		},
		answered: func(m *quorum.Machine) {
			for i := range ids {
				if key, _, ok := m.Decided(i); ok && !known[i] {
					known[i] = true
					decided(i, key)
				}
			}
		},
	}
	askShard(ctx, r, q, min(most, api.MaxWait))
}

// Submit submits transactions that have inputs in a shard to f+1 of its replicas, so that an honest one has them, and
// to further replicas in place of those that do not answer. The answer for each transaction is the part on which f+1
// replicas agree: that it is rejected or was not accepted, each for the same reason, or that it has reached the stage.
// Details in which they differ, because they are at different heights, are left out. If too few agree when ctx ends,
// the outcome is open.
func (r *Reader) Submit(ctx context.Context, shard uint16, raws [][]byte, ids []ledger.TxID, wait api.Wait) []api.TxAnswer {
	answers := make([]api.TxAnswer, len(ids))
	var wg sync.WaitGroup
	at := 0
	for _, some := range pieces(raws) {
		from, to := at, at+len(some)
		wg.Go(func() { r.submit(ctx, shard, some, ids[from:to], wait, answers[from:to]) })
		at = to
	}
	wg.Wait()
	return answers
}

func (r *Reader) submit(ctx context.Context, shard uint16, raws [][]byte, ids []ledger.TxID, wait api.Wait, answers []api.TxAnswer) {
	byKey := newAnswerSet(common)
	q := question[[]api.TxAnswer]{
		Config: r.waiting(shard, len(ids)), shard: shard, most: mostAnswer,
		call: func(left time.Duration) []byte {
			return encode(Call{Submit: &Submit{Txs: raws, Wait: wait, WaitMS: max(0, left-margin).Milliseconds()}})
		},
		read: func(_ protocols.Index, a *[]api.TxAnswer, err error) ([]quorum.Key, error) {
			if err != nil {
				return nil, err
			}
			if len(*a) != len(ids) {
				return nil, fmt.Errorf("%d answers, want %d", len(*a), len(ids))
			}
			keys := make([]quorum.Key, len(ids))
			for i := range *a {
				x := &(*a)[i]
				if x.ID != ids[i] || x.Shard != shard {
					return nil, fmt.Errorf("an answer about transaction %s in shard %d", x.ID, x.Shard)
				}
				keys[i] = outcomeKey(x)
			}
			for i := range *a {
				byKey.note(i, keys[i], &(*a)[i])
			}
			return keys, nil
		},
	}
	h := askShard(ctx, r, q, api.MaxWait)
	for i, id := range ids {
		answers[i] = api.TxAnswer{ID: id, State: api.StateUnknown, Shard: shard, TimedOut: true}
		if key, _, ok := h.Decided(i); ok {
			answers[i] = *byKey.by[itemKey{i, key}]
		}
	}
}

// outcomeKey is the key of the outcome of a submitted transaction, empty while that is open. Stages beyond the one that
// was waited for do not make a difference.
func outcomeKey(a *api.TxAnswer) quorum.Key {
	a.Parts, a.Inputs, a.Outputs = nil, nil, nil
	switch {
	case a.State == api.StateRejected:
		return quorum.Key("rejected " + a.Reason)
	case a.TimedOut || a.State == api.StateUnknown && a.Reason == "":
		return ""
	case a.State == api.StateUnknown: // not accepted
		return quorum.Key("refused " + a.Reason)
	case a.State == api.StateWaiting:
		return "waiting"
	}
	return "reached"
}

// reached orders the states of a transaction that is not rejected.
var reached = map[api.State]int{api.StateAccepted: 1, api.StateOrdered: 2, api.StateCertified: 3, api.StateSettled: 4}

// common reduces a to the part on which b agrees: the lower state, and only equal details.
func common(a, b *api.TxAnswer) {
	if reached[b.State] < reached[a.State] {
		a.State = b.State
	}
	a.Certified = a.Certified && b.Certified
	if a.Height != b.Height {
		a.Height = 0
	}
	if a.Detail != b.Detail {
		a.Detail = ""
	}
	if a.BusyShard == nil || b.BusyShard == nil || *a.BusyShard != *b.BusyShard {
		a.BusyShard, a.BusySince = nil, 0
	} else {
		a.BusySince = max(a.BusySince, b.BusySince)
	}
}

// Hand submits transactions to one replica of a shard, and to another one if that fails. It is a hint: no outcome is
// waited for. Hints that come while others are under way share a call.
func (r *Reader) Hand(ctx context.Context, shard uint16, raws [][]byte) {
	r.hints[shard].send(ctx, raws)
}

func (r *Reader) hand(ctx context.Context, shard uint16, raws [][]byte) {
	for _, some := range pieces(raws) {
		q := question[[]api.TxAnswer]{
			Config: r.reading(shard), shard: shard, most: mostAnswer,
			call: func(left time.Duration) []byte {
				return encode(Call{Submit: &Submit{Txs: some, Wait: api.WaitAccepted, WaitMS: left.Milliseconds()}})
			},
			read: func(_ protocols.Index, a *[]api.TxAnswer, err error) ([]quorum.Key, error) {
				return []quorum.Key{"given"}, err
			},
		}
		q.Need, q.Rounds = 1, 1
		if h := askShard(ctx, r, q, readTime); h.Heard() == 0 {
			outside.Debugw("transactions not forwarded", shard, "shard", shard, "count", len(some), "error", h.last)
		}
	}
}

// piece is the largest size of the transactions in one call, in bytes: encoded, they have less than the 256 KiB that a
// call may have.
const piece = 128 << 10

// pieces splits a list of transactions so that each part fits into a call.
func pieces(raws [][]byte) (out [][][]byte) {
	size := 0
	for _, raw := range raws {
		if size += len(raw); len(out) == 0 || size > piece {
			out, size = append(out, nil), len(raw)
		}
		out[len(out)-1] = append(out[len(out)-1], raw)
	}
	return out
}
