package bdt

import (
	"fmt"

	"bdtnode/internal/wire"
	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
)

// chain has the committed blocks that are not executed or have no certified header.
type chain struct {
	base      *bolt.Block      // last committed block
	delivered *bolt.Block      // last block handed to the executor
	pending   []bolt.Committed // blocks committed after delivered
	running   []*bolt.Block    // blocks delivered and not executed
	executed  uint64           // height
	open      []*bolt.Block    // committed blocks without a certified header
}

// restoreChain restores the committed blocks above the height executed, and the block at that height.
func restoreChain(c *protocols.Committee, genesis *bolt.Block, executed uint64, stored protocols.Stored) (chain, error) {
	x := chain{base: genesis, executed: executed}
	if executed == 0 {
		x.delivered = genesis
	}
	for key, value := range stored(CommitKey(executed), CommitKey(^uint64(0))) {
		b, err := DecodeCommit(c, value)
		if err != nil {
			return x, fmt.Errorf("commit record %x: %w: the store is damaged", key, err)
		}
		switch {
		case b.Height == executed:
			x.delivered = b
		case x.delivered == nil || !x.isNext(b):
			return x, fmt.Errorf("committed block %d does not follow block %d: the store is damaged", b.Height, x.base.Height)
		default:
			x.pending = append(x.pending, bolt.Committed{Block: b})
			x.open = append(x.open, b)
		}
		x.base = b
	}
	if x.delivered == nil {
		return x, fmt.Errorf("the ledger is at height %d but its committed block is not in the consensus store: the two do not belong together", executed)
	}
	return x, nil
}

// isNext reports whether a block follows the last committed block.
func (x *chain) isNext(b *bolt.Block) bool {
	return b.Height == x.base.Height+1 && b.Parent == x.base.Digest()
}

// add records a committed block and queues it for delivery.
func (x *chain) add(st *Step, c bolt.Committed) {
	x.base = c.Block
	st.Record(CommitKey(c.Block.Height), c.Block.Append(nil))
	x.pending = append(x.pending, c)
	x.open = append(x.open, c.Block)
}

// deliver delivers the next committed blocks whose data is held, and requests missing data.
func (x *chain) deliver(now protocols.Time, st *Step, d *data) {
	for len(x.pending) > 0 && len(x.running) < deliverAhead {
		next := x.pending[0]
		delivery, complete := d.content(now, st, x.delivered, next)
		if !complete {
			x.prefetch(now, d)
			return
		}
		x.pending = x.pending[1:]
		x.delivered = next.Block
		x.running = append(x.running, next.Block)
		st.Emit(delivery)
	}
}

// prefetch requests the data of the blocks after the next one. Without it, a replica that was disconnected would need one
// round trip for each block.
func (x *chain) prefetch(now protocols.Time, d *data) {
	for k := 1; k < len(x.pending) && k < deliverAhead; k++ {
		d.prefetch(now, x.pending[k-1].Block, x.pending[k])
	}
}

// execute records that the block at height was executed, and returns it. It panics if that is not the next delivered block.
func (x *chain) execute(height uint64) *bolt.Block {
	if len(x.running) == 0 || x.running[0].Height != height {
		panic(fmt.Sprintf("bdt: block %d was executed out of order", height))
	}
	b := x.running[0]
	x.running = x.running[1:]
	x.executed = height
	return b
}

// certified records that the headers up to height are certified. It returns the last block for which that is new, or nil.
func (x *chain) certified(height uint64) *bolt.Block {
	var last *bolt.Block
	for len(x.open) > 0 && x.open[0].Height <= height {
		last, x.open = x.open[0], x.open[1:]
	}
	return last
}

// lags reports whether execution is so far behind that this replica votes for no new block.
func (x *chain) lags() bool { return x.base.Height >= x.executed+bolt.ExecutionLag }

// CommitKey is the key of the record of the committed block at a height.
func CommitKey(height uint64) []byte {
	return wire.AppendU64(append(make([]byte, 0, 3+8), "h/b"...), height)
}

// DecodeCommit decodes the record of a committed block.
func DecodeCommit(c *protocols.Committee, value []byte) (*bolt.Block, error) {
	r := wire.NewReader(append([]byte(nil), value...))
	b := bolt.ReadBlock(c, r)
	return b, r.Done()
}
