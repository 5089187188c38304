package ledger

import "math/bits"

// MaxShards is the greatest number of shards of a network: a ShardSet has 64 bits. One transaction may have inputs in
// MaxShards shards and outputs in MaxShards shards; [MaxInputs] and [MaxOutputs] allow no more either.
const MaxShards = 64

// ShardSet is a set of shards: bit s stands for shard s.
type ShardSet uint64

// Has reports whether shard s is in the set.
func (s ShardSet) Has(shard uint16) bool { return shard < MaxShards && s>>shard&1 == 1 }

// With returns the set with one shard added.
func (s ShardSet) With(shard uint16) ShardSet { return s | 1<<shard }

// Without returns the set with one shard removed.
func (s ShardSet) Without(shard uint16) ShardSet { return s &^ (1 << shard) }

// Len is the number of members.
func (s ShardSet) Len() int { return bits.OnesCount64(uint64(s)) }

// Members lists the set in ascending order.
func (s ShardSet) Members() []uint16 {
	out := make([]uint16, 0, s.Len())
	for v := uint64(s); v != 0; v &= v - 1 {
		out = append(out, uint16(bits.TrailingZeros64(v)))
	}
	return out
}

// TxShards are the shards that a transaction involves. The address of an owner determines its home shard.
type TxShards struct {
	Inputs  ShardSet // home shards of the outputs that it spends
	Outputs ShardSet // home shards of the outputs that it creates
}

// Shards returns the shards that the transaction involves. home returns the home shard of an address, below
// [MaxShards].
func (t *Tx) Shards(home func(Address) uint16) TxShards {
	var p TxShards
	for _, owner := range t.owners {
		p.Inputs = p.Inputs.With(home(owner))
	}
	for i := range t.Outputs {
		p.Outputs = p.Outputs.With(home(t.Outputs[i].Address))
	}
	return p
}

// All returns the input and output shards.
func (p TxShards) All() ShardSet { return p.Inputs | p.Outputs }

// Inside reports whether the transaction involves only the given shard. Such a transaction settles in the block that
// commits it.
func (p TxShards) Inside(shard uint16) bool { return p.All() == ShardSet(0).With(shard) }
