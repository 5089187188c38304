package bdt

import (
	"fmt"
	"slices"

	"bdtnode/internal/wire"
	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
)

// epochStart is the part of an epoch that the committed chain defines: its number, its leader, the block before its first
// slot, and the leaders that failed lately. It is the same at all replicas that committed base.
type epochStart struct {
	number uint64
	leader protocols.Index
	base   *bolt.Block
	failed []failure // oldest first, at most f entries
}

// failure records a leader whose epoch ended before its last slot.
type failure struct {
	replica protocols.Index
	epoch   uint64
}

// firstEpochStart is the start of epoch 1, on top of genesis.
func firstEpochStart(genesis *bolt.Block) epochStart { return epochStart{number: 1, base: genesis} }

// failureLifetime is the number of epochs for which a failure counts.
func failureLifetime(c *protocols.Committee) uint64 { return 4 * uint64(c.N()) }

// next is the start of the epoch after one that ended with the block last on top of parent. Leaders take turns, and those
// that failed lately are skipped. At most f are skipped, and a new failure replaces the oldest, so no replica is skipped for
// ever.
func (x *epochStart) next(c *protocols.Committee, slots uint64, parent, last *bolt.Block) epochStart {
	out := epochStart{number: x.number + 1, base: last}
	for _, f := range x.failed {
		if f.replica != x.leader && f.epoch+failureLifetime(c) > x.number {
			out.failed = append(out.failed, f)
		}
	}
	if parent.Epoch != x.number || parent.Slot < slots {
		out.failed = append(out.failed, failure{x.leader, x.number})
	}
	if extra := len(out.failed) - c.F(); extra > 0 {
		out.failed = out.failed[extra:]
	}
	for k := 1; ; k++ { // terminates, since at most f of n replicas are skipped
		out.leader = protocols.Index((int(x.leader) + k) % c.N())
		if !slices.ContainsFunc(out.failed, func(f failure) bool { return f.replica == out.leader }) {
			return out
		}
	}
}

// epochStartKey is the key of the record of the current epoch's start.
var epochStartKey = []byte("e/r")

// epochStartVersion is the first byte of that record.
const epochStartVersion = 1

func (x *epochStart) encode() []byte {
	b := wire.AppendU64([]byte{epochStartVersion}, x.number)
	b = wire.AppendU16(b, uint16(x.leader))
	b = wire.AppendU16(b, uint16(len(x.failed)))
	for _, f := range x.failed {
		b = wire.AppendU64(wire.AppendU16(b, uint16(f.replica)), f.epoch)
	}
	return x.base.Append(b)
}

func decodeEpochStart(c *protocols.Committee, value []byte) (epochStart, error) {
	r := wire.NewReader(slices.Clone(value))
	if v := r.U8(); v != epochStartVersion {
		r.Fail("version %d, this program reads %d", v, epochStartVersion)
	}
	x := epochStart{number: r.U64(), leader: protocols.Index(r.U16())}
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

// storedEpochStart is the start of the epoch in which an earlier machine stopped, or of the first epoch.
func storedEpochStart(c *protocols.Committee, genesis *bolt.Block, stored protocols.Stored) (epochStart, error) {
	for _, value := range stored(epochStartKey, append(slices.Clone(epochStartKey), 0)) {
		x, err := decodeEpochStart(c, value)
		if err != nil {
			return x, fmt.Errorf("record of the current epoch: %w: the store is damaged", err)
		}
		return x, nil
	}
	return firstEpochStart(genesis), nil
}
