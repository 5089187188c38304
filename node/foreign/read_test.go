package foreign

import (
	"context"
	"errors"
	"reflect"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"bdtnode/node/api"
)

// One Byzantine replica reports a false balance. None of 40 queries returns it.
func TestFalseBalanceIsNotReturned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		honest := always(account(50, 3, 10))
		r, _ := reader(t, honest, always(account(1_000_000, 3, 10)), honest, honest)
		for i := range 40 {
			a, err := r.Account(waits(t, time.Minute), 1, Account{Address: owner})
			if err != nil || a.Balance != 50 || a.Unconfirmed {
				t.Errorf("query %d: %+v, %v", i, a, err)
			}
		}
	})
}

// Replicas at different heights agree if they report the same last change. The answer has a height at which it is true.
func TestHeightsNeedNotBeEqual(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, o := reader(t, always(account(50, 3, 12)), always(account(50, 3, 9)), away, away)
		a, err := r.Account(waits(t, time.Minute), 1, Account{Address: owner})
		if err != nil || a.Unconfirmed || a.Height != 9 || a.Balance != 50 || len(a.Outputs) != 1 || o.calls != 2 {
			t.Errorf("%+v after %d calls, %v", a, o.calls, err)
		}
		r, _ = reader(t, always(account(50, 3, 12)), always(account(50, 3, 2)), always(account(50, 3, 9)), away)
		if a, err = r.Account(waits(t, time.Minute), 1, Account{Address: owner}); err != nil || a.Height != 9 {
			t.Errorf("a height before the last change is accepted: %+v, %v", a, err)
		}
	})
}

// A suspended replica delays the answer by 300 ms, and not until the deadline.
func TestSilentReplicaIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		honest := always(account(50, 3, 10))
		r, _ := reader(t, silent, honest, honest, honest)
		began := time.Now()
		a, err := r.Account(waits(t, time.Minute), 1, Account{Address: owner})
		if took := time.Since(began); err != nil || a.Balance != 50 || took > silence {
			t.Errorf("%+v after %v, %v", a, took, err)
		}
	})
}

// An account that changes during the question is asked for again, and marked as unconfirmed if that does not help.
func TestChangingAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Uint64
		changing := func(until uint64) behaviour {
			return func(context.Context, Call) (any, error) {
				n := min(calls.Add(1), until)
				return account(100+n, n, 50), nil
			}
		}
		for until, unconfirmed := range map[uint64]bool{5: false, 1000: true} {
			calls.Store(0)
			b := changing(until)
			r, o := reader(t, b, b, b, b)
			a, err := r.Account(waits(t, time.Minute), 1, Account{Address: owner})
			if err != nil || a.Unconfirmed != unconfirmed || !unconfirmed && a.Balance != 105 {
				t.Errorf("until %d: %+v, %v", until, a, err)
			}
			synctest.Wait() // calls that were given up have ended
			if o.calls > rounds*4 {
				t.Errorf("%d calls", o.calls)
			}
		}
	})
}

func TestErrorsOfAccounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		good, bad := always(account(50, 3, 10)), fails(api.ErrBadCursor)
		other := account(1, 0, 1)
		other.Address[0]++
		for name, x := range map[string]struct {
			replicas []behaviour
			want     error
		}{
			"a bad cursor":          {[]behaviour{bad, bad, bad, silent}, api.ErrBadCursor},
			"bad cursor of one":     {[]behaviour{bad, away, away, silent}, api.ErrUnavailable},
			"not found by one":      {[]behaviour{fails(api.ErrNotFound), away, away, away}, api.ErrUnavailable},
			"false bad cursor":      {[]behaviour{bad, good, good, good}, nil},
			"another account":       {[]behaviour{always(other), good, good, good}, nil},
			"no answer":             {[]behaviour{away, away, away, away}, api.ErrUnavailable},
			"all silent":            {[]behaviour{silent, silent, silent, silent}, api.ErrUnavailable},
			"JSON of another type":  {[]behaviour{always("x"), always(nil), good, good}, nil},
			"the replicas are busy": {[]behaviour{fails(errors.New("busy")), fails(errors.New("busy")), good, good}, nil},
		} {
			r, _ := reader(t, x.replicas...)
			a, err := r.Account(waits(t, time.Minute), 1, Account{Address: owner})
			if !errors.Is(err, x.want) || err == nil && (a.Balance != 50 || a.Unconfirmed) {
				t.Errorf("%s: %+v, %v", name, a, err)
			}
		}
	})
}

func TestBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		block := func(digest string, signers ...uint16) behaviour {
			return always(api.Block{Shard: 1, Height: 4, HeaderHash: digest, Certified: len(signers) > 0, Signers: signers})
		}
		r, _ := reader(t, block("lie", 0, 1), block("x", 1, 2), block("x", 2, 3), block("x"))
		b, err := r.Block(waits(t, time.Minute), 1, 4)
		if err != nil || b.HeaderHash != "x" || !b.Certified || !reflect.DeepEqual(b.Signers, []uint16{2}) {
			t.Errorf("%+v, %v", b, err)
		}
		none := fails(api.ErrNotFound)
		r, _ = reader(t, none, block("lie"), none, none)
		if _, err := r.Block(waits(t, time.Minute), 1, 4); !errors.Is(err, api.ErrNotFound) {
			t.Errorf("no block: %v", err)
		}
		r, _ = reader(t, block("1"), block("2"), block("3"), block("4"))
		if _, err := r.Block(waits(t, time.Minute), 1, 4); !errors.Is(err, api.ErrUnavailable) {
			t.Errorf("four blocks: %v", err)
		}
	})
}

