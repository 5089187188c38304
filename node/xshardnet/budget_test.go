package xshardnet

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// TestBudgetOfCalls: a peer whose calls bring nothing gets a ninth of the bytes a second that another peer gets, and
// a peer that reads pays for the answers. No peer pays for another.
func TestBudgetOfCalls(t *testing.T) {
	const size = 128 << 10
	rates := func(t *testing.T, answer, untaken int) (bytes float64) {
		synctest.Test(t, func(t *testing.T) {
			b := newBudgets()
			peer, other := Peer{Shard: 1}, Peer{Shard: 1, Replica: 1}
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Second)
			defer cancel()
			began := time.Now()
			for b.enter(ctx, peer, size) == nil {
				b.charge(time.Now(), peer, answer, untaken)
				bytes += size
			}
			if at := time.Now(); b.enter(t.Context(), other, size) != nil || time.Since(at) > 0 {
				t.Error("another peer waits")
			}
			bytes /= time.Since(began).Seconds()
		})
		return bytes
	}
	for _, c := range []struct {
		answer, untaken int
		want            float64 // bytes of calls a second
	}{
		{0, 0, callRate},
		{size, 0, callRate / 2},
		{0, size, callRate / 9},
	} {
		if got := rates(t, c.answer, c.untaken); got < 0.95*c.want || got > 1.1*c.want {
			t.Errorf("answers of %d bytes, %d bytes not taken: %.0f bytes of calls a second, want %.0f", c.answer, c.untaken, got, c.want)
		}
	}
}

// TestCallsWaitForTheBudget: the server charges the untaken bytes that the answer reports, and a call whose time ends before
// there is room in the budget is not answered.
func TestCallsWaitForTheBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		r := &Server{calls: newBudgets(), answer: func(_ context.Context, _ Peer, call []byte) ([]byte, int) {
			asked++
			return []byte("no"), len(call)
		}}
		call := append([]byte{askCall}, make([]byte, maxCall)...)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		var err error
		for err == nil {
			err = r.Serve(ctx, Peer{Shard: 1}, call, func([]byte) error { return nil })
		}
		most := 1 + (callBurst+10*callRate)/(9*maxCall)
		if asked > most || asked < most/2 {
			t.Errorf("%d calls were answered in 10 s, want about %d", asked, most)
		}
	})
}
