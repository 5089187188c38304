package sim

import (
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

func (t LoneReplica) until(k *scheduling, f *flight) protocols.Time {
	from, to := k.s.nodes[f.from].id, k.s.nodes[f.to].id
	var epoch uint64
	switch x := f.packet.message.(type) {
	case *bolt.Vote:
		if epoch = x.Epoch; t.Finalizes {
			return 0
		}
	case *bolt.Finalize:
		if epoch = x.Epoch; !t.Finalizes && from != k.lone(epoch) {
			return 0
		}
	case *bdt.Status:
		if from == k.lone(x.Epoch) {
			return k.expiry(f)
		}
		return 0
	default:
		return 0
	}
	if to != k.lone(epoch) && !k.left[epochOf{to, epoch}] && k.completes(f) {
		return k.expiry(f)
	}
	return 0
}

// lone is the honest replica that is chosen for an epoch.
func (k *scheduling) lone(epoch uint64) protocols.Index {
	return protocols.Index(k.order(epoch, 0, "lone")[len(k.s.cfg.Liars)])
}

// LateProposals delays the leader's proposals to f+1 replicas, so that no slot has a quorum in time. Replicas cannot
// distinguish a slow network from a leader that sends nothing.
type LateProposals struct{}

func (LateProposals) String() string { return "delays proposals to f+1 replicas" }

func (LateProposals) until(k *scheduling, f *flight) protocols.Time {
	if x, ok := f.packet.message.(*bolt.Propose); ok && !k.left[epochOf{k.s.nodes[f.to].id, x.Block.Epoch}] &&
		k.rank(x.Block.Epoch, 0, "late", k.s.nodes[f.to].id) < k.s.committee.WeakQuorum() {
		return k.expiry(f)
	}
	return 0
}
