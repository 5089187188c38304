package sim

import (
	"testing"
	"time"

	"bdtnode/node/sim/adversary"
	"bdtnode/node/sim/network"
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
