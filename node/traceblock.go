package node

import (
	"fmt"

	"bdtnode/internal/kv"
	"bdtnode/ledger"
	"bdtnode/node/replica"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/inbound"
	"bdtnode/protocols/lanes"
	"bdtnode/shard/settlement"
)

// maxSearched is the number of bytes of batches and LDs that one trace reads to find the transaction in a block.
const maxSearched = 32 << 20

// foundBatch is the batch of a block with the transaction.
type foundBatch struct {
	lane   protocols.Index
	number uint64
}

// blockSearch finds the batch and the LD of a block that have a transaction, in the consensus store.
type blockSearch struct {
	committee *protocols.Committee
	store     kv.Reader
	kinds     ledger.Kinds
	genesis   *bolt.Block
	id        ledger.TxID
	// incomplete is set if a block, batch or LD is not in the store, or if the search ended before it had read all of a
	// block.
	incomplete bool
}

// block reads a committed block and the one before it. Both are nil if one of them is not in the store.
func (t *blockSearch) block(height uint64) (b, parent *bolt.Block, err error) {
	read := func(h uint64) (*bolt.Block, error) {
		if h == 0 {
			return t.genesis, nil
		}
		value, ok, err := t.store.Get(bdt.CommitKey(h))
		if err != nil || !ok {
			return nil, err
		}
		b, err := bdt.DecodeCommit(t.committee, value)
		if err != nil {
			return nil, fmt.Errorf("committed block %d: %w: the store is damaged", h, err)
		}
		return b, nil
	}
	if b, err = read(height); err != nil || b == nil {
		return nil, nil, err
	}
	if parent, err = read(height - 1); err != nil || parent == nil {
		return nil, nil, err
	}
	return b, parent, nil
}

// batchOf finds the batch with the transaction in a block, nil if none of those in the store has it.
func (t *blockSearch) batchOf(height uint64) (*foundBatch, error) {
	b, parent, err := t.block(height)
	if err != nil {
		return nil, err
	}
	if b == nil {
		t.incomplete = true
		return nil, nil
	}
	left := maxSearched
	for lane := range b.Cut {
		lane := protocols.Index(lane)
		for tip := b.Cut[lane]; tip.Seq > parent.Cut[lane].Seq; {
			if left <= 0 {
				t.incomplete = true
				return nil, nil
			}
			batches, err := replica.ReadBatches(t.committee, t.store, lanes.BatchRange{Lane: lane, Tip: tip, After: parent.Cut[lane].Seq})
			if err != nil {
				return nil, err
			}
			if len(batches) == 0 {
				t.incomplete = true
				break
			}
			for _, x := range batches {
				left -= len(x.Payload)
				p, err := ledger.DecodePayload(t.kinds, x.Payload)
				if err != nil {
					return nil, fmt.Errorf("batch %d of lane %d: %w: the store is damaged", x.Seq, lane, err)
				}
				for _, tx := range p.Txs {
					if tx.ID() == t.id {
						return &foundBatch{lane, x.Seq}, nil
					}
				}
				tip = lanes.Tip{Seq: x.Seq - 1, Digest: x.Parent}
			}
		}
	}
	return nil, nil
}

// ldOf finds the LD of a source with the transaction in a block, 0 if none of those in the store has it.
func (t *blockSearch) ldOf(source uint16, height uint64) (number uint64, err error) {
	b, parent, err := t.block(height)
	if err != nil {
		return 0, err
	}
	if b == nil || int(source) >= len(b.Inbound) {
		t.incomplete = true
		return 0, nil
	}
	tip, after := b.Inbound[source], parent.Inbound[source].Seq
	if tip.Seq == after+1 {
		return tip.Seq, nil // there is only one
	}
	for left := maxSearched; tip.Seq > after; {
		lds, err := replica.ReadLDs(t.store, inbound.LDRange{Source: source, Tip: tip, After: after})
		if err != nil {
			return 0, err
		}
		if len(lds) == 0 || left <= 0 {
			t.incomplete = true
			return 0, nil
		}
		for _, x := range lds {
			left -= len(x.Raw)
			ld, err := settlement.DecodeLD(x.Raw)
			if err != nil {
				return 0, fmt.Errorf("LD %d of shard %d: %w: the store is damaged", x.Number, source, err)
			}
			for i := range ld.Delivery.Entries {
				if ld.Delivery.Entries[i].Tx.ID() == t.id {
					return x.Number, nil
				}
			}
			tip = lanes.Tip{Seq: x.Number - 1, Digest: x.Previous}
		}
	}
	return 0, nil
}
