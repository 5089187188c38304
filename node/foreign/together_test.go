package foreign

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"bdtnode/ledger"
	"bdtnode/node/api"
)

// byID is an honest replica in which each transaction settles at a time after began; those without a time never settle.
func byID(began time.Time, at map[ledger.TxID]time.Duration) behaviour {
	return func(ctx context.Context, c Call) (any, error) {
		end := time.Now().Add(time.Duration(c.Await.WaitMS) * time.Millisecond)
		last, all := began, true
		for _, id := range c.Await.IDs {
			after, ok := at[id]
			all = all && ok
			if t := began.Add(after); ok && t.After(last) {
				last = t
			}
		}
		if all && last.Before(end) {
			end = last
		}
		select {
		case <-time.After(time.Until(end)):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		states := make([]api.State, len(c.Await.IDs))
		for i, id := range c.Await.IDs {
			states[i] = api.StateUnknown
			if after, ok := at[id]; ok && !time.Now().Before(began.Add(after)) {
				states[i] = api.StateSettled
			}
		}
		return states, nil
	}
}

// TestWaitsShareCalls: the waits of many requests that begin together take one call to each of f+1 replicas, and each request
// gets the states of its own transactions.
func TestWaitsShareCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		at := make(map[ledger.TxID]time.Duration)
		for i := range 100 {
			at[ledger.TxID{byte(i)}] = time.Second
		}
		h := byID(began, at)
		r, o := reader(t, h, h, h, h)
		var all sync.WaitGroup
		for i := range 100 {
			all.Go(func() {
				ids := []ledger.TxID{{byte(i)}, {byte((i + 1) % 100)}}
				if got := r.Settled(waits(t, 10*time.Second), 1, ids); !slices.Equal(got, []bool{true, true}) {
					t.Errorf("request %d: %v", i, got)
				}
			})
		}
		all.Wait()
		if took := time.Since(began); took != time.Second || o.calls != 2 {
			t.Errorf("%d calls, %v", o.calls, took)
		}
	})
}

// TestWaitEndsWithItsOwnTransactions: a request does not wait for the transactions of the requests with which it shares a call
// longer than turnTime, nor longer than its own time.
func TestWaitEndsWithItsOwnTransactions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		h := byID(began, map[ledger.TxID]time.Duration{{1}: 100 * time.Millisecond, {2}: 4 * time.Second})
		r, _ := reader(t, h, h, h, h)
		var all sync.WaitGroup
		for _, x := range []struct {
			id          byte
			wait        time.Duration
			want        bool
			least, most time.Duration
		}{
			{1, 30 * time.Second, true, 100 * time.Millisecond, gatherTime + turnTime},
			{2, 30 * time.Second, true, 4 * time.Second, gatherTime + 2*turnTime + longPause},
			{3, 9 * time.Second, false, 9 * time.Second, 9 * time.Second},
			{2, time.Second, false, time.Second, time.Second},
		} {
			all.Go(func() {
				got := r.Settled(waits(t, x.wait), 1, []ledger.TxID{{x.id}})
				if took := time.Since(began); got[0] != x.want || took < x.least || took > x.most {
					t.Errorf("transaction %d with %v: %v after %v", x.id, x.wait, got, took)
				}
			})
		}
		all.Wait()
	})
}

// TestFirstOfTwo: a request waits for all of its transactions, also if others of its call are decided earlier.
func TestFirstOfTwo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := byID(time.Now(), map[ledger.TxID]time.Duration{{1}: 0, {2}: 3 * time.Second})
		r, _ := reader(t, h, h, h, h)
		var all sync.WaitGroup
		all.Go(func() { r.Settled(waits(t, 10*time.Second), 1, []ledger.TxID{{1}}) })
		all.Go(func() {
			if got := r.Settled(waits(t, 10*time.Second), 1, []ledger.TxID{{1}, {2}}); !slices.Equal(got, []bool{true, true}) {
				t.Errorf("%v", got)
			}
		})
		all.Wait()
	})
}

// TestWaitsBeyondACall: waits for more transactions than a call may have are divided, and none is lost while as many calls wait
// as may.
func TestWaitsBeyondACall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := func(_ context.Context, c Call) (any, error) {
			if n := len(c.Await.IDs); n > api.MaxTxsPerRequest {
				t.Errorf("a call for %d transactions", n)
			}
			time.Sleep(time.Second)
			states := make([]api.State, len(c.Await.IDs))
			for i := range states {
				states[i] = api.StateSettled
			}
			return states, nil
		}
		r, o := reader(t, h, h, h, h)
		var all sync.WaitGroup
		for i := range 4 * maxAwaiting {
			all.Go(func() {
				ids := make([]ledger.TxID, 600)
				for k := range ids {
					ids[k] = ledger.TxID{byte(i), byte(k), byte(k >> 8)}
				}
				if got := r.Settled(waits(t, time.Minute), 1, ids); slices.Contains(got, false) {
					t.Errorf("request %d: not all are settled", i)
				}
			})
		}
		all.Wait()
		if o.calls != 2*4*maxAwaiting {
			t.Errorf("%d calls", o.calls)
		}
	})
}

// TestHintsShareCalls: while hints are under way, further ones are sent together, each transaction once, and without those of
// requests that have ended.
func TestHintsShareCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var mu sync.Mutex
		got := make(map[string]int)
		h := func(_ context.Context, c Call) (any, error) {
			time.Sleep(100 * time.Millisecond)
			mu.Lock()
			defer mu.Unlock()
			for _, raw := range c.Submit.Txs {
				got[string(raw)]++
			}
			return []api.TxAnswer{}, nil
		}
		r, o := reader(t, h, h, h, h)
		hint := func(ctx context.Context, name string) { r.Hand(ctx, 1, [][]byte{[]byte(name)}) }
		var all sync.WaitGroup
		for i := range maxHints {
			all.Go(func() { hint(t.Context(), fmt.Sprint("first ", i)) })
		}
		synctest.Wait()
		for i := range 20 {
			all.Go(func() { hint(t.Context(), fmt.Sprint("later ", i/2)) })
		}
		all.Go(func() { hint(waits(t, 50*time.Millisecond), "ended") })
		large := string(make([]byte, smallHint+1))
		hint(t.Context(), large)
		if took := time.Since(began); took != 100*time.Millisecond {
			t.Errorf("a large hint waited for small ones: %v", took)
		}
		all.Wait()
		if got[large] != 1 {
			t.Error("a large hint is lost")
		}
		delete(got, large)
		if o.calls != maxHints+2 || len(got) != maxHints+10 || got["later 3"] != 1 || got["ended"] != 0 {
			t.Errorf("%d calls with %v", o.calls, got)
		}
	})
}
