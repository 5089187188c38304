package settlement

import (
	"math/rand/v2"
	"testing"

	"bdtnode/internal/sig"
	"bdtnode/ledger"
)

// TestSlowChannelFreezesNoShard moves value between three honest shards. One channel is slow, so its destination
// keeps the escrow of transactions that have settled in other shards, until its unspent outputs, escrow and burned
// fees exceed the whole supply. No shard freezes the channel of another, and when the slow channel catches up
// everything settles.
func TestSlowChannelFreezesNoShard(t *testing.T) {
	beyond := 0 // number of seeds in which a shard held more than the supply, escrow included
	for seed := range uint64(24) {
		rng := rand.New(rand.NewPCG(seed, 1))
		w := newWorld(Standard(), 2)
		from, to := uint16(seed%shards), uint16((seed+1+seed/shards%2)%shards)
		most := uint64(0)
		for range 60 {
			tx := anyPayment(t, &w, rng)
			for s := range uint16(shards) {
				if tx != nil && tx.Shards(home).Inputs.Has(s) {
					w.must(t, event{shard: s, txs: []*ledger.Tx{tx}})
				}
			}
			for range 3 { // rounds for verdicts, answers and settlements
				for s := range uint16(shards) {
					e := event{shard: s}
					for q := range uint16(shards) {
						for range w.queues[q][s] {
							if q != from || s != to || rng.IntN(40) == 0 {
								e.deliver = append(e.deliver, q)
							}
						}
					}
					if len(e.deliver) > 0 {
						w.must(t, e)
					}
				}
			}
			a := w.audit(to)
			most = max(most, a.Unspent+a.Escrow+a.Burned)
			if err := w.check(); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		if most > 2*coinValue*shards {
			beyond++
		}
		for !w.quiet() {
			for s := range uint16(shards) {
				e := event{shard: s}
				for q := range uint16(shards) {
					for range w.queues[q][s] {
						e.deliver = append(e.deliver, q)
					}
				}
				w.must(t, e)
			}
		}
		if err := w.check(); err != nil {
			t.Fatalf("seed %d, at the end: %v", seed, err)
		}
	}
	if beyond == 0 {
		t.Error("no shard held more than the supply, so the test does not cover the case")
	}
}

// anyPayment makes a transaction that spends one unspent output in each of one to three shards and pays to one or two
// shards; nil if there is no unspent output.
func anyPayment(t *testing.T, w *world, rng *rand.Rand) *ledger.Tx {
	t.Helper()
	b := ledger.Body{Network: network, ExpiryMS: txExpiry}
	var signers []sig.Signer
	total := uint64(0)
	for _, s := range rng.Perm(shards)[:1+rng.IntN(shards)] {
		coins := allCoins(w.states[s], uint16(s), 8)
		if len(coins) == 0 {
			continue
		}
		u := coins[rng.IntN(len(coins))]
		b.Inputs = append(b.Inputs, ledger.Input{Outpoint: u.Outpoint, Key: person(uint16(s), 0).Public(), Amount: u.Amount})
		signers = append(signers, person(uint16(s), 0))
		total += u.Amount
	}
	if total == 0 {
		return nil
	}
	if total > coinValue { // burn a little, and keep outputs from becoming too small
		b.Fee = 1
	}
	b.Outputs = []ledger.Output{{Address: address(uint16(rng.IntN(shards)), 0), Amount: total - b.Fee}}
	tx, err := b.Sign(signers...)
	if err != nil {
		t.Fatal(err)
	}
	if tx.Shards(home).All().Len() > 1 {
		w.watch(tx)
	}
	return tx
}
