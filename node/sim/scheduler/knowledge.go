package scheduler

import (
	"slices"

	"bdtnode/internal/digest"
	"bdtnode/node/sim/network"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/bolt"
	toss "bdtnode/protocols/coin"
	"bdtnode/protocols/mvba"
)

// place is where a node counts messages of different replicas, until they suffice.
type place struct {
	node  int
	kind  protocols.Kind
	epoch uint64
	round uint64 // of an agreement
	slot  uint64
	what  digest.Digest
}

// counts is the place where a message is counted, and the number needed there with the receiver's own. It is false for
// messages that are not counted, or not in an epoch.
func (k *Scheduling) counts(f *network.Flight) (place, int, bool) {
	m := f.Packet.Message
	if m == nil {
		return place{}, 0, false
	}
	p := place{node: f.To, kind: m.Kind()}
	enough := k.s.Committee.Quorum()
	switch x := m.(type) {
	case *bolt.Vote:
		p.epoch, p.slot, p.what = x.Epoch, x.Slot, x.Digest
	case *bolt.Finalize:
		p.epoch, p.slot, p.what = x.Epoch, x.Slot, x.Digest
	case *bdt.Status:
		p.epoch = x.Epoch
	case *mvba.Echo:
		p.epoch, p.round = x.Instance.Epoch, uint64(x.Round)
	case *mvba.Accept:
		p.epoch, p.round = x.Instance.Epoch, uint64(x.Round)
	case *mvba.Finish:
		p.epoch, p.round = x.Instance.Epoch, uint64(x.Round)
	case *mvba.PreVote:
		p.epoch, p.round = x.Instance.Epoch, uint64(x.Round)
	case *mvba.Vote:
		p.epoch, p.round = x.Instance.Epoch, uint64(x.Round)
	case *toss.Release:
		p.epoch, p.round, enough = x.Name.Epoch, uint64(x.Name.Round), k.s.Committee.WeakQuorum()
	default:
		return p, 0, false
	}
	return p, enough, true
}

// completes reports whether a message is the last that its receiver needs at the place where it is counted.
func (k *Scheduling) completes(f *network.Flight) bool {
	p, enough, ok := k.counts(f)
	if !ok {
		return false
	}
	others := 0
	if set := k.came[p]; set != nil {
		if set.Has(k.s.Machines[f.From].ID()) {
			return false
		}
		others = set.Len()
	}
	return others+2 >= enough // with this message and the receiver's own
}

// phased is the broadcast to which a message belongs: its round and its broadcaster.
func phased(from protocols.Index, m protocols.Message) (at mvba.At, by protocols.Index, ok bool) {
	switch x := m.(type) {
	case *mvba.Proposal:
		return x.At, from, true
	case *mvba.Echo:
		return x.At, x.Broadcaster, true
	case *mvba.Lock:
		return x.At, from, true
	case *mvba.Accept:
		return x.At, x.Broadcaster, true
	case *mvba.Finish:
		return x.At, from, true
	}
	return mvba.At{}, 0, false
}

// drawn is one use of random numbers in a round of an epoch.
type drawn struct {
	epoch, round uint64
	purpose      string
}

// order is the replicas in a random order, the same at each call. Byzantine ones come first.
func (k *Scheduling) order(epoch, round uint64, purpose string) []int {
	d := drawn{epoch, round, purpose}
	if have := k.draws[d]; have != nil {
		return have
	}
	var out []int
	for _, l := range k.s.Config.Byzantine {
		out = append(out, int(l.Replica))
	}
	for _, i := range k.s.Rand.Perm(k.s.Config.Replicas) {
		if k.s.Machines[i].Honest() {
			out = append(out, i)
		}
	}
	k.draws[d] = out
	return out
}

// rank is a replica's position in such an order.
func (k *Scheduling) rank(epoch, round uint64, purpose string, i protocols.Index) int {
	return slices.Index(k.order(epoch, round, purpose), int(i))
}
