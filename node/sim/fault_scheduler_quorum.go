package sim

import (
	"fmt"

	"bdtnode/protocols"
)

// LastOfQuorum holds back the message that would complete a quorum, at all replicas of a round but n-f, or in every
// other round at all but one. The quorums are of votes, Finalize messages, Status, echoes, accepts, complete
// broadcasts, shares of the coin, pre-votes and votes of an agreement.
type LastOfQuorum struct{}

func (LastOfQuorum) String() string { return "delays the last message of a quorum" }

func (LastOfQuorum) until(k *scheduling, f *flight) protocols.Time {
	p, _, ok := k.counts(f)
	if !ok || k.left[epochOf{k.s.nodes[f.to].id, p.epoch}] && p.round == 0 {
		return 0
	}
	kept := k.s.cfg.faulty()
	if p.epoch%2 == 0 {
		kept = k.s.cfg.Nodes - 1
	}
	if k.rank(p.epoch, p.round, "last", k.s.nodes[f.to].id) < kept && k.completes(f) {
		return k.expiry(f)
	}
	return 0
}

// Whims holds back a share of all messages that are counted or broadcast in an agreement, each for a random time.
type Whims struct{ Rate float64 }

func (t Whims) String() string { return fmt.Sprintf("delays %.0f %% of all messages", 100*t.Rate) }

func (t Whims) until(k *scheduling, f *flight) protocols.Time {
	if !f.mused {
		f.mused = true
		if k.s.rng.Float64() < t.Rate {
			f.whim = f.sent.Add(k.s.between(0, k.adversary.Patience))
		}
	}
	return f.whim
}
