package foreign

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"bdtnode/ledger"
	"bdtnode/node/api"
)

var three = []ledger.TxID{{1}, {2}, {3}}

// settles is an honest replica in which transactions settle at the given times after began; those without a time never
// settle.
func settles(began time.Time, at ...time.Duration) behaviour {
	return func(ctx context.Context, c Call) (any, error) {
		end := time.Now().Add(time.Duration(c.Await.WaitMS) * time.Millisecond)
		if len(at) == len(c.Await.IDs) {
			if last := began.Add(slices.Max(at)); last.Before(end) {
				end = last
			}
		}
		select {
		case <-time.After(time.Until(end)):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		states := make([]api.State, len(c.Await.IDs))
		for i := range states {
			states[i] = api.StateUnknown
			if i < len(at) && !time.Now().Before(began.Add(at[i])) {
				states[i] = api.StateSettled
			}
		}
		return states, nil
	}
}

// A transaction counts as settled when f+1 replicas report it, not earlier. A silent or Byzantine replica delays that
// by at most one Silence.
func TestSettledNeedsAnHonestReplica(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := []bool{true, true, true}
		liar := always([]api.State{api.StateSettled, api.StateSettled, api.StateSettled})
		for name, x := range map[string]struct {
			replicas func(began time.Time) []behaviour
			want     []bool
			least    time.Duration
			most     time.Duration
		}{
			"all settle": {func(b time.Time) []behaviour {
				h := settles(b, time.Second, time.Second, 2*time.Second)
				return []behaviour{h, h, away, away}
			}, all, 2 * time.Second, 2 * time.Second},
			"false settled at once": {func(b time.Time) []behaviour {
				h := settles(b, 5*time.Second, 5*time.Second, 5*time.Second)
				return []behaviour{liar, h, h, h}
			}, all, 5 * time.Second, 5 * time.Second},
			"one is silent": {func(b time.Time) []behaviour {
				h := settles(b, time.Second, time.Second, time.Second)
				return []behaviour{silent, h, h, h}
			}, all, time.Second, gatherTime + time.Second + silence},
			"two are silent": {func(b time.Time) []behaviour {
				h := settles(b, time.Second, time.Second, time.Second)
				return []behaviour{silent, silent, h, h}
			}, all, time.Second, gatherTime + patience + silence},
			"one never settles": {func(b time.Time) []behaviour {
				h := settles(b, time.Second, time.Second)
				return []behaviour{h, h, h, h}
			}, []bool{true, true, false}, 10*time.Second - margin, 10 * time.Second},
			"false settled alone": {func(b time.Time) []behaviour {
				h := settles(b)
				return []behaviour{liar, h, h, h}
			}, []bool{false, false, false}, 10*time.Second - margin, 10 * time.Second},
			"shard is connected again": {func(b time.Time) []behaviour {
				h := settles(b, time.Second, time.Second, time.Second)
				late := func(ctx context.Context, c Call) (any, error) {
					if time.Since(b) < 4*time.Second {
						return nil, errAway
					}
					return h(ctx, c)
				}
				return []behaviour{late, late, late, late}
			}, all, 4 * time.Second, 5 * time.Second},
			"answers of another length": {func(b time.Time) []behaviour {
				h := settles(b, 0, 0, 0)
				return []behaviour{always([]api.State{api.StateSettled}), h, h, h}
			}, all, 0, silence},
		} {
			began := time.Now()
			r, _ := reader(t, x.replicas(began)...)
			got := r.Settled(waits(t, 10*time.Second), 1, three)
			if took := time.Since(began); !slices.Equal(got, x.want) || took < x.least || took > x.most {
				t.Errorf("%s: %v after %v", name, got, took)
			}
		}
	})
}

// stands is a replica that gives the same answer for every transaction.
func stands(a api.TxAnswer) behaviour {
	return func(_ context.Context, c Call) (any, error) {
		var out []api.TxAnswer
		for _, raw := range c.Submit.Txs {
			given := a // a copy, since calls are concurrent
			given.ID, given.Shard = ledger.TxID{raw[0]}, 1
			out = append(out, given)
		}
		return out, nil
	}
}

