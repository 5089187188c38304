package ledger

import (
	"fmt"
	"math/bits"
)

// sums are the running totals of a shard's value.
type sums struct {
	genesis uint64 // value of the shard's outputs at genesis
	unspent uint64
	escrow  uint64
	burned  uint64
	gained  uint64 // value created or burned here by settling across shards beyond the value consumed here, or
	ceded   uint64 // value consumed here beyond the value created or burned here: one of the two is 0
	coins   uint64 // number of unspent outputs
}

// spend removes a number of outputs of the given total value.
func (s *sums) spend(outputs int, value uint64) {
	if value > s.unspent || uint64(outputs) > s.coins {
		panic(fmt.Sprintf("ledger: %d outputs of value %d are consumed, but only %d of value %d are unspent", outputs, value, s.coins, s.unspent))
	}
	s.unspent -= value
	s.coins -= uint64(outputs)
}

// create adds one output.
func (s *sums) create(value uint64) {
	s.unspent += value
	s.coins++
}

// settle updates gained and ceded for one settlement across shards: made is the value it created and burned in this
// shard, spent the value it had in escrow in this shard.
func (s *sums) settle(made, spent uint64) {
	if made > spent {
		gain := made - spent
		paid := min(gain, s.ceded)
		s.ceded -= paid
		s.gained += gain - paid
		return
	}
	loss := spent - made
	paid := min(loss, s.gained)
	s.gained -= paid
	s.ceded += loss - paid
}

// fits reports whether unspent outputs plus burned fees may grow by made without exceeding the supply of the network.
func (s *sums) fits(made, supply uint64) bool {
	sum, carry := bits.Add64(s.unspent+s.burned, made, 0)
	return carry == 0 && sum <= supply
}

// check panics if a block does not conserve value.
func (s *sums) check(height uint64) {
	if s.unspent+s.escrow+s.burned+s.ceded != s.genesis+s.gained {
		panic(fmt.Sprintf("ledger: block %d does not conserve value: %d unspent + %d in escrow + %d burned + %d ceded, but %d at genesis + %d gained",
			height, s.unspent, s.escrow, s.burned, s.ceded, s.genesis, s.gained))
	}
}
