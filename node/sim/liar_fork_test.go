package sim

import (
	"time"

	"bdtnode/internal/digest"
	"bdtnode/protocols"
	"bdtnode/protocols/lanes"
)

// ForkedLane keeps one of four headers of its lane from another replica for a while, and shows it forks of those after it
// before the right ones. It can acknowledge none of them then, but vote for the right ones, on top of what the others
// voted for; when the one kept back comes, it would acknowledge a fork if it forgot what it voted for.
type ForkedLane struct {
	Late time.Duration // at most, of what is kept back

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
