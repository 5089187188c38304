package sim

import (
	"flag"
	"slices"
	"strings"
	"testing"
	"time"

	"bdtnode/node/sim/adversary"
)

var (
	planned = flag.String("sim.faults", "", "the faults, with commas between them, that TestPlanned runs over all seeds, or \"all\"")
	spread  = flag.Int("sim.shards", 1, "how many shards TestPlanned has")
)

// planOf is a plan of named faults.
func planOf(t *testing.T, faults string, shards int) Plan {
	t.Helper()
	p := Plan{Shards: shards, Nodes: []int{4, 5, 7}, For: 40 * time.Second}
	if err := p.ParseFaults(faults); err != nil {
		t.Fatal(err)
	}
	return p
}

// TestPlanned runs plans of named faults, to sweep them.
func TestPlanned(t *testing.T) {
	if *planned == "" {
		return
	}
	p := planOf(t, *planned, *spread)
	for k := range *seeds {
		cfg, err := p.Scenario(*first + uint64(k))
		if err != nil {
			t.Fatal(err)
		}
		t.Run(cfg.String(), func(t *testing.T) {
			t.Parallel()
			r, err := Run(t.Context(), cfg, nil)
			if err != nil {
				report(t, err)
				return
			}
			for k := range cfg.Shards {
				for _, l := range cfg.Shards[k].Byzantine {
					t.Log(l.Replica, "told", adversary.CountsOf(l.Behaviour))
				}
			}
			t.Logf("height %d, %d epochs, %d fallbacks, %.2f rounds, %d settled, %d rejected, %d crashes, %d refused, %d events",
				r.Commits, r.Epochs, r.Fallbacks, r.Agreements.Mean(), r.Settled, r.Rejected, r.Crashes, r.Refused, r.Events)
		})
	}
}

// mostSeeds is the maximal number of runs in which an adversary must have sent all its kinds of incorrect messages. A
// few runs usually suffice.
const mostSeeds = 100

// TestEveryForgeryIsSent: over some runs, each adversary sent every kind of incorrect message that it has. Receivers refused
// the messages that they must refuse.
func TestEveryForgeryIsSent(t *testing.T) {
	for _, x := range []struct{ fault, kinds string }{
		{"slow-progress", "led,proposed late,left out a lane"},
		{"stale-status", "an older QC,no QC,no tips,older tips,of a past epoch,on an older block,a QC of another slot," +
			"a QC of another block,a QC of another epoch,a QC of one signer,a QC of too few signers,a QC with made-up signatures," +
			"a tip with made-up signatures,a certificate of another number,a certificate of another batch," +
			"a lane's certificate for a channel,a tip of one signer"},
		{"bad-cuts", strings.Join(adversary.BadCutKinds, ",")},
		{"bad-coin", "early in its round,a round ahead,an epoch ahead,an old toss,a share with a bit flipped," +
			"a share of another round,a share of another epoch,another replica's share,a share twice,no share," +
			"a relay with a bit flipped,a relay of too few shares,a relay of shares in each other's name," +
			"a relay of another round's shares,no relay,an old relay"},
		{"bad-inputs", "an input cut off,an input of another epoch,another value in a later round,too few claims,a claim twice," +
			"more claims than a quorum,no QC,a lower QC than claimed,another block than the QC's,a cut above what is certified," +
			"a cut below what is claimed,a certificate less,another lane's certificate more,a channel too many," +
			"a claim that was not signed so,a second input,echoes another value,accepts another value,a forged first-phase proof," +
			"a forged second-phase proof,pre-votes two things,votes on another leader,votes no without its key," +
			"decides what was not elected,decides by itself"},
		{"far-epochs", strings.Join(adversary.FarKinds, ",")},
		{"withholding", "batches,proposals,votes,Status,the agreement,shares"},
	} {
		t.Run(x.fault, func(t *testing.T) {
			t.Parallel()
			p := planOf(t, x.fault, 1)
			p.For = 6 * time.Second
			listed := strings.Split(x.kinds, ",")
			told, refused := make(map[string]int), 0
			for seed := uint64(1); seed < mostSeeds && slices.ContainsFunc(listed, func(what string) bool { return told[what] == 0 }); seed++ {
				cfg, err := p.Scenario(seed)
				if err != nil {
					t.Fatal(err)
				}
				cfg.Shards[0].Slots = 5
				if seed%2 == 0 { // the leader of the first epoch
					cfg.Dumbo, cfg.Shards[0].Byzantine[0].Replica = false, 0
				}
				r, err := Run(t.Context(), cfg, nil)
				if err != nil {
					report(t, err)
					return
				}
				refused += r.Refused
				for _, l := range cfg.Shards[0].Byzantine {
					for what, count := range adversary.CountsOf(l.Behaviour) {
						told[what] += count
					}
				}
			}
			for _, what := range listed {
				if told[what] == 0 {
					t.Errorf("never sent: %s", what)
				}
				delete(told, what)
			}
			if len(told) > 0 {
				t.Errorf("sent and not listed: %v", told)
			}
			if refused == 0 && !strings.Contains("slow-progress withholding far-epochs", x.fault) { // which send only well-formed messages
				t.Error("no message was refused")
			}
		})
	}
}
