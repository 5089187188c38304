package ledger

import "math/bits"

// MaxShards bounds a network: a ShardSet has 64 bits. A transaction may have inputs in as many shards, and outputs
// in as many: [MaxInputs] and [MaxOutputs] allow no more either.
const MaxShards = 64

// ShardSet is a set of shards.
type ShardSet uint64

// Has reports whether shard s is in the set.
func (s ShardSet) Has(shard uint16) bool { return shard < MaxShards && s>>shard&1 == 1 }

// With is the set and one shard more.
func (s ShardSet) With(shard uint16) ShardSet { return s | 1<<shard }

// Without is the set but for one shard.
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

// Parties are the shards a transaction involves. An owner's address fixes its home shard.
type Parties struct {
	Inputs  ShardSet // those it spends outputs of
	Outputs ShardSet // those it creates outputs in
}

// Parties are the shards the transaction involves, home telling the shard of an address, below [MaxShards].
func (t *Tx) Parties(home func(Address) uint16) Parties {
	var p Parties
	for _, owner := range t.owners {
		p.Inputs = p.Inputs.With(home(owner))
	}
	for i := range t.Outputs {
		p.Outputs = p.Outputs.With(home(t.Outputs[i].Address))
	}
	return p
}

// All is every shard involved.
func (p Parties) All() ShardSet { return p.Inputs | p.Outputs }

// Inside reports whether the transaction involves that shard alone, and so settles when it is committed.
func (p Parties) Inside(shard uint16) bool { return p.All() == ShardSet(0).With(shard) }
