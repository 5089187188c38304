package sim

import (
	"time"

	"bdtnode/internal/digest"
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

func (a *ForkedLane) tamper(n *node, to protocols.Index, m protocols.Message) []packet {
	b, ok := m.(*lanes.Batch)
	if !ok || b.Lane != n.id || int(to) != (int(n.id)+1)%n.s.committee.N() {
		return honestly(m)
	}
	out := honestly(m)
	if b.Seq%4 == 1 {
		out[0].late = n.s.between(a.Late/4, a.Late)
		return out
	}
	if a.forks == nil {
		a.forks = make(map[digest.Digest]*lanes.Batch)
	}
	fork := a.forks[b.Digest()]
	if fork == nil {
		h := b.Header
		h.Count = 1
		fork = lanes.NewBatch(n.s.committee, n.s.signers[n.id], h, encodePayload([][]byte{n.s.clients.junk().Encode()}))
		a.forks[b.Digest()] = fork
	}
	return append(honestly(fork), out...)
}
