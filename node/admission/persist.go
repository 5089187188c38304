package admission

import (
	"fmt"

	"bdtnode/internal/kv"
	"bdtnode/internal/wire"
	"bdtnode/ledger"
	"bdtnode/protocols"
	"bdtnode/protocols/lanes"
)

// Keys in the consensus store. An accepted transaction is on disk in a batch of this replica's lane. The mark is the
// number of a batch: all batches up to it are executed, and the results of their transactions are in the ledger or in
// records of their own. So a start reads only the batches above the mark. The mark and these records are written in
// one batch of the store, so no crash separates them.
var keyMark = []byte("d/m")

const (
	prefixTx     = "d/t" // id → encoding of an accepted transaction that a block left out
	prefixReason = "d/r" // id → number of the reason of the final refusal of an accepted transaction without a receipt
)

// maxReasons is the greatest number of records of reasons; the oldest are deleted first.
const maxReasons = maxRefused

func persistedKey(prefix string, id ledger.TxID) []byte { return append([]byte(prefix), id[:]...) }

// persisted is the part of an Admission that survives a crash.
type persisted struct {
	mark    uint64   // mark on disk, or in the records that Checkpoint returned last
	ordered uint64   // number of the newest batch of this replica's lane that is executed
	left    []*entry // entries that a block left out and that have no record yet
	pending []protocols.Record
	reasons []ledger.TxID // ids of the records of reasons, oldest first
}

// unsaved reports whether there is a change since the last checkpoint.
func (p *persisted) unsaved() bool { return p.ordered != p.mark || len(p.pending) > 0 }

func (p *persisted) erase(id ledger.TxID) {
	p.pending = append(p.pending, protocols.Record{Key: persistedKey(prefixTx, id)})
}

func (p *persisted) refuse(id ledger.TxID, reason ledger.Reason) {
	p.pending = append(p.pending, protocols.Record{Key: persistedKey(prefixReason, id), Value: []byte{byte(reason)}})
	if p.reasons = append(p.reasons, id); len(p.reasons) > maxReasons {
		p.pending = append(p.pending, protocols.Record{Key: persistedKey(prefixReason, p.reasons[0])})
		p.reasons = p.reasons[1:]
	}
}

// Checkpoint returns the records that keep accepted transactions across restarts. The caller writes them in one batch
// of the consensus store, after the batches of the lane that were passed to Logged. It is called from time to time; a
// start reads later changes from the batches of the lane.
func (a *Admission) Checkpoint() []protocols.Record {
	k := &a.persisted
	if !k.unsaved() {
		return nil
	}
	records := k.pending
	k.pending = nil
	left := k.left[:0]
	for _, e := range k.left {
		switch {
		case e.state == removed:
		case !e.logged || e.batch > k.ordered: // the batch is above the mark
			left = append(left, e)
			continue
		default:
			e.recorded = true
			records = append(records, protocols.Record{Key: persistedKey(prefixTx, e.id()), Value: e.tx.Encode()})
		}
		e.listed = false
	}
	clear(k.left[len(left):])
	k.left = left
	k.mark = max(k.mark, k.ordered)
	return append(records, protocols.Record{Key: keyMark, Value: wire.AppendU64(nil, k.mark)})
}

// Restore returns an Admission with the accepted transactions of an earlier run that have no final answer. Those in batches
// above the ledger's position wait for a block that decides these batches; the others are tried again. The error is
// an error of a store, or says which record is damaged.
func Restore(cfg Config, state *ledger.State, r kv.Reader, c *protocols.Committee, self protocols.Index, now Instant) (*Admission, error) {
	a := New(cfg)
	cut, err := executedCut(state)
	if err != nil {
		return nil, err
	}
	if int(self) < len(cut) {
		a.persisted.ordered = cut[self].Seq
	}
	value, ok, err := r.Get(keyMark)
	if err != nil {
		return nil, err
	}
	if ok {
		rd := wire.NewReader(value)
		if a.persisted.mark = rd.U64(); rd.Done() != nil {
			return nil, fmt.Errorf("the mark of accepted transactions is malformed: the store is damaged")
		}
	}
	if err := a.restoreReasons(r); err != nil {
		return nil, err
	}
	err = kv.Each(r, []byte(prefixTx), kv.PrefixEnd([]byte(prefixTx)), false, func(_, value []byte) (bool, error) {
		tx, err := ledger.DecodeTx(value)
		if err != nil {
			return false, fmt.Errorf("the record of an accepted transaction: %w: the store is damaged", err)
		}
		return true, a.restore(tx, 0, true, state, now)
	})
	if err != nil {
		return nil, err
	}
	from, to := lanes.StoredKey(self, lanes.Tip{Seq: a.persisted.mark + 1}), lanes.StoredKey(self+1, lanes.Tip{})
	return a, kv.Each(r, from, to, false, func(_, value []byte) (bool, error) {
		b, err := lanes.DecodeStored(c, value)
		if err != nil {
			return false, fmt.Errorf("a batch of this replica's lane: %w: the store is damaged", err)
		}
		p, err := ledger.DecodePayload(cfg.Kinds, b.Payload)
		if err != nil {
			return false, fmt.Errorf("a batch of this replica's lane: %w: the store is damaged", err)
		}
		for _, tx := range p.Txs {
			if err := a.restore(tx, b.Seq, false, state, now); err != nil {
				return false, err
			}
		}
		return true, nil
	})
}

func (a *Admission) restoreReasons(r kv.Reader) error {
	return kv.Each(r, []byte(prefixReason), kv.PrefixEnd([]byte(prefixReason)), false, func(key, value []byte) (bool, error) {
		if len(key) != len(persistedKey(prefixReason, ledger.TxID{})) || len(value) != 1 {
			return false, fmt.Errorf("the record %x of a refused transaction is malformed: the store is damaged", key)
		}
		id := ledger.TxID(key[len(prefixReason):])
		reason := ledger.Reason(value[0])
		a.persisted.reasons = append(a.persisted.reasons, id)
		a.remember(id, &ledger.Refusal{Reason: reason, Detail: reason.Description()})
		return true, nil
	})
}

// restore adds one accepted transaction, with the number of its batch, unless the ledger has its receipt.
func (a *Admission) restore(tx *ledger.Tx, batch uint64, recorded bool, state *ledger.State, now Instant) error {
	if a.entries[tx.ID()] != nil || a.refused.Contains(tx.ID()) {
		return nil
	}
	l, err := Read(state, tx, now)
	if err != nil || l.Known {
		return err
	}
	a.arrived++
	e := &entry{
		tx: tx, seq: a.arrived, state: inBatch, inside: l.Found.Inside, own: l.Found.Own, backoff: retryFirst,
		logged: true, batch: batch, recorded: recorded,
	}
	a.entries[tx.ID()] = e
	a.mempool.add(e.from, e.size())
	a.expiry.add(e)
	if batch > a.persisted.ordered {
		for _, i := range e.own {
			a.spends[tx.Inputs[i].Outpoint] = e
		}
		return nil
	}
	a.park(e, now)
	return nil
}

func executedCut(state *ledger.State) (lanes.Cut, error) {
	_, _, raw := state.Tip()
	if len(raw) == 0 {
		return nil, nil
	}
	rd := wire.NewReader(raw)
	cut := lanes.ReadCut(rd)
	return cut, rd.Err()
}
