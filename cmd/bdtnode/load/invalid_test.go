package load

import (
	"maps"
	"slices"
	"testing"
	"time"

	"bdtnode/ledger"
)

// reasonsOf are the reasons for which the ledger may reject a transfer of a kind.
var reasonsOf = map[Kind][]ledger.Reason{
	Spent:       {ledger.ReasonConsumed, ledger.ReasonElsewhere},
	Unknown:     {ledger.ReasonUnknownInput, ledger.ReasonElsewhere},
	WrongAmount: {ledger.ReasonWrongAmount, ledger.ReasonElsewhere},
	WrongOwner:  {ledger.ReasonConsumed, ledger.ReasonUnknownInput, ledger.ReasonElsewhere},
	Expired:     {ledger.ReasonExpired},
	OneShard:    {ledger.ReasonConsumed, ledger.ReasonElsewhere},
	Conflict:    {ledger.ReasonConsumed, ledger.ReasonElsewhere},
}

// checkKinds checks the counts of each kind, and returns them by kind.
func checkKinds(t *testing.T, res Result) map[Kind]KindResult {
	t.Helper()
	out := make(map[Kind]KindResult)
	for _, k := range res.Invalid {
		out[k.Kind] = k
		rejections := uint64(0)
		for reason, n := range k.Reasons {
			var r ledger.Reason
			if err := r.UnmarshalText([]byte(reason)); err != nil || !slices.Contains(reasonsOf[k.Kind], r) {
				t.Errorf("%s: rejected for %q", k.Kind, reason)
			}
			rejections += n
		}
		if k.Submitted == 0 || k.Submitted != k.Settled+k.Rejected || rejections != k.Rejected || k.Pending != 0 {
			t.Errorf("%+v", k)
		}
		if k.Settled > 0 && (k.Kind != Conflict || 2*k.Settled > k.Submitted) {
			t.Errorf("settled: %+v", k)
		}
	}
	return out
}

// TestInvalidShares: for any shares of invalid transfers and of those across shards, exactly that many are invalid, of
// every kind that is possible, each is rejected for a reason of its kind, and no valid one is rejected.
func TestInvalidShares(t *testing.T) {
	t.Parallel()
	inside := []Kind{Spent, Unknown, WrongAmount, WrongOwner, Expired}
	all := append(slices.Clone(inside), OneShard, Conflict)
	for _, c := range []struct {
		cross, invalid float64
		want           []Kind
	}{
		{0, 0.5, inside},
		{0.5, 0.5, all},
		{1, 0.5, all},
		{0, 1, []Kind{Unknown, WrongAmount, WrongOwner, Expired}}, // nothing is ever spent
		{1, 1, []Kind{Unknown, WrongAmount, WrongOwner, Expired, Conflict}},
		{0.3, 0, nil},
	} {
		w, cfg := newWorld(t, 2, 2, 2, 60, 10)
		cfg.Rate, cfg.For, cfg.Cross, cfg.Invalid = 100, 3*time.Second, c.cross, c.invalid
		res := w.complete(cfg, uint64(300*c.invalid))
		kinds := checkKinds(t, res)
		sum := uint64(0)
		for _, k := range kinds {
			sum += k.Submitted
		}
		got := slices.Sorted(maps.Keys(kinds))
		want := slices.Sorted(slices.Values(c.want))
		if c.invalid == 1 && kinds[Conflict].Settled > 0 { // one of a pair has spent outputs
			got = slices.DeleteFunc(got, func(k Kind) bool { return k == Spent || k == OneShard })
		}
		if !slices.Equal(got, want) || sum != uint64(300*c.invalid) {
			t.Errorf("cross %g, invalid %g: kinds %v with %d transfers, want %v", c.cross, c.invalid, got, sum, want)
		}
		if got := w.shapes().count; got != int(300*c.cross) {
			t.Errorf("cross %g, invalid %g: %d across shards", c.cross, c.invalid, got)
		}
		if got, want := [3]uint64{res.Cancelled, res.ReturnedByCL, res.ReturnedByVerdict}, [3]uint64{2: w.returned()}; got != want {
			t.Errorf("cross %g, invalid %g: cancelled, returned by a CL and by a verdict %v, want %v", c.cross, c.invalid, got, want)
		} else if c.cross == 0.5 && got[2] == 0 {
			t.Errorf("cross %g, invalid %g: no escrow was returned", c.cross, c.invalid)
		}
		once := int(kinds[OneShard].Submitted + kinds[Conflict].Submitted)
		if w.once < once || once == 0 && w.once > 0 {
			t.Errorf("cross %g, invalid %g: %d submissions to one shard, for %d transfers", c.cross, c.invalid, w.once, once)
		}
	}
}

// TestConflictsInTwoShards: both transfers of a pair have the same inputs in two shards, each is submitted to another
// shard, and at most one settles. Their inputs are spent again afterwards.
func TestConflictsInTwoShards(t *testing.T) {
	t.Parallel()
	w, c := newWorld(t, 2, 2, 2, 60, 10)
	c.Rate, c.For, c.Cross, c.Invalid = 200, time.Second, 1, 0.6
	kinds := checkKinds(t, w.complete(c, 120))
	by := make(map[ledger.Outpoint][]*ledger.Tx)
	for _, tx := range w.txs {
		if len(tx.Inputs) == 2 {
			by[tx.Inputs[0].Outpoint] = append(by[tx.Inputs[0].Outpoint], tx)
		}
	}
	pairs, both := uint64(0), 0
	for _, tx := range w.txs {
		for _, other := range by[tx.Inputs[len(tx.Inputs)-1].Outpoint] {
			if other.ID() == tx.ID() || len(tx.Inputs) != 2 || other.Inputs[1].Outpoint != tx.Inputs[0].Outpoint {
				continue
			}
			pairs++ // each pair twice
			if tx.Shards(w.home).Inputs.Len() != 2 || w.home(ledger.AddressOf(tx.Inputs[0].Key)) == w.home(ledger.AddressOf(other.Inputs[0].Key)) {
				t.Errorf("%v and %v", tx.Inputs, other.Inputs)
			}
			a, _ := w.answer(tx.ID())
			b, _ := w.answer(other.ID())
			if a.State == "settled" && b.State == "settled" {
				t.Error("both transfers of a pair settled")
			}
			if a.State == "rejected" && b.State == "rejected" {
				both++
			}
		}
	}
	if pairs < 4 || pairs != kinds[Conflict].Submitted {
		t.Errorf("%d transfers in pairs, %+v", pairs, kinds[Conflict])
	}
	if both == 0 {
		t.Error("no pair blocked each other")
	}
}
