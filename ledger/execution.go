package ledger

import (
	"bdtnode/internal/kv"
)

// execution is the context that the parts of a [BlockState] share during the execution of one block.
type execution struct {
	cfg    *Config
	store  kv.Store
	in     *CommittedBlock
	window uint32 // of the block's time
	writes []byte // input of the write-set digest: every change that later blocks depend on, in order

	// Memory for the batch. Stores copy keys, so the memory of keys is used again for the next block; a store may keep
	// values.
	keys, values arena
}

// declared returns the declared value of a transaction's inputs in a shard.
func (x *execution) declared(tx *Tx, shard uint16) uint64 { return declared(tx, x.cfg.Home, shard) }

// ownValue returns the declared value of a transaction's inputs in this shard.
func (x *execution) ownValue(tx *Tx) uint64 { return x.declared(tx, x.cfg.Shard) }

func declared(tx *Tx, home func(Address) uint16, shard uint16) (value uint64) {
	for i := range tx.Inputs {
		if home(tx.owners[i]) == shard {
			value += tx.Inputs[i].Amount
		}
	}
	return value
}
