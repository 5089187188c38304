package sim

import (
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/bolt"
)

// LoneReplica lets one replica of each epoch have the quorum of votes, or of Commits, and keeps from all others the one
// that would make theirs, until they have left the epoch. What the one says when it leaves comes late. So a block is
// certified, or committed, by one replica only, and the others end the epoch without it.
type LoneReplica struct{ Commits bool }

func (t LoneReplica) String() string {
	if t.Commits {
		return "lets one replica commit"
	}
	return "lets one replica have a QC"
}

func (t LoneReplica) until(k *scheduling, f *flight) protocols.Time {
	from, to := k.s.nodes[f.from].id, k.s.nodes[f.to].id
	var epoch uint64
	switch x := f.packet.message.(type) {
	case *bolt.Vote:
		if epoch = x.Epoch; t.Commits {
			return 0
		}
	case *bolt.Commit:
		if epoch = x.Epoch; !t.Commits && from != k.lone(epoch) {
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

// lone is an honest replica of an epoch's.
func (k *scheduling) lone(epoch uint64) protocols.Index {
	return protocols.Index(k.order(epoch, 0, "lone")[len(k.s.cfg.Liars)])
}

// LateProposals brings what the leader proposes late to f+1 replicas, so that no slot has a quorum in time and nobody can
// tell a slow network from a silent leader.
type LateProposals struct{}

func (LateProposals) String() string { return "brings proposals late to f+1 replicas" }

func (LateProposals) until(k *scheduling, f *flight) protocols.Time {
	if x, ok := f.packet.message.(*bolt.Propose); ok && !k.left[epochOf{k.s.nodes[f.to].id, x.Block.Epoch}] &&
		k.rank(x.Block.Epoch, 0, "late", k.s.nodes[f.to].id) < k.s.committee.WeakQuorum() {
		return k.expiry(f)
	}
	return 0
}
