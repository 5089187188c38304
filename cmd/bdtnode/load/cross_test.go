package load

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"bdtnode/internal/sig"
	"bdtnode/ledger"
	"bdtnode/node/api"
)

// shapes counts the transactions between shards of a test world by their shards.
type shapes struct {
	count                  int
	involved, inputs, outs map[int]int // number of transactions by the number of shards that they involve, spend in and create outputs in
	keys                   map[int]int
	concerned              map[uint16]int
}

func (w *testWorld) shapes() shapes {
	s := shapes{0, map[int]int{}, map[int]int{}, map[int]int{}, map[int]int{}, map[uint16]int{}}
	for _, tx := range w.txs {
		p := tx.Shards(w.home)
		if p.All().Len() == 1 {
			continue
		}
		s.count++
		s.involved[p.All().Len()]++
		s.inputs[p.Inputs.Len()]++
		s.outs[p.Outputs.Len()]++
		s.keys[len(tx.Signatures)]++
		for _, shard := range p.All().Members() {
			s.concerned[shard]++
		}
	}
	return s
}

// crossRejected counts the rejected transactions between shards, and those of their refunded outputs that were spent
// again.
func (w *testWorld) crossRejected() (rejected, spentAgain int) {
	back := map[ledger.Outpoint]bool{}
	for id, tx := range w.txs {
		if a, _ := w.answer(id); a.State != api.StateRejected && a.State != api.StateWaiting || tx.Shards(w.home).All().Len() == 1 {
			continue
		}
		rejected++
		for i := range tx.Inputs {
			back[ledger.ReturnedOutpoint(id, tx.Inputs[i].Outpoint)] = true
		}
	}
	for _, tx := range w.txs {
		for i := range tx.Inputs {
			if back[tx.Inputs[i].Outpoint] {
				spentAgain++
			}
		}
	}
	return rejected, spentAgain
}

// The share asked for is between shards, in all forms that it may have. Refunded outputs of rejected transactions are
// spent again.
func TestShareGoesAcross(t *testing.T) {
	t.Parallel()
	for shards, want := range map[int]shapes{
		2: {involved: map[int]int{2: 1}, inputs: map[int]int{1: 1, 2: 1}, outs: map[int]int{1: 1, 2: 1}},
		4: {involved: map[int]int{2: 1, 3: 1}, inputs: map[int]int{1: 1, 2: 1, 3: 1}, outs: map[int]int{1: 1, 2: 1, 3: 1}},
	} {
		w, c := newWorld(t, shards, 2, 2, 20, 3)
		c.Rate, c.For, c.Cross, c.Invalid = 200, 4*time.Second, 0.45, 0.1 // long enough for refunded outputs to be spent again
		res := w.complete(c, 80)
		got := w.shapes()
		rejected, spentAgain := w.crossRejected()
		if got.count != 360 || res.CrossSettled != uint64(360-rejected) {
			t.Errorf("%d of 800 across shards, %d settled and %d rejected", got.count, res.CrossSettled, rejected)
		}
		if rejected < 10 || rejected > 80 || res.Recovered == 0 || spentAgain == 0 {
			t.Errorf("%d rejected across shards, %d outputs refunded, %d spent again", rejected, res.Recovered, spentAgain)
		}
		if !sameKeys(got.involved, want.involved) || !sameKeys(got.inputs, want.inputs) || !sameKeys(got.outs, want.outs) || got.keys[2] == 0 {
			t.Errorf("shapes %+v", got)
		}
		for s := range uint16(shards) {
			if got.concerned[s] < 360/shards {
				t.Errorf("shard %d has a part in %d of 360", s, got.concerned[s])
			}
		}
	}
}

func sameKeys(a, b map[int]int) bool {
	for k := range a {
		if b[k] == 0 {
			return false
		}
	}
	return len(a) == len(b)
}

// A request that one replica refuses goes to others, also of another shard. Replicas of a dead shard are skipped in the
// end.
func TestTransfersFindAReplica(t *testing.T) {
	t.Parallel()
	w, c := newWorld(t, 2, 2, 2, 50, 10)
	c.Rate, c.For, c.Cross, c.Invalid = 200, 500*time.Millisecond, 0.5, 0.1
	w.replicas[0].server.Close()
	w.replicas[2].server.Close()
	w.replicas[3].server.Close() // no replica of shard 1 answers; shard 0 forwards
	w.complete(c, 10)
	if w.replicas[1].posts == 0 {
		t.Error("the only live replica got no request")
	}
}