// tx is a shard's answer about a transaction.
func tx(state api.State, height uint64, stage string) api.TxAnswer {
	a := api.TxAnswer{ID: id, Shard: 1, State: state, Height: height}
	if stage != "" {
		a.Parts = []api.Part{{Shard: 1, Stage: stage, Height: height}}
		a.Inputs, a.Outputs = []uint16{0}, []uint16{1}
	}
	return a
}

func TestRows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		settled, unknown := always(tx(api.StateSettled, 5, "settled")), always(tx(api.StateUnknown, 0, ""))
		rejected, accepted := always(tx(api.StateRejected, 0, "")), always(tx(api.StateAccepted, 0, ""))
		pending := always(tx(api.StateOrdered, 4, "pending"))
		certified := func(b bool) behaviour {
			a := tx(api.StateSettled, 5, "settled")
			a.Certified = b
			return always(a)
		}
		later := func(b behaviour) behaviour {
			return func(ctx context.Context, c Call) (any, error) {
				time.Sleep(silence / 10)
				return b(ctx, c)
			}
		}
		for name, x := range map[string]struct {
			replicas []behaviour
			want     Row // expected state and certificate of its answer
		}{
			"agreed":                  {[]behaviour{settled, settled, away, away}, Row{Answer: api.TxAnswer{State: api.StateSettled}}},
			"certified at both":       {[]behaviour{certified(true), certified(true), away, away}, Row{Answer: api.TxAnswer{State: api.StateSettled, Certified: true}}},
			"certified at one":        {[]behaviour{certified(true), later(certified(false)), away, away}, Row{Answer: api.TxAnswer{State: api.StateSettled}}},
			"one is behind":           {[]behaviour{settled, unknown, settled, silent}, Row{Answer: api.TxAnswer{State: api.StateSettled}}},
			"some are behind":         {[]behaviour{pending, pending, settled, settled}, Row{Answer: api.TxAnswer{State: api.StateSettled}}},
			"not final":               {[]behaviour{pending, unknown, pending, unknown}, Row{Answer: api.TxAnswer{State: api.StateOrdered}}},
			"not final, one silent":   {[]behaviour{pending, silent, pending, pending}, Row{Answer: api.TxAnswer{State: api.StateOrdered}}},
			"false settled":           {[]behaviour{settled, unknown, unknown, unknown}, Row{Answer: api.TxAnswer{State: api.StateUnknown}}},
			"false rejected":          {[]behaviour{rejected, settled, settled, settled}, Row{Answer: api.TxAnswer{State: api.StateSettled}}},
			"no replica has it":       {[]behaviour{unknown, unknown, unknown, away}, Row{Answer: api.TxAnswer{State: api.StateUnknown}}},
			"in one mempool":          {[]behaviour{unknown, unknown, accepted, unknown}, Row{Accepted: true, Answer: api.TxAnswer{State: api.StateUnknown}}},
			"none is connected":       {[]behaviour{away, away, away, away}, Row{Unreachable: true, Answer: api.TxAnswer{State: api.StateUnknown}}},
			"all are silent":          {[]behaviour{silent, silent, silent, silent}, Row{Unreachable: true, Answer: api.TxAnswer{State: api.StateUnknown}}},
			"only one answers":        {[]behaviour{away, settled, away, away}, Row{Unconfirmed: true, Answer: api.TxAnswer{State: api.StateUnknown}}},
			"one answer without data": {[]behaviour{away, unknown, away, silent}, Row{Unconfirmed: true, Answer: api.TxAnswer{State: api.StateUnknown}}},
			"another shard's part": {[]behaviour{always(api.TxAnswer{ID: id, Shard: 1, State: api.StateSettled, Parts: []api.Part{{Shard: 0}}}), settled, settled, away},
				Row{Answer: api.TxAnswer{State: api.StateSettled}}},
		} {
			r, _ := reader(t, x.replicas...)
			got := r.Tx(waits(t, time.Minute), 1, id)
			if got.Shard != 1 || got.Unreachable != x.want.Unreachable || got.Unconfirmed != x.want.Unconfirmed || got.Accepted != x.want.Accepted ||
				got.Answer.State != x.want.Answer.State || got.Answer.Certified != x.want.Answer.Certified {
				t.Errorf("%s: %+v", name, got)
			}
		}
	})
}

// A part of a proof proves itself, so the first answer counts that the caller accepts. f replicas that send a false part or
// none do not prevent it.
func TestFirstValidProofCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		good, bad := always([]byte("good")), always([]byte("bad"))
		check := func(part []byte) error {
			if string(part) != "good" {
				return errors.New("a wrong part")
			}
			return nil
		}
		for name, x := range map[string]struct {
			replicas []behaviour
			want     error
			most     time.Duration
		}{
			"the first":     {[]behaviour{good, bad, silent, away}, nil, 0},
			"the last":      {[]behaviour{bad, silent, away, good}, nil, 2 * silence},
			"none":          {[]behaviour{bad, bad, bad, bad}, api.ErrUnavailable, readTime},
			"not there yet": {[]behaviour{fails(api.ErrNotFound), fails(api.ErrNotFound), good, good}, nil, pause},
			"another type":  {[]behaviour{always(map[string]int{"x": 1}), good, good, good}, nil, pause},
			"silent":        {[]behaviour{silent, silent, silent, silent}, api.ErrUnavailable, readTime},
		} {
			r, o := reader(t, x.replicas...)
			began := time.Now()
			part, err := r.Proof(waits(t, time.Minute), 1, id, check)
			if took := time.Since(began); !errors.Is(err, x.want) || (err == nil) != (string(part) == "good") || took > x.most {
				t.Errorf("%s: %q after %v and %d calls, %v", name, part, took, o.calls, err)
			}
		}
	})
}
