package scheduler

import (
	"bdtnode/node/sim/network"
	"bdtnode/protocols"
	"bdtnode/protocols/mvba"
)

// StarveBroadcasts lets n-f broadcasts of each round of an agreement complete before its coin is known, and holds back
// the messages of the others. Then it releases all messages but those of the broadcast that the coin elects. If that
// broadcast did not complete, all replicas pre-vote no and the round ends without a decision. This happens with
// probability f/n, which is the maximum. If shares of the coin are ever released before n-f broadcasts are complete, it
// happens always.
type StarveBroadcasts struct{}

func (StarveBroadcasts) String() string { return "starves f broadcasts of each round" }

func (StarveBroadcasts) Until(k *Scheduling, f *network.Flight) protocols.Time {
	at, by, ok := phased(k.s.Machines[f.From].ID(), f.Packet.Message)
	if !ok {
		return 0
	}
	kept := k.starves(at, by)
	if leader, out := k.elected(at); out {
		kept = leader == by
	}
	if kept {
		return k.Expiry(f)
	}
	return 0
}

// starves reports whether a broadcast is one of the f of its round that must not complete: those of Byzantine replicas,
// whose completion is not certain, and some others.
func (k *Scheduling) starves(at mvba.At, by protocols.Index) bool {
	return k.rank(at.Instance.Epoch, uint64(at.Round), "starve", by) < k.s.Config.Faulty()
}

// SplitViews keeps the views of an agreement's replicas different. In odd rounds f broadcasts complete their first
// phase only, and few replicas see its proof. In even rounds all complete, and each replica lacks f others of them.
// When the coin is known, messages that show the proof of the elected broadcast (pre-votes and votes among them) reach
// the few at once, and the others after they have voted no. Decisions are delayed for as many replicas as possible.
type SplitViews struct{}

func (SplitViews) String() string { return "keeps the views of an agreement different" }

func (t SplitViews) Until(k *Scheduling, f *network.Flight) protocols.Time {
	if t.keeps(k, k.s.Machines[f.From].ID(), k.s.Machines[f.To].ID(), f.Packet.Message) {
		return k.Expiry(f)
	}
	return 0
}

func (SplitViews) keeps(k *Scheduling, from, to protocols.Index, m protocols.Message) bool {
	if at, by, ok := phased(from, m); ok {
		if leader, out := k.elected(at); out && leader != by {
			return false
		}
		n := k.s.Config.Replicas
		odd := at.Round%2 == 1
		switch m.(type) {
		case *mvba.Lock:
			return odd && k.starves(at, by) && !k.confides(at, to)
		case *mvba.Accept:
			return odd && k.starves(at, by)
		case *mvba.Finish:
			return odd && k.starves(at, by) || !odd && (int(by)-int(to)+n-1)%n < k.s.Config.Faulty()
		}
		return false
	}
	switch x := m.(type) {
	case *mvba.PreVote:
		return x.Yes && !k.confides(x.At, to) && !k.voted[votedOf{to, x.At}]
	case *mvba.Vote:
		return x.Yes && !k.confides(x.At, to) && !k.voted[votedOf{to, x.At}]
	case *mvba.Decision:
		return !k.decided[epochOf{to, x.Instance.Epoch}]
	}
	return false
}

// confides reports whether a replica is one of the few that receive the hidden messages. The honest ones among them are
// so few that the others can make a quorum without them.
func (k *Scheduling) confides(at mvba.At, who protocols.Index) bool {
	epoch, round := at.Instance.Epoch, uint64(at.Round)
	few := len(k.s.Config.Byzantine) + 1
	if spare := k.s.Config.Faulty() - few; spare > 0 {
		few += k.order(epoch, round, "how many")[k.s.Config.Replicas-1] % (spare + 1)
	}
	return k.rank(epoch, round, "confide", who) < few
}
