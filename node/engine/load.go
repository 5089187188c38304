package engine

import (
	"sync/atomic"

	"bdtnode/ledger"
	"bdtnode/protocols"
)

// Use is the use of a bounded resource.
type Use struct{ Used, Limit int64 }

// Load is the use of the engine's queues.
type Load struct {
	Control, Bulk         Use // places of the peer that has taken most, in the inbound channel
	LDs                   Use // places of LDs from outside the shard, in the inbound channel
	Writer, WriterBytes   Use // actions that wait for the disk, and the bytes of their records
	Executor              Use // committed blocks that wait for execution
	Mempool, MempoolBytes Use // transactions in the mempool, and their bytes
	Orphans, OrphanBytes  Use // transactions in the orphan pool, and their bytes
	Waits                 Use // transactions that requests wait for
	Verifying             Use // requests whose transactions are being verified; those above the limit wait
}

// Load reads the use of the queues.
func (e *Engine) Load() Load {
	in, l := e.inputs, e.cfg.Limits
	h := e.Holding()
	blocks, places := e.blocks.Use()
	x := Load{
		Control: Use{0, controlQuota}, Bulk: Use{0, bulkQuota},
		LDs:      Use{int64(len(in.offers)), int64(cap(in.offers))},
		Executor: Use{int64(blocks), int64(places)},
		Mempool:  Use{int64(h.Mempool), int64(l.Txs)}, MempoolBytes: Use{int64(h.MempoolBytes), int64(l.Bytes)},
		Orphans: Use{int64(h.Orphans), int64(l.OrphanTxs)}, OrphanBytes: Use{int64(h.OrphanBytes), int64(l.OrphanBytes)},
		Waits: Use{int64(h.Waits), int64(l.Waits)},
	}
	for i := range in.quota {
		x.Control.Used = max(x.Control.Used, int64(len(in.quota[i][0])))
		x.Bulk.Used = max(x.Bulk.Used, int64(len(in.quota[i][1])))
	}
	actions, bytes := e.writer.waiting()
	x.Writer, x.WriterBytes = Use{int64(actions), maxQueuedActions}, Use{int64(bytes), maxQueuedBytes}
	free, waiting := e.verifying.Use()
	x.Verifying = Use{int64(verifiers() - free + waiting), int64(verifiers())}
	return x
}

// tallies count events since the start.
type tallies struct {
	faults   []atomic.Uint64 // by replica of the shard
	evidence atomic.Uint64
	refusals [ledger.Reasons]atomic.Uint64
}

// FaultCount is the number of faults of a replica of the shard that this one has found since the start.
func (e *Engine) FaultCount(i protocols.Index) uint64 { return e.tallies.faults[i].Load() }

// Evidence is the number of proofs against other shards since the start.
func (e *Engine) Evidence() uint64 { return e.tallies.evidence.Load() }

// CountRefusal counts a refused transaction.
func (e *Engine) CountRefusal(r *ledger.Refusal) { e.tallies.refusals[r.Reason].Add(1) }

// Refusals is the number of transactions that requests brought and that were refused for a reason, since the start.
func (e *Engine) Refusals(r ledger.Reason) uint64 { return e.tallies.refusals[r].Load() }
