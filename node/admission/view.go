package admission

import (
	"bdtnode/ledger"
	"bdtnode/protocols"
)

// View is a snapshot of the admission of a replica, for operators.
type View struct {
	Txs         int `json:"txs"`   // transactions in the mempool
	Bytes       int `json:"bytes"` // of them
	MaxTxs      int `json:"max_txs"`
	MaxBytes    int `json:"max_bytes"`
	Ready       int `json:"ready_bytes"` // bytes of those that are ready for a batch
	Orphans     int `json:"orphan_txs"`  // transactions in the orphan pool
	OrphanBytes int `json:"orphan_bytes"`
	MaxOrphans  int `json:"max_orphan_txs"`
	Waits       int `json:"waits"` // ids that requests wait for
}

// Inspect takes a snapshot of an admission state.
func Inspect(a *Admission) View {
	return View{
		Txs: a.mempool.items, Bytes: a.mempool.bytes, MaxTxs: a.limits.Txs, MaxBytes: a.limits.Bytes, Ready: a.queues.bytes,
		Orphans: a.orphans.items, OrphanBytes: a.orphans.bytes, MaxOrphans: a.limits.OrphanTxs, Waits: a.Waits(),
	}
}

// Place is the place of a transaction that no block has decided.
type Place string

// The places of a transaction.
const (
	PlaceOrphan Place = "orphan" // in the orphan pool: an input is missing or another transaction spends it
	PlaceReady  Place = "ready"  // in the mempool, for the next batch
	PlaceBehind Place = "behind" // in the mempool, after a transaction whose output it spends
	PlaceBatch  Place = "batch"  // in a batch that no block has decided
	PlaceParked Place = "parked" // in the mempool: a block left it out, and it is tried again
)

var places = map[state]Place{orphaned: PlaceOrphan, ready: PlaceReady, behind: PlaceBehind, inBatch: PlaceBatch, parked: PlaceParked}

// maxDepends is the largest number of dependencies in a [TxView].
const maxDepends = 8

// TxView is a snapshot of a transaction that no block has decided.
type TxView struct {
	Place    Place           `json:"place"`
	SinceMS  int64           `json:"since_ms"` // time since it arrived at this replica, -1 if it arrived before the last restart
	Accepted bool            `json:"accepted"` // in a batch of this replica's lane on its disk
	Batch    uint64          `json:"batch"`    // number of that batch, 0 if there is none
	UntilMS  int64           `json:"until_ms"` // in the orphan pool: time until it is dropped; parked: until it is tried again
	ExpiryMS uint64          `json:"expiry_ms"`
	Depends  []ledger.TxID   `json:"depends"` // transactions that it waits for: those that spend or create its inputs, at most 8
	LeftOut  *ledger.Refusal `json:"-"`       // reason for which a block left it out last
	Overdue  bool            `json:"overdue"` // its expiry has passed by the wall clock, and not by block time
}

// InspectTx takes a snapshot of a transaction, and returns the transaction too. ok is false if it is neither in the mempool nor in the orphan pool.
func InspectTx(a *Admission, id ledger.TxID, now Instant) (v TxView, tx *ledger.Tx, ok bool) {
	e := a.entries[id]
	if e == nil {
		return TxView{}, nil, false
	}
	v = TxView{
		Place: places[e.state], Accepted: e.logged, Batch: e.batch, ExpiryMS: e.tx.ExpiryMS, Depends: []ledger.TxID{},
		Overdue: now.WallMS > e.tx.ExpiryMS, LeftOut: e.leftOut, SinceMS: -1,
	}
	if e.arrived != 0 {
		v.SinceMS = protocols.AgeMS(now.Now, e.arrived)
	}
	if e.state == orphaned || e.state == parked {
		v.UntilMS = protocols.UntilMS(now.Now, e.until)
	}
	for _, l := range e.links {
		if (e.state == behind && !l.first) || len(v.Depends) == maxDepends {
			continue
		}
		v.Depends = append(v.Depends, l.on)
	}
	return v, e.tx, true
}
