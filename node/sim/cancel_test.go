package sim

import (
	"slices"
	"testing"
	"time"

	"bdtnode/internal/sig"
	"bdtnode/ledger"
	"bdtnode/node/sim/adversary"
	"bdtnode/node/sim/network"
	"bdtnode/shard/settlement"
)

// foreignCLs lets f+1 replicas of a hostile shard sign CLs for all transactions that do not involve it. Every other shard
// must refuse them.
type foreignCLs struct{ of int }

func (f foreignCLs) start(w *world) {
	h := w.Shards[f.of]
	w.Repeat(100*time.Millisecond, func() {
		tx := w.workload.Recent()
		if tx == nil {
			return
		}
		all := tx.Shards(w.Peers.Home).All()
		if all.Has(h.Number) {
			return
		}
		p := network.Packet{Frame: adversary.HostileCL(w.Peers, h.Number, tx, h.Signers).Encode(), Forged: "a CL of a shard that is not involved"}
		for _, s := range all.Members() {
			for _, n := range w.Shards[s].Machines {
				w.Gossip(h.Machines[0], n, p)
			}
		}
	})
}

// cancelledByTwo lets two hostile shards spend and cancel the same transactions, whose outputs are in the third one. The
// CLs of the first shard come to the third before the transactions are submitted, and those of the second with its LDs.
// The third shard must freeze the channels of both.
type cancelledByTwo struct{ first, second, third uint16 }

func (f cancelledByTwo) start(w *world) {
	between := func() {
		tx := w.workload.Across([]uint16{f.first, f.second}, []uint16{f.third})
		p := network.Packet{Frame: adversary.HostileCL(w.Peers, f.first, tx, w.Shards[f.first].Signers).Encode()}
		for _, n := range w.Shards[f.third].Machines {
			w.Gossip(w.Shards[f.first].Machines[0], n, p)
		}
		w.After(time.Second, func() {
			for _, s := range []uint16{f.first, f.second} {
				for _, n := range w.Shards[s].Machines {
					w.workload.Submit(n, tx)
				}
			}
		})
	}
	for k := range 5 {
		w.After(time.Duration(2+k)*time.Second, between)
	}
}

// cancelsBoth is a hostile shard that gives SPENT and a CL on the transactions with inputs in another one too, and keeps
// the rules for all others.
type cancelsBoth struct {
	with uint16 // the other shard
	home func(ledger.Address) uint16
}

func (cancelsBoth) String() string { return "hostile: a CL and SPENT, as another shard" }

func (c cancelsBoth) both(e *ledger.Entry) bool {
	return e.Verdict == ledger.VerdictSpent && e.Tx.Shards(c.home).Inputs.Has(c.with)
}

func (c cancelsBoth) Falsify(d ledger.Delivery, _ []ledger.Entry) (ledger.Delivery, *ledger.Delivery, bool) {
	return d, nil, slices.ContainsFunc(d.Entries, func(e ledger.Entry) bool { return c.both(&e) })
}

// CLs implements [adversary.Canceller].
func (c cancelsBoth) CLs(ld *settlement.LD, n *settlement.Network, signers []sig.Signer) (out []*settlement.CL) {
	for i := range ld.Delivery.Entries {
		if e := &ld.Delivery.Entries[i]; c.both(e) {
			out = append(out, adversary.HostileCL(n, ld.Delivery.Source, e.Tx, signers))
		}
	}
	return out
}

// TestCLsAreForged: over some runs, colluding replicas sent every kind of incorrect CL_M, CL and LD. Receivers refused
// those that they must refuse, and transactions were cancelled in each way.
func TestCLsAreForged(t *testing.T) {
	t.Parallel()
	told := make(map[string]int)
	var total Report
	for seed := range uint64(4) {
		cfg := networkStories["cancellations"](seed)
		r, err := Run(t.Context(), cfg, nil)
		if err != nil {
			report(t, err)
			return
		}
		for k := range cfg.Shards {
			for what, count := range adversary.CountsOf(cfg.Shards[k].Byzantine[0].Behaviour) {
				told[what] += count
			}
		}
		t.Logf("seed %d: %d settled, %d not (%d cancelled, %d returned by a CL, %d by a verdict), %d refused", seed,
			r.Settled, r.Rejected, r.Cancelled, r.ReturnedByCL, r.ReturnedByVerdict, r.Refused)
		total.Refused, total.Cancelled = total.Refused+r.Refused, total.Cancelled+r.Cancelled
		total.ReturnedByCL, total.ReturnedByVerdict = total.ReturnedByCL+r.ReturnedByCL, total.ReturnedByVerdict+r.ReturnedByVerdict
		if seed == 2 && r.ReturnedByCL == 0 { // no gossip arrives
			t.Error("no requested CL returned escrow")
		}
	}
	for _, kind := range adversary.CLKinds {
		if told[kind] == 0 {
			t.Errorf("never sent: %s", kind)
		}
	}
	if total.Refused == 0 || total.Cancelled == 0 || total.ReturnedByCL == 0 || total.ReturnedByVerdict == 0 {
		t.Errorf("%d refused, %d cancelled, %d returned by a CL, %d by a verdict; want some of each", total.Refused, total.Cancelled, total.ReturnedByCL, total.ReturnedByVerdict)
	}
	t.Log(told)
}