// A transfer is sent to a shard in which it spends, while the replicas of that shard answer.
func TestTransfersGoToTheirShard(t *testing.T) {
	t.Parallel()
	w, c := newWorld(t, 3, 2, 1, 50, 10)
	c.Rate, c.For, c.Cross = 300, 500*time.Millisecond, 0.4
	for _, r := range w.replicas {
		r.before = func(_ int, txs [][]byte) []api.TxAnswer {
			across := 0
			for _, raw := range txs {
				tx, err := ledger.DecodeTx(raw)
				if err != nil {
					t.Fatal(err)
				}
				p := tx.Shards(w.home)
				if !p.Inputs.Has(r.shard) {
					t.Errorf("a replica of shard %d got a transfer of shards %v", r.shard, p.Inputs.Members())
				}
				if p.All().Len() > 1 {
					across++
				}
			}
			if across != 0 && across != len(txs) {
				t.Errorf("%d of %d transfers of a request are across shards: they delay the answers of the others", across, len(txs))
			}
			return nil
		}
	}
	w.complete(c, 0)
	for i, r := range w.replicas {
		if r.posts == 0 {
			t.Errorf("replica %d got no request", i)
		}
	}
}

// With one output of value 1 in each shard no transfer can pay several outputs, and yet all transfers go across shards.
func TestAcrossWithOutputsOfOne(t *testing.T) {
	w, c := newWorld(t, 3, 1, 1, 1, 1)
	c.Rate, c.For, c.Cross = 100, 300*time.Millisecond, 1
	w.complete(c, 0)
	if got := w.shapes(); got.count != 30 {
		t.Errorf("%d of 30 across shards", got.count)
	}
}

func TestLoadAcrossSplitsOutputs(t *testing.T) {
	w, c := newWorld(t, 2, 1, 1, 1, 1<<20)
	c.Rate, c.For, c.Cross = 600, 500*time.Millisecond, 1
	w.complete(c, 0)
	if a := w.audit(); a.Outputs < 20 {
		t.Errorf("%d outputs at the end: the load did not split outputs", a.Outputs)
	}
}

func TestAllAccountsInOneShard(t *testing.T) {
	w, c := newWorld(t, 2, 1, 1, 10, 10)
	c.Rate, c.For, c.Cross = 100, 100*time.Millisecond, 0.5
	c.Funds = []sig.Signer{w.funds[0]}
	if _, err := Run(t.Context(), c); err == nil || !strings.Contains(err.Error(), "at least two") {
		t.Errorf("got %v", err)
	}
	c.Cross = 0
	w.complete(c, 0) // no transfer involves the other shard
}

// Shards of transfers are drawn evenly, and include the given start.
func TestAcross(t *testing.T) {
	for shards := 2; shards <= 5; shards++ {
		m := &generator{accounts: &accounts{}, rng: rand.New(rand.NewPCG(1, uint64(shards)))}
		for s := range shards {
			m.accounts.homes = append(m.accounts.homes, s)
		}
		spends, receives := make([]int, shards), make([]int, shards)
		for i := range 3000 {
			start := i%(shards+1) - 1
			from, to := m.across(start)
			all := append(slices.Clone(from), to...)
			slices.Sort(all)
			if n := len(slices.Compact(all)); n < 2 || n > min(shards, 3) || len(from) == 0 || len(to) == 0 {
				t.Fatalf("from %v to %v", from, to)
			}
			if start >= 0 && !slices.Contains(from, start) {
				t.Fatalf("from %v lacks the start %d", from, start)
			}
			if last := slices.IndexFunc(to, func(s int) bool { return slices.Contains(from, s) }); last >= 0 {
				for _, s := range to[last:] {
					if !slices.Contains(from, s) {
						t.Fatalf("from %v to %v: %d only receives and comes after a shard that also spends", from, to, s)
					}
				}
			}
			if start < 0 {
				for _, s := range from {
					spends[s]++
				}
				for _, s := range to {
					receives[s]++
				}
			}
		}
		for s := range shards {
			if spends[s] < spends[0]*3/4 || receives[s] < spends[s]*3/4 || receives[s] > spends[s]*4/3 {
				t.Errorf("%d shards: spent in %v, received in %v", shards, spends, receives)
			}
		}
	}
}

// refundWorld returns a run and a rejected transfer of it, signed at now, which spends one coin in each of three
// shards. The first coin is stale.
func refundWorld(t *testing.T, now time.Time) (*run, *transfer) {
	t.Helper()
	_, c := newWorld(t, 3, 1, 1, 1, 1)
	b := newAccounts(&c)
	to := newReplicas(c.Shards)
	r := &run{cfg: &c, to: to, tally: newTally(&c, 0, to), freed: make(chan struct{}, 1)}
	r.generator = newGenerator(&c, b, &coinPool{coins: make([][]coin, 3)}, 1)
	x := &transfer{id: ledger.TxID{9}, cross: true, kind: Spent, bad: 0, expiry: uint64(now.Add(shortExpiry).UnixMilli())}
	for s := range 3 {
		x.spends = append(x.spends, coin{point: ledger.Outpoint{Tx: ledger.TxID{byte(s)}, Index: 3}, amount: 5, owner: b.at[s][0]})
	}
	return r, x
}

