package scheduler

import (
	"bdtnode/node/sim/network"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/bolt"
)

// LoneReplica lets one replica of each epoch have the quorum of votes, or of Finalize messages. From all others it
// holds back the message that would complete theirs, until they have left the epoch. Messages of the one replica when
// it leaves arrive late. So a block is certified, or committed, by one replica only, and the others end the epoch
// without it.
type LoneReplica struct{ Finalizes bool }

func (t LoneReplica) String() string {
	if t.Finalizes {
		return "lets one replica commit"
	}
	return "lets one replica have a QC"
}

func (t LoneReplica) Until(k *Scheduling, f *network.Flight) protocols.Time {
	from, to := k.s.Machines[f.From].ID(), k.s.Machines[f.To].ID()
	var epoch uint64
	switch x := f.Packet.Message.(type) {
	case *bolt.Vote:
		if epoch = x.Epoch; t.Finalizes {
			return 0
		}
	case *bolt.Finalize:
		if epoch = x.Epoch; !t.Finalizes && from != k.Lone(epoch) {
			return 0
		}
	case *bdt.Status:
		if from == k.Lone(x.Epoch) {
			return k.Expiry(f)
		}
		return 0
	default:
		return 0
	}
	if to != k.Lone(epoch) && !k.left[epochOf{to, epoch}] && k.completes(f) {
		return k.Expiry(f)
	}
	return 0
}

// Lone is the honest replica that is chosen for an epoch.
func (k *Scheduling) Lone(epoch uint64) protocols.Index {
	return protocols.Index(k.order(epoch, 0, "lone")[len(k.s.Config.Byzantine)])
}

// LateProposals delays the leader's proposals to f+1 replicas, so that no slot has a quorum in time. Replicas cannot
// distinguish a slow network from a leader that sends nothing.
type LateProposals struct{}

func (LateProposals) String() string { return "delays proposals to f+1 replicas" }

func (LateProposals) Until(k *Scheduling, f *network.Flight) protocols.Time {
	if x, ok := f.Packet.Message.(*bolt.Propose); ok && !k.left[epochOf{k.s.Machines[f.To].ID(), x.Block.Epoch}] &&
		k.rank(x.Block.Epoch, 0, "late", k.s.Machines[f.To].ID()) < k.s.Committee.WeakQuorum() {
		return k.Expiry(f)
	}
	return 0
}
