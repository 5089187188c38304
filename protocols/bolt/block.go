package bolt

import (
	"slices"

	"bdtnode/internal/digest"
	"bdtnode/internal/wire"
	"bdtnode/protocols"
	"bdtnode/protocols/lanes"
)

// Block is the unit of order: a cut on top of the block before it. Its data is in the lanes and inbound channels.
type Block struct {
	Epoch   uint64
	Slot    uint64 // from 1 in each epoch; 0 in the last block of an epoch, which no leader proposed
	Last    bool   // the block ended its epoch
	Height  uint64 // height of the parent + 1
	Parent  digest.Digest
	TimeMS  uint64 // clock of the proposer, not before the time of the parent; Unix milliseconds
	Cut     lanes.Cut
	Inbound lanes.Cut // by source shard; the entry of the own shard stays at its origin
	digest  digest.Digest
}

// Genesis is the block that the first epoch extends. It has height 0, every lane and the inbound channel of every shard at
// its origin, and counts as the last block of epoch 0, which has no other blocks. All replicas have it.
func Genesis(c *protocols.Committee, timeMS uint64, shards int) *Block {
	b := &Block{Last: true, TimeMS: timeMS, Cut: make(lanes.Cut, c.N()), Inbound: make(lanes.Cut, shards)}
	b.setDigest(c)
	return b
}

// NewLast makes the block that ends an epoch on top of parent. Its cut and inbound cut must extend those of parent. Its
// time is timeMS, or the time of parent if that is later.
func NewLast(c *protocols.Committee, epoch uint64, parent *Block, timeMS uint64, cut, inbound lanes.Cut) *Block {
	b := &Block{
		Epoch: epoch, Last: true, Height: parent.Height + 1, Parent: parent.digest,
		TimeMS: max(timeMS, parent.TimeMS), Cut: cut, Inbound: inbound,
	}
	b.setDigest(c)
	return b
}

// BlockMax is the greatest length of an encoded block, in bytes.
const BlockMax = 1 + 3*8 + digest.Size + 8 + 2*lanes.CutMax

// Kinds of blocks, the first byte of their encoding.
const (
	kindSlot = 1
	kindLast = 2
)

// Digest identifies the block within its network and shard.
func (b *Block) Digest() digest.Digest { return b.digest }

// Append encodes the block: kind, epoch, slot, height, parent, time, cut and inbound cut.
func (b *Block) Append(to []byte) []byte {
	kind := byte(kindSlot)
	if b.Last {
		kind = kindLast
	}
	to = slices.Grow(to, b.size())
	to = wire.AppendU64(append(to, kind), b.Epoch)
	to = wire.AppendU64(to, b.Slot)
	to = wire.AppendU64(to, b.Height)
	to = append(to, b.Parent[:]...)
	to = wire.AppendU64(to, b.TimeMS)
	return b.Inbound.Append(b.Cut.Append(to))
}

// size is the length of the encoding, in bytes.
func (b *Block) size() int {
	return 1 + 3*8 + digest.Size + 8 + b.Cut.Size() + b.Inbound.Size()
}

// Grows reports whether the block is ahead of parent in at least one lane or channel, and behind in none.
func (b *Block) Grows(parent *Block) bool {
	return b.Cut.Extends(parent.Cut) && b.Inbound.Extends(parent.Inbound) &&
		!(slices.Equal(b.Cut, parent.Cut) && slices.Equal(b.Inbound, parent.Inbound))
}

// ReadBlock decodes the output of Append. It refuses an unknown kind, a slot that does not fit the kind, and a cut whose
// number of lanes is not the number of replicas.
func ReadBlock(c *protocols.Committee, r *wire.Reader) *Block {
	kind := r.U8()
	b := &Block{Last: kind == kindLast, Epoch: r.U64(), Slot: r.U64(), Height: r.U64()}
	if kind != kindSlot && kind != kindLast || b.Last != (b.Slot == 0) {
		r.Fail("a block of kind %d in slot %d", kind, b.Slot)
	}
	r.Fixed(b.Parent[:])
	b.TimeMS = r.U64()
	b.Cut = lanes.ReadCut(r)
	b.Inbound = lanes.ReadCut(r)
	if r.Err() == nil && len(b.Cut) != c.N() {
		r.Fail("a cut of %d lanes, the shard has %d", len(b.Cut), c.N())
	}
	if r.Err() == nil {
		b.setDigest(c)
	}
	return b
}

func (b *Block) setDigest(c *protocols.Committee) {
	n := c.Network()
	pre := append(make([]byte, 0, len(n)+2+b.size()), n[:]...)
	pre = wire.AppendU16(pre, c.Shard())
	b.digest = digest.Of("bdt/block/1", b.Append(pre))
}
