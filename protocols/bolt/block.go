package bolt

import (
	"slices"

	"bdtnode/internal/digest"
	"bdtnode/internal/wire"
	"bdtnode/protocols"
	"bdtnode/protocols/lanes"
)

// Block is what consensus orders: a cut, on top of the block before. Its data is in the lanes and inbound channels.
type Block struct {
	Epoch   uint64
	Slot    uint64 // from 1 in each epoch
	Height  uint64 // parent's + 1
	Parent  digest.Digest
	TimeMS  uint64 // the proposer's clock, not before the parent's; Unix milliseconds
	Cut     lanes.Cut
	Inbound lanes.Cut // by source shard; the own one stays at its origin
	digest  digest.Digest
}

// Genesis is the block that the first epoch extends: height 0, every lane and the inbound channel of every shard of
// the network at its origin. All replicas have it.
func Genesis(c *protocols.Committee, timeMS uint64, shards int) *Block {
	b := &Block{TimeMS: timeMS, Cut: make(lanes.Cut, c.N()), Inbound: make(lanes.Cut, shards)}
	b.seal(c)
	return b
}

// Digest names the block within its network and shard.
func (b *Block) Digest() digest.Digest { return b.digest }

// Append encodes the block.
func (b *Block) Append(to []byte) []byte {
	to = wire.AppendU64(to, b.Epoch)
	to = wire.AppendU64(to, b.Slot)
	to = wire.AppendU64(to, b.Height)
	to = append(to, b.Parent[:]...)
	to = wire.AppendU64(to, b.TimeMS)
	return b.Inbound.Append(b.Cut.Append(to))
}

// Grows reports whether the block orders something on top of parent, and takes nothing back.
func (b *Block) Grows(parent *Block) bool {
	return b.Cut.Extends(parent.Cut) && b.Inbound.Extends(parent.Inbound) &&
		!(slices.Equal(b.Cut, parent.Cut) && slices.Equal(b.Inbound, parent.Inbound))
}

// ReadBlock decodes what Append wrote. It refuses a cut of another number of lanes than the committee has replicas.
func ReadBlock(c *protocols.Committee, r *wire.Reader) *Block {
	b := &Block{Epoch: r.U64(), Slot: r.U64(), Height: r.U64()}
	r.Fixed(b.Parent[:])
	b.TimeMS = r.U64()
	b.Cut = lanes.ReadCut(r)
	b.Inbound = lanes.ReadCut(r)
	if r.Err() == nil && len(b.Cut) != c.N() {
		r.Fail("a cut of %d lanes, the shard has %d", len(b.Cut), c.N())
	}
	if r.Err() == nil {
		b.seal(c)
	}
	return b
}

func (b *Block) seal(c *protocols.Committee) {
	n := c.Network()
	pre := append(make([]byte, 0, 256), n[:]...)
	pre = wire.AppendU16(pre, c.Shard())
	b.digest = digest.Of("bdt/block/1", b.Append(pre))
}
