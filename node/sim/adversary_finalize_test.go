package sim

import (
	"bdtnode/node/sim/adversary"
	"bdtnode/node/sim/network"
	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/certify"
	"bdtnode/protocols/lanes"
)

// finalizesToOne keeps its batches and votes from replica 1, and sends its Finalize messages to replica 1 alone. It
// certifies no header, so that the others do not learn of the commit by certified headers.
type finalizesToOne struct{}

func (*finalizesToOne) String() string { return "sends Finalize to replica 1 alone" }

func (*finalizesToOne) Replace(v *adversary.View, to protocols.Index, m protocols.Message) []network.Packet {
	switch x := m.(type) {
	case *lanes.Batch:
		if to == 1 && x.Lane == v.Self {
			return nil
		}
	case *certify.VOTE:
		return nil
	case *bolt.Vote:
		if to == 1 {
			return nil
		}
	case *bolt.Finalize:
		if to != 1 {
			return nil
		}
	}
	return adversary.Unchanged(m)
}
