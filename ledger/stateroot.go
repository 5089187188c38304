package ledger

import (
	"context"
	"fmt"

	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
	"bdtnode/internal/wire"
	"bdtnode/merkle"
)

// The root of the state at a height covers all records of the store that the execution of later blocks reads, in the order
// of their keys. Records are divided into chunks of at most stateChunk bytes, each as long as possible from the first record
// on, so every replica has the same chunks. A chunk has a Merkle tree over its records, and the state one over its chunks.
// So a record is proved by two paths, and a chunk is checked without the others.
const (
	tagStateRecord = "bdt/state-record/1"
	tagStateRoot   = "bdt/state-root/1"

	stateChunk      = 1 << 20 // bytes of the records of a chunk, and stateRecordHead more for each
	stateRecordHead = 4 + 4   // the lengths of key and value
)

// StateRoot is the root of the state at one height.
type StateRoot struct {
	Height  uint64
	Root    digest.Digest
	Records uint64 // in the state
	Bytes   uint64 // of their keys and values
	Chunks  uint32
}

func (r *StateRoot) encode() []byte {
	b := append(make([]byte, 0, digest.Size+8+8+4), r.Root[:]...)
	return wire.AppendU32(wire.AppendU64(wire.AppendU64(b, r.Records), r.Bytes), r.Chunks)
}

func decodeStateRoot(height uint64, v []byte) (StateRoot, error) {
	s := StateRoot{Height: height}
	r := wire.NewReader(v)
	r.Fixed(s.Root[:])
	s.Records, s.Bytes, s.Chunks = r.U64(), r.U64(), r.U32()
	if err := r.Done(); err != nil {
		return StateRoot{}, fmt.Errorf("the root of the state at height %d is damaged: %w", height, err)
	}
	return s, nil
}

// stateHasher computes the root of a state, record by record.
type stateHasher struct {
	records, bytes uint64
	size           int             // of the present chunk
	leaves         []digest.Digest // its records
	chunks         []digest.Digest // the roots of all chunks before
}

// add adds the next record. cut is true if it begins a chunk that is not the first.
func (h *stateHasher) add(key, value []byte) (cut bool) {
	n := stateRecordHead + len(key) + len(value)
	if cut = h.size > 0 && h.size+n > stateChunk; cut {
		h.cut()
	}
	h.size += n
	h.records++
	h.bytes += uint64(len(key) + len(value))
	h.leaves = append(h.leaves, digest.Of(tagStateRecord, wire.AppendU32(nil, uint32(len(key))), key, value))
	return cut
}

// cut ends the present chunk.
func (h *stateHasher) cut() {
	h.chunks = append(h.chunks, merkle.Root(h.leaves))
	h.leaves, h.size = h.leaves[:0], 0
}

// root returns the root of the state, which has at least one record.
func (h *stateHasher) root(cfg *StatesConfig, height uint64) StateRoot {
	h.cut()
	top := merkle.Root(h.chunks)
	head := wire.AppendU64(wire.AppendU64(wire.AppendU16(append([]byte(nil), cfg.Network[:]...), cfg.Shard), height), h.records)
	return StateRoot{
		Height: height, Root: digest.Of(tagStateRoot, head, top[:]),
		Records: h.records, Bytes: h.bytes, Chunks: uint32(len(h.chunks)),
	}
}

// rootOf computes the root of a state. It returns the context's error if the context ends first.
func rootOf(ctx context.Context, cfg *StatesConfig, height uint64, state kv.Reader) (StateRoot, error) {
	ranges, err := cfg.Ranges(state)
	if err != nil {
		return StateRoot{}, err
	}
	var h stateHasher
	err = eachRecord(state, ranges, func(key, value []byte) (bool, error) {
		if h.add(key, value) {
			return true, ctx.Err()
		}
		return true, nil
	})
	if err != nil {
		return StateRoot{}, err
	}
	return h.root(cfg, height), nil
}

// eachRecord calls yield for the records in ascending ranges of keys, until it returns false or an error.
func eachRecord(r kv.Reader, ranges []kv.Range, yield func(key, value []byte) (more bool, err error)) error {
	more := true
	for i := range ranges {
		err := kv.Each(r, ranges[i].Lower, ranges[i].Upper, false, func(key, value []byte) (_ bool, err error) {
			more, err = yield(key, value)
			return more, err
		})
		if err != nil || !more {
			return err
		}
	}
	return nil
}
