package load

import (
	"testing"
	"time"

	"bdtnode/ledger"
	"bdtnode/node/api"
)

// returned is the number of transactions whose escrow was returned in some shard. There are no CLs in this world.
func (w *testWorld) returned() (n uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id := range w.txs {
		for _, state := range w.states {
			p, ok, err := state.Part(id)
			if err != nil {
				w.t.Error(err)
			}
			if ok && p.Stage == ledger.StageReturned {
				n++
				break
			}
		}
	}
	return n
}

// TestEndings: an answer shows whether a CL kept a transfer out of every block, or whether a CL or a verdict returned its
// escrow. A transfer counts once, and a later answer may show more.
func TestEndings(t *testing.T) {
	rejected := func(reason string, height uint64, parts ...api.Part) api.TxAnswer {
		return api.TxAnswer{State: api.StateRejected, Reason: reason, Height: height, Parts: parts}
	}
	returned := func(reason string) api.Part { return api.Part{Shard: 1, Stage: "returned", Reason: reason} }
	other := api.Part{Shard: 2, Stage: "rejected", Reason: "consumed"}
	for name, c := range map[string]struct {
		answers []api.TxAnswer
		want    [3]uint64 // cancelled, returned by a CL, returned by a verdict
	}{
		"nothing known":                     {[]api.TxAnswer{rejected("consumed", 0)}, [3]uint64{}},
		"rejected in a block":               {[]api.TxAnswer{rejected("consumed", 7, other)}, [3]uint64{}},
		"dropped":                           {[]api.TxAnswer{rejected("cancelled", 0)}, [3]uint64{1, 0, 0}},
		"a receipt with the CL":             {[]api.TxAnswer{rejected("cancelled", 7)}, [3]uint64{0, 1, 0}},
		"escrow, by a CL":                   {[]api.TxAnswer{rejected("consumed", 7, other, returned("cancelled"))}, [3]uint64{0, 1, 0}},
		"escrow, by a verdict":              {[]api.TxAnswer{rejected("consumed", 7, returned("consumed"), other)}, [3]uint64{0, 0, 1}},
		"in two shards, by each":            {[]api.TxAnswer{rejected("consumed", 7, returned("cancelled"), returned("consumed"))}, [3]uint64{0, 1, 0}},
		"dropped in one shard, and escrow":  {[]api.TxAnswer{rejected("cancelled", 0, returned("consumed"))}, [3]uint64{0, 0, 1}},
		"known later":                       {[]api.TxAnswer{rejected("consumed", 0), rejected("cancelled", 0)}, [3]uint64{1, 0, 0}},
		"later in escrow":                   {[]api.TxAnswer{rejected("cancelled", 0), rejected("consumed", 7, returned("consumed"))}, [3]uint64{0, 0, 1}},
		"the same again":                    {[]api.TxAnswer{rejected("cancelled", 7), rejected("cancelled", 7), rejected("cancelled", 0)}, [3]uint64{0, 1, 0}},
		"settled, although a part returned": {[]api.TxAnswer{{State: api.StateSettled, Parts: []api.Part{returned("consumed")}}}, [3]uint64{}},
	} {
		r, x := refundWorld(t, time.Now())
		for i := range c.answers {
			r.tally.ended(x, endingOf(&c.answers[i]))
		}
		res := r.tally.result(time.Second, false)
		if got := [3]uint64{res.Cancelled, res.ReturnedByCL, res.ReturnedByVerdict}; got != c.want {
			t.Errorf("%s: cancelled, returned by a CL and by a verdict %v, want %v", name, got, c.want)
		}
		if r.tally.unknown(x) != (c.want == [3]uint64{}) {
			t.Errorf("%s: unknown is %v", name, r.tally.unknown(x))
		}
	}
	r, x := refundWorld(t, time.Now())
	x.cross = false
	r.tally.ended(x, cancelled)
	if res := r.tally.result(time.Second, false); res.Cancelled != 0 {
		t.Error("a transfer inside a shard counts")
	}
}

// TestEndingsOfSlowReplicas: the endings of all transfers are known although each answer takes longer than a second.
func TestEndingsOfSlowReplicas(t *testing.T) {
	t.Parallel()
	w, cfg := newWorld(t, 2, 2, 2, 60, 10)
	cfg.Rate, cfg.For, cfg.Cross, cfg.Invalid = 60, time.Second, 1, 0.5
	for _, r := range w.replicas {
		r.tx = func(id ledger.TxID) (api.TxAnswer, error) {
			time.Sleep(endingTime + 200*time.Millisecond)
			return r.find(id)
		}
	}
	res := w.complete(cfg, 30)
	if want := w.returned(); res.ReturnedByVerdict != want || want == 0 {
		t.Errorf("%d returned by a verdict, want %d", res.ReturnedByVerdict, want)
	}
}
