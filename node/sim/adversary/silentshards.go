package adversary

import (
	"math"

	"bdtnode/node/sim/network"
	"bdtnode/protocols"
	"bdtnode/protocols/inbound"
	"bdtnode/shard/settlement"
)

// SilentToShards sends nothing to other shards, and claims that it has all their LDs for its own shard.
type SilentToShards struct{}

func (*SilentToShards) String() string { return "sends nothing to other shards" }

func (*SilentToShards) Replace(_ *View, _ protocols.Index, m protocols.Message) []network.Packet {
	if m.Kind() == inbound.KindLD {
		return nil
	}
	return Unchanged(m)
}

func (*SilentToShards) ReplaceLD(*View, *settlement.LD) []network.Packet { return nil }

func (*SilentToShards) ReplaceCL(*View, uint16, *settlement.CL) []network.Packet { return nil }

func (*SilentToShards) Position(*View, uint64) uint64 { return math.MaxUint64 }
