package bdt

import (
	"fmt"
	"slices"

	"bdtnode/internal/wire"
	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
)

// reign is an epoch as the committed chain defines it: its number, its leader, the block before its first slot, and
// who failed as a leader lately. Every replica that has committed base has the same.
type reign struct {
	number uint64
	leader protocols.Index
	base   *bolt.Block
	failed []failure // oldest first, at most f
}

// failure is a leader whose epoch ended before its last slot.
type failure struct {
	replica protocols.Index
	epoch   uint64
}

// firstReign begins with genesis.
func firstReign(genesis *bolt.Block) reign { return reign{number: 1, base: genesis} }

// forgiven is after how many epochs a failure no longer counts.
func forgiven(c *protocols.Committee) uint64 { return 4 * uint64(c.N()) }

// next is the epoch after one that ended with last, on top of parent. Leaders take turns; those that failed lately
// are passed over. As at most f are, and another failure takes the place of the oldest, no replica is for good.
func (x *reign) next(c *protocols.Committee, slots uint64, parent, last *bolt.Block) reign {
	out := reign{number: x.number + 1, base: last}
	for _, f := range x.failed {
		if f.replica != x.leader && f.epoch+forgiven(c) > x.number {
			out.failed = append(out.failed, f)
		}
	}
	if parent.Epoch != x.number || parent.Slot < slots {
		out.failed = append(out.failed, failure{x.leader, x.number})
	}
	if extra := len(out.failed) - c.F(); extra > 0 {
		out.failed = out.failed[extra:]
	}
	for k := 1; ; k++ { // ends: at most f of n are passed over
		out.leader = protocols.Index((int(x.leader) + k) % c.N())
		if !slices.ContainsFunc(out.failed, func(f failure) bool { return f.replica == out.leader }) {
			return out
		}
	}
}

// reignKey is where the current epoch's beginning is kept.
var reignKey = []byte("e/r")

// reignVersion is the first byte of its record.
const reignVersion = 1

func (x *reign) encode() []byte {
	b := wire.AppendU64([]byte{reignVersion}, x.number)
	b = wire.AppendU16(b, uint16(x.leader))
	b = wire.AppendU16(b, uint16(len(x.failed)))
	for _, f := range x.failed {
		b = wire.AppendU64(wire.AppendU16(b, uint16(f.replica)), f.epoch)
	}
	return x.base.Append(b)
}

func decodeReign(c *protocols.Committee, value []byte) (reign, error) {
	r := wire.NewReader(slices.Clone(value))
	if v := r.U8(); v != reignVersion {
		r.Fail("version %d, this program reads %d", v, reignVersion)
	}
	x := reign{number: r.U64(), leader: protocols.Index(r.U16())}
	for range r.Count(protocols.MaxReplicas, 2+8) {
		x.failed = append(x.failed, failure{protocols.Index(r.U16()), r.U64()})
	}
	x.base = bolt.ReadBlock(c, r)
	if err := r.Done(); err != nil {
		return x, err
	}
	if !c.Has(x.leader) || !x.base.Last || x.base.Epoch+1 != x.number {
		return x, fmt.Errorf("%w: epoch %d led by replica %d after a block of epoch %d", wire.ErrMalformed, x.number, x.leader, x.base.Epoch)
	}
	return x, nil
}

// storedReign is the epoch that an earlier machine was in, or the first.
func storedReign(c *protocols.Committee, genesis *bolt.Block, stored protocols.Stored) (reign, error) {
	for _, value := range stored(reignKey, append(slices.Clone(reignKey), 0)) {
		x, err := decodeReign(c, value)
		if err != nil {
			return x, fmt.Errorf("record of the current epoch: %w: the store is damaged", err)
		}
		return x, nil
	}
	return firstReign(genesis), nil
}
