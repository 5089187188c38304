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

// shapes are what the transactions between shards of a world look like.
type shapes struct {
	count                  int
	involved, inputs, outs map[int]int // number of shards to how many involve, spend in and create in so many
	keys                   map[int]int
	concerned              map[uint16]int
}

func (w *testWorld) shapes() shapes {
	s := shapes{0, map[int]int{}, map[int]int{}, map[int]int{}, map[int]int{}, map[uint16]int{}}
	for _, tx := range w.txs {
		p := tx.Parties(w.home)
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

// crossRejected counts the rejected transactions between shards, and how many of the outputs that these gave back were
// spent again.
func (w *testWorld) crossRejected() (rejected, spentAgain int) {
	back := map[ledger.Outpoint]bool{}
	for id, tx := range w.txs {
		if a, _ := w.answer(id); a.State != api.StateRejected || tx.Parties(w.home).All().Len() == 1 {
			continue
		}
		rejected++
		for i := range tx.Inputs {
			back[ledger.Returned(id, tx.Inputs[i].Outpoint)] = true
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

// The share asked for goes across, in all the forms it may have; what is rejected is spent again once it came back.
func TestShareGoesAcross(t *testing.T) {
	t.Parallel()
	for shards, want := range map[int]shapes{
		2: {involved: map[int]int{2: 1}, inputs: map[int]int{1: 1, 2: 1}, outs: map[int]int{1: 1, 2: 1}},
		4: {involved: map[int]int{2: 1, 3: 1}, inputs: map[int]int{1: 1, 2: 1, 3: 1}, outs: map[int]int{1: 1, 2: 1, 3: 1}},
	} {
		w, c := newWorld(t, shards, 2, 2, 20, 3)
		c.Rate, c.For, c.Cross, c.Invalid = 200, 4*time.Second, 0.45, 0.1 // long enough for what comes back to be spent again
		res := w.complete(c, 80)
		got := w.shapes()
		rejected, spentAgain := w.crossRejected()
		if got.count != 360 || res.CrossSettled != uint64(360-rejected) {
			t.Errorf("%d of 800 across shards, %d settled and %d rejected", got.count, res.CrossSettled, rejected)
		}
		if rejected < 10 || rejected > 80 || res.Recovered == 0 || spentAgain == 0 {
			t.Errorf("%d rejected across shards, %d outputs had back, %d spent again", rejected, res.Recovered, spentAgain)
		}
		if !sameKeys(got.involved, want.involved) || !sameKeys(got.inputs, want.inputs) || !sameKeys(got.outs, want.outs) || got.keys[2] == 0 {
			t.Errorf("shapes %+v", got)
		}
		for s := range uint16(shards) {
			if got.concerned[s] < 360/shards {
				t.Errorf("shard %d is concerned by %d of 360", s, got.concerned[s])
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

// A request that one replica refuses goes to others, even of another shard, and those of a dead shard are left at last.
func TestTransfersFindAReplica(t *testing.T) {
	t.Parallel()
	w, c := newWorld(t, 2, 2, 2, 50, 10)
	c.Rate, c.For, c.Cross, c.Invalid = 200, 500*time.Millisecond, 0.5, 0.1
	w.replicas[0].server.Close()
	w.replicas[2].server.Close()
	w.replicas[3].server.Close() // nobody in shard 1 answers; shard 0 passes on
	w.complete(c, 10)
	if w.replicas[1].posts == 0 {
		t.Error("the one that is left got nothing")
	}
}

// A transfer that stays in a shard, or begins there, is sent there while its replicas answer.
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
				p := tx.Parties(w.home)
				if !p.Inputs.Has(r.shard) {
					t.Errorf("a replica of shard %d got a transfer of shards %v", r.shard, p.Inputs.Members())
				}
				if p.All().Len() > 1 {
					across++
				}
			}
			if across != 0 && across != len(txs) {
				t.Errorf("%d of %d transfers of a request are across shards: the others are answered late", across, len(txs))
			}
			return nil
		}
	}
	w.complete(c, 0)
	for i, r := range w.replicas {
		if r.posts == 0 {
			t.Errorf("replica %d got nothing", i)
		}
	}
}

// With one output of 1 in each shard, nothing can be split between shards, and yet all goes across.
func TestAcrossWithNothingToSplit(t *testing.T) {
	w, c := newWorld(t, 3, 1, 1, 1, 1)
	c.Rate, c.For, c.Cross = 100, 300*time.Millisecond, 1
	w.complete(c, 0)
	if got := w.shapes(); got.count != 30 {
		t.Errorf("%d of 30 across shards", got.count)
	}
}

func TestLoadAcrossWidens(t *testing.T) {
	w, c := newWorld(t, 2, 1, 1, 1, 1<<20)
	c.Rate, c.For, c.Cross = 600, 500*time.Millisecond, 1
	w.complete(c, 0)
	if a := w.audit(); a.Outputs < 20 {
		t.Errorf("%d outputs in the end: the load did not widen what it lives on", a.Outputs)
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
	w.complete(c, 0) // the other shard has nothing to do
}

// The way across is drawn evenly, and begins where it has to.
func TestAcross(t *testing.T) {
	for shards := 2; shards <= 5; shards++ {
		m := &mint{bank: &bank{}, rng: rand.New(rand.NewPCG(1, uint64(shards)))}
		for s := range shards {
			m.bank.homes = append(m.bank.homes, s)
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
				t.Fatalf("from %v, not %d", from, start)
			}
			if last := slices.IndexFunc(to, func(s int) bool { return slices.Contains(from, s) }); last >= 0 {
				for _, s := range to[last:] {
					if !slices.Contains(from, s) {
						t.Fatalf("from %v to %v: %d only receives, and comes late", from, to, s)
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
				t.Errorf("of %d shards, spent in %v, received in %v", shards, spends, receives)
			}
		}
	}
}

// strayWorld is a run, and a transfer of it made now and rejected that spends a coin in each of three shards, the first of
// them stale.
func strayWorld(t *testing.T, now time.Time) (*run, *transfer) {
	t.Helper()
	_, c := newWorld(t, 3, 1, 1, 1, 1)
	b := newBank(&c)
	r := &run{cfg: &c, to: newReplicas(c.Shards), tally: newTally(1, 0)}
	r.mint = newMint(&c, b, &purse{coins: make([][]coin, 3)}, 1, 1)
	x := &transfer{id: ledger.TxID{9}, cross: true, invalid: true, stale: 0, expiry: uint64(now.Add(shortExpiry).UnixMilli())}
	for s := range 3 {
		x.spends = append(x.spends, coin{point: ledger.Outpoint{Tx: ledger.TxID{byte(s)}, Index: 3}, amount: 5, owner: b.at[s][0]})
	}
	return r, x
}

// What a rejected transfer spent besides is spent again only when it is certain how.
func TestStrays(t *testing.T) {
	now := time.Now()
	late := now.Add(shortExpiry + straySlack + time.Second)
	part := func(s uint16, stage string) api.Part { return api.Part{Shard: s, Stage: stage} }
	returned := func(x *transfer, i int) ledger.Outpoint { return ledger.Returned(x.id, x.spends[i].point) }
	asItWas := func(x *transfer, i int) ledger.Outpoint { return x.spends[i].point }
	for name, c := range map[string]struct {
		parts []api.Part
		at    time.Time
		first func(*transfer, int) ledger.Outpoint // what comes back of input 1, nil if nothing yet
		other func(*transfer, int) ledger.Outpoint // and of input 2
	}{
		"returned":            {[]api.Part{part(0, "rejected"), part(1, "returned"), part(2, "returned")}, now, returned, returned},
		"one rejected":        {[]api.Part{part(1, "rejected"), part(2, "returned")}, now, asItWas, returned},
		"one in escrow":       {[]api.Part{part(1, "escrow"), part(2, "returned")}, now, nil, returned},
		"nothing known":       {nil, now, nil, nil},
		"one never heard":     {[]api.Part{part(2, "returned")}, now, nil, returned},
		"pending":             {[]api.Part{part(1, "pending")}, now, nil, nil},
		"expired":             {nil, late, asItWas, asItWas},
		"expired in escrow":   {[]api.Part{part(1, "escrow"), part(2, "pending")}, late, nil, asItWas},
		"expired, soon after": {nil, now.Add(shortExpiry + time.Second), nil, nil},
	} {
		r, x := strayWorld(t, now)
		r.salvage(x, &api.TxAnswer{State: api.StateRejected, Parts: c.parts}, c.at)
		open, back := 0, uint64(0)
		for i, want := range map[int]func(*transfer, int) ledger.Outpoint{1: c.first, 2: c.other} {
			got := r.mint.purse.coins[i]
			switch {
			case want == nil:
				if open++; len(got) != 0 {
					t.Errorf("%s: input %d came back as %+v", name, i, got)
				}
			case len(got) != 1 || got[0].point != want(x, i) || got[0].amount != 5 || got[0].owner != x.spends[i].owner:
				t.Errorf("%s: input %d came back as %+v", name, i, got)
			default:
				back++
			}
		}
		if len(r.mint.purse.coins[0]) != 0 {
			t.Errorf("%s: the stale input came back", name)
		}
		if r.tally.res.Recovered != back {
			t.Errorf("%s: %d counted of %d", name, r.tally.res.Recovered, back)
		}
		if again := r.strays.due(c.at.Add(firstLook)); (len(again) == 1) != (open > 0) || open > 0 && len(again[0].coins) != open {
			t.Errorf("%s: %d to look at again, want %d coins", name, len(again), open)
		}
		if left := r.strays.due(c.at.Add(time.Hour)); len(left) != 0 {
			t.Errorf("%s: taken out twice", name)
		}
	}
}

// A replica of a coin's home shard is asked for it, another one if that does not answer.
func TestReclaimAsksUntilAnswered(t *testing.T) {
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
		t.Errorf("%d recovered, asked %d times", res.Recovered, len(asked))
	}
}

func TestStraysAreBounded(t *testing.T) {
	var s strays
	for range maxStrays + 10 {
		s.add(&stray{})
	}
	if got := len(s.due(time.Now())); got != maxStrays {
		t.Errorf("%d strays", got)
	}
}

// One gift of several coins is enough for all that wait for one.
func TestAllThatWaitAreFunded(t *testing.T) {
	r, x := strayWorld(t, time.Now())
	done := make(chan bool)
	for range 3 {
		go func() { done <- r.mint.fund(t.Context(), &transfer{}) }()
	}
	for r.mint.starved.Load() < 3 {
		time.Sleep(time.Millisecond)
	}
	r.mint.give(x.spends...)
	for range 3 {
		if !<-done {
			t.Error("not funded")
		}
	}
}