// The other inputs of a rejected transfer are spent again only when their state is certain.
func TestRefunds(t *testing.T) {
	now := time.Now()
	late := now.Add(shortExpiry + refundSlack + time.Second)
	part := func(s uint16, stage string) api.Part { return api.Part{Shard: s, Stage: stage} }
	returned := func(x *transfer, i int) ledger.Outpoint { return ledger.ReturnedOutpoint(x.id, x.spends[i].point) }
	asItWas := func(x *transfer, i int) ledger.Outpoint { return x.spends[i].point }
	for name, c := range map[string]struct {
		parts []api.Part
		at    time.Time
		first func(*transfer, int) ledger.Outpoint // expected refund of input 1, nil if none yet
		other func(*transfer, int) ledger.Outpoint // expected refund of input 2
	}{
		"returned":            {[]api.Part{part(0, "rejected"), part(1, "returned"), part(2, "returned")}, now, returned, returned},
		"one rejected":        {[]api.Part{part(1, "rejected"), part(2, "returned")}, now, asItWas, returned},
		"one in escrow":       {[]api.Part{part(1, "escrow"), part(2, "returned")}, now, nil, returned},
		"nothing known":       {nil, now, nil, nil},
		"one without part":    {[]api.Part{part(2, "returned")}, now, nil, returned},
		"pending":             {[]api.Part{part(1, "pending")}, now, nil, nil},
		"expired":             {nil, late, asItWas, asItWas},
		"expired in escrow":   {[]api.Part{part(1, "escrow"), part(2, "pending")}, late, nil, asItWas},
		"expired, soon after": {nil, now.Add(shortExpiry + time.Second), nil, nil},
	} {
		r, x := refundWorld(t, now)
		r.collectRefunds(x, &api.TxAnswer{State: api.StateRejected, Parts: c.parts}, c.at)
		open, back := 0, uint64(0)
		for i, want := range map[int]func(*transfer, int) ledger.Outpoint{1: c.first, 2: c.other} {
			got := r.generator.pool.coins[i]
			switch {
			case want == nil:
				if open++; len(got) != 0 {
					t.Errorf("%s: input %d was refunded as %+v", name, i, got)
				}
			case len(got) != 1 || got[0].point != want(x, i) || got[0].amount != 5 || got[0].owner != x.spends[i].owner:
				t.Errorf("%s: input %d was refunded as %+v", name, i, got)
			default:
				back++
			}
		}
		if len(r.generator.pool.coins[0]) != 0 {
			t.Errorf("%s: the stale input was refunded", name)
		}
		if r.tally.res.Recovered != back {
			t.Errorf("%s: %d refunds counted, want %d", name, r.tally.res.Recovered, back)
		}
		if again := r.refunds.due(c.at.Add(firstQuery)); (len(again) == 1) != (open > 0) || open > 0 && len(again[0].coins) != open {
			t.Errorf("%s: %d refunds left, want %d coins", name, len(again), open)
		}
		if left := r.refunds.due(c.at.Add(time.Hour)); len(left) != 0 {
			t.Errorf("%s: due returned a refund twice", name)
		}
	}
}

// A replica in a coin's home shard is asked for its state, another one if the first does not answer.
func TestRefundsAreQueriedUntilAnswered(t *testing.T) {
	t.Parallel()
	w, c := newWorld(t, 2, 2, 2, 30, 10)
	c.Rate, c.For, c.Cross, c.Invalid = 150, 2*time.Second, 0.6, 0.3
	asked := make(chan uint16, 1000)
	for i, r := range w.replicas {
		r.tx = func(id ledger.TxID) (api.TxAnswer, error) {
			asked <- r.shard
			if i%2 == 1 {
				return api.TxAnswer{}, errors.New("no")
			}
			return r.find(id)
		}
	}
	res := w.complete(c, 90)
	if res.Recovered == 0 || len(asked) == 0 {
		t.Errorf("%d recovered after %d queries", res.Recovered, len(asked))
	}
}

func TestRefundsAreBounded(t *testing.T) {
	var s refunds
	for range maxRefunds + 10 {
		s.add(&refund{})
	}
	if got := len(s.due(time.Now())); got != maxRefunds {
		t.Errorf("%d refunds", got)
	}
}

// One call of give with several coins wakes all goroutines that wait for a coin.
func TestAllWaitingTransfersAreFunded(t *testing.T) {
	r, x := refundWorld(t, time.Now())
	done := make(chan bool)
	for range 3 {
		go func() { done <- r.generator.fund(t.Context(), &transfer{}) }()
	}
	for r.generator.starved.Load() < 3 {
		time.Sleep(time.Millisecond)
	}
	r.generator.give(x.spends...)
	for range 3 {
		if !<-done {
			t.Error("fund failed")
		}
	}
}
