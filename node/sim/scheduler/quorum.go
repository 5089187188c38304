package scheduler

import (
	"fmt"

	"bdtnode/node/sim/network"
	"bdtnode/protocols"
)

// LastOfQuorum holds back the message that would complete a quorum, at all replicas of a round but n-f, or in every
// other round at all but one. The quorums are of votes, Finalize messages, Status, echoes, accepts, complete
// broadcasts, shares of the coin, pre-votes and votes of an agreement.
type LastOfQuorum struct{}

func (LastOfQuorum) String() string { return "delays the last message of a quorum" }

func (LastOfQuorum) Until(k *Scheduling, f *network.Flight) protocols.Time {
	p, _, ok := k.counts(f)
	if !ok || k.left[epochOf{k.s.Machines[f.To].ID(), p.epoch}] && p.round == 0 {
		return 0
	}
	kept := k.s.Config.Faulty()
	if p.epoch%2 == 0 {
		kept = k.s.Config.Replicas - 1
	}
	if k.rank(p.epoch, p.round, "last", k.s.Machines[f.To].ID()) < kept && k.completes(f) {
		return k.Expiry(f)
	}
	return 0
}

// Whims holds back a share of all messages that are counted or broadcast in an agreement, each for a random time.
type Whims struct{ Rate float64 }

func (t Whims) String() string { return fmt.Sprintf("delays %.0f %% of all messages", 100*t.Rate) }

func (t Whims) Until(k *Scheduling, f *network.Flight) protocols.Time {
	h := holdingOf(f)
	if !h.drawn {
		h.drawn = true
		if k.s.Rand.Float64() < t.Rate {
			h.until = f.Sent.Add(k.s.Between(0, k.adversary.Patience))
		}
	}
	return h.until
}