func TestSubmissionNeedsAnHonestReplica(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		state := func(s api.State, reason string) behaviour { return stands(api.TxAnswer{State: s, Reason: reason}) }
		at := func(s api.State, height uint64) behaviour { return stands(api.TxAnswer{State: s, Height: height}) }
		accepted, consumed := state(api.StateAccepted, ""), state(api.StateRejected, "consumed")
		full, open := state(api.StateUnknown, "book_full"), stands(api.TxAnswer{State: api.StateAccepted, TimedOut: true})
		for name, x := range map[string]struct {
			replicas []behaviour
			want     api.TxAnswer
		}{
			"accepted":               {[]behaviour{accepted, accepted, away, away}, api.TxAnswer{State: api.StateAccepted}},
			"one is further":         {[]behaviour{accepted, at(api.StateSettled, 4), away, away}, api.TxAnswer{State: api.StateAccepted}},
			"settled":                {[]behaviour{silent, at(api.StateSettled, 4), at(api.StateSettled, 4), away}, api.TxAnswer{State: api.StateSettled, Height: 4}},
			"false height":           {[]behaviour{at(api.StateSettled, 9), at(api.StateSettled, 4), away, away}, api.TxAnswer{State: api.StateSettled}},
			"false rejection":        {[]behaviour{consumed, accepted, accepted, away}, api.TxAnswer{State: api.StateAccepted}},
			"rejected":               {[]behaviour{consumed, accepted, consumed, away}, api.TxAnswer{State: api.StateRejected, Reason: "consumed"}},
			"for different reasons":  {[]behaviour{consumed, state(api.StateRejected, "expired"), away, away}, api.TxAnswer{State: api.StateUnknown, TimedOut: true}},
			"mempool full":           {[]behaviour{full, accepted, full, full}, api.TxAnswer{State: api.StateUnknown, Reason: "book_full"}},
			"too few mempools full":  {[]behaviour{full, accepted, away, away}, api.TxAnswer{State: api.StateUnknown, TimedOut: true}},
			"unknown inputs":         {[]behaviour{state(api.StateWaiting, ""), state(api.StateWaiting, ""), away, away}, api.TxAnswer{State: api.StateWaiting}},
			"the outcome is open":    {[]behaviour{open, open, open, open}, api.TxAnswer{State: api.StateUnknown, TimedOut: true}},
			"none is connected":      {[]behaviour{away, away, away, away}, api.TxAnswer{State: api.StateUnknown, TimedOut: true}},
			"one accepts, then none": {[]behaviour{accepted, away, silent, away}, api.TxAnswer{State: api.StateUnknown, TimedOut: true}},
		} {
			r, _ := reader(t, x.replicas...)
			got := r.Submit(waits(t, 10*time.Second), 1, [][]byte{{9}}, []ledger.TxID{{9}}, api.WaitAccepted)
			x.want.ID, x.want.Shard = ledger.TxID{9}, 1
			if len(got) != 1 || got[0].State != x.want.State || got[0].Reason != x.want.Reason || got[0].Height != x.want.Height ||
				got[0].TimedOut != x.want.TimedOut || got[0].ID != x.want.ID || got[0].Shard != 1 {
				t.Errorf("%s: %+v", name, got)
			}
		}
	})
}

// A shard that is too far behind counts when f+1 replicas name it, and the latest time since when is given. Replicas that name
// different shards agree that the transaction is not taken.
func TestBusyShardNeedsAnHonestReplica(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		busy := func(shard uint16, since uint64) behaviour {
			return stands(api.TxAnswer{State: api.StateUnknown, Reason: "shard_busy", BusyShard: &shard, BusySince: since, RetryMS: 2000})
		}
		for _, c := range []struct {
			replicas []behaviour
			shard    int // -1 is none
			since    uint64
		}{
			{[]behaviour{busy(2, 5), busy(2, 7), away, away}, 2, 7},
			{[]behaviour{busy(2, 5), busy(3, 7), away, away}, -1, 0},
		} {
			r, _ := reader(t, c.replicas...)
			got := r.Submit(waits(t, 10*time.Second), 1, [][]byte{{9}}, []ledger.TxID{{9}}, api.WaitAccepted)[0]
			shard := -1
			if got.BusyShard != nil {
				shard = int(*got.BusyShard)
			}
			if got.Reason != "shard_busy" || shard != c.shard || got.BusySince != c.since {
				t.Errorf("%+v, shard %d, want %d since %d", got, shard, c.shard, c.since)
			}
		}
	})
}

// A thousand transactions are sent in calls of accepted size, and each gets its own answer.
func TestManyAreSentInPieces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var raws [][]byte
		var ids []ledger.TxID
		for i := range api.MaxTxsPerRequest {
			raws, ids = append(raws, append([]byte{byte(i)}, make([]byte, 5000)...)), append(ids, ledger.TxID{byte(i)})
		}
		honest := stands(api.TxAnswer{State: api.StateAccepted})
		r, o := reader(t, honest, honest, honest, honest)
		for i, a := range r.Submit(waits(t, 10*time.Second), 1, raws, ids, api.WaitAccepted) {
			if a.ID != ids[i] || a.State != api.StateAccepted {
				t.Fatalf("transaction %d: %+v", i, a)
			}
		}
		r.Hand(waits(t, 10*time.Second), 1, raws)
		r.Hand(waits(t, 10*time.Second), 1, [][]byte{make([]byte, ledger.MaxTxBytes)})
		if o.most > 256<<10 {
			t.Errorf("largest call of %d bytes", o.most)
		}
		r, o = reader(t, settles(time.Now()), away, away, away)
		r.Settled(waits(t, time.Second), 1, make([]ledger.TxID, api.MaxTxsPerRequest))
		if o.most == 0 || o.most > 256<<10 {
			t.Errorf("largest wait of %d bytes", o.most)
		}
	})
}

// A call whose answer cannot matter any more is cancelled, so that the replica does not serve it for nothing.
func TestOpenCallsAreCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var given error
		standing := func(ctx context.Context, _ Call) (any, error) {
			<-ctx.Done()
			given = context.Cause(ctx)
			return nil, given
		}
		honest := always(account(50, 3, 10))
		r, _ := reader(t, standing, honest, honest, away)
		if _, err := r.Account(waits(t, time.Minute), 1, Account{Address: owner}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if !errors.Is(given, context.Canceled) {
			t.Errorf("the call ended with %v", given)
		}
	})
}
