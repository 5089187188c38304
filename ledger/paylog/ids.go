package paylog

import (
	"encoding/binary"
	"fmt"

	"bdtnode/internal/kv"
	"bdtnode/internal/wire"
	"bdtnode/ledger"
)

// ids are the newest ids of the log, at most most of them. They take about 100 bytes of memory each, and 40 on disk.
type ids struct {
	most  int
	known map[ledger.OpaqueID]ledger.LogPlace
	order []ledger.OpaqueID // a ring: the oldest is at next once there are most
	next  int
	// blocks are the heights with ids in the store, oldest first, each with their number. A record is deleted when all its
	// ids are forgotten.
	blocks []idBlock
	stored int // ids in the store
}

type idBlock struct {
	height uint64
	count  int
}

const idRecord = ledger.OpaqueIDSize + 4 + 4

func newIDs(most int) ids {
	return ids{most: most, known: make(map[ledger.OpaqueID]ledger.LogPlace)}
}

// note remembers the ids of a batch. It returns the entries that repeat an id, and appends records of the others to fresh.
func (x *ids) note(o *ledger.Opaque, height uint64, batch uint32, fresh []byte) ([]ledger.LogRepeat, []byte) {
	var repeated []ledger.LogRepeat
	for i, e := range o.Each() {
		if e.ID == nil {
			continue
		}
		id := ledger.OpaqueID(e.ID)
		at := ledger.LogPlace{Height: height, Batch: batch, Position: uint32(i)}
		if of, ok := x.known[id]; ok {
			repeated = append(repeated, ledger.LogRepeat{Position: at.Position, Of: of})
			continue
		}
		x.add(id, at)
		fresh = wire.AppendU32(wire.AppendU32(append(fresh, id[:]...), batch), at.Position)
	}
	return repeated, fresh
}

// add remembers an id, and forgets the oldest one if there are too many.
func (x *ids) add(id ledger.OpaqueID, at ledger.LogPlace) {
	x.known[id] = at
	if len(x.order) < x.most {
		x.order = append(x.order, id)
		return
	}
	delete(x.known, x.order[x.next])
	x.order[x.next] = id
	x.next = (x.next + 1) % x.most
}

// write adds the ids of a block to the changes of its execution, and deletes the records without a remembered id.
func (x *ids) write(b *kv.Batch, height uint64, fresh []byte) {
	if len(fresh) == 0 {
		return
	}
	b.Set(heightKey(keyIDs, height), fresh)
	x.blocks = append(x.blocks, idBlock{height, len(fresh) / idRecord})
	x.stored += len(fresh) / idRecord
	for x.stored-x.blocks[0].count >= x.most {
		b.Delete(heightKey(keyIDs, x.blocks[0].height))
		x.stored -= x.blocks[0].count
		x.blocks = x.blocks[1:]
	}
}

// load reads the ids that the store has.
func (x *ids) load(r kv.Reader) error {
	return kv.Each(r, []byte{keyIDs}, []byte{keyIDs + 1}, false, func(key, v []byte) (bool, error) {
		height := binary.BigEndian.Uint64(key[1:])
		if len(v)%idRecord != 0 {
			return false, fmt.Errorf("the ids of block %d are damaged", height)
		}
		x.blocks = append(x.blocks, idBlock{height, len(v) / idRecord})
		x.stored += len(v) / idRecord
		for ; len(v) > 0; v = v[idRecord:] {
			rest := v[ledger.OpaqueIDSize:]
			x.add(ledger.OpaqueID(v[:ledger.OpaqueIDSize]), ledger.LogPlace{Height: height, Batch: binary.BigEndian.Uint32(rest), Position: binary.BigEndian.Uint32(rest[4:])})
		}
		return true, nil
	})
}
