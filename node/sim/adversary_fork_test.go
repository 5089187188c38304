package sim

import (
	"time"

	"bdtnode/internal/digest"
	"bdtnode/ledger"
	"bdtnode/node/sim/adversary"
	"bdtnode/node/sim/network"
	"bdtnode/protocols"
	"bdtnode/protocols/lanes"
)

// ForkedLane delays one of four headers of its lane at another replica, and shows it forks of the following headers
// before the right ones. The replica can acknowledge none of them then. It can vote for the right ones, which extend
// headers that the others voted for. When the delayed header arrives, a replica without the record of its vote would
// acknowledge a fork.
type ForkedLane struct {
	Late time.Duration // maximal delay

	forks map[digest.Digest]*lanes.Batch // by the digest of the batch at the same number
}

func (*ForkedLane) String() string { return "forks its lane for one other" }

func (a *ForkedLane) Replace(v *adversary.View, to protocols.Index, m protocols.Message) []network.Packet {
	b, ok := m.(*lanes.Batch)
	if !ok || b.Lane != v.Self || int(to) != (int(v.Self)+1)%v.Committee.N() {
		return adversary.Unchanged(m)
	}
	out := adversary.Unchanged(m)
	if b.Seq%4 == 1 {
		out[0].Late = v.Between(a.Late/4, a.Late)
		return out
	}
	if a.forks == nil {
		a.forks = make(map[digest.Digest]*lanes.Batch)
	}
	fork := a.forks[b.Digest()]
	if fork == nil {
		h := b.Header
		h.Count = 1
		fork = lanes.NewBatch(v.Committee, v.Signer, h, ledger.EncodePayload([][]byte{v.Junk().Encode()}))
		a.forks[b.Digest()] = fork
	}
	return append(adversary.Unchanged(fork), out...)
}
