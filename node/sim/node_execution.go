package sim

import (
	"fmt"
	"time"

	"bdtnode/ledger"
	"bdtnode/node/admission"
	"bdtnode/node/replica"
	"bdtnode/protocols"
	"bdtnode/protocols/channels"
	"bdtnode/protocols/lanes"
	"bdtnode/shard/settlement"
)

// execute works off deliveries, one at a time.
func (n *node) execute() {
	if n.executing || len(n.deliveries) == 0 {
		return
	}
	n.executing = true
	n.after(n.s.around(n.s.execMean), func() {
		d := n.deliveries[0]
		n.deliveries = n.deliveries[1:]
		n.executing = false
		in, err := replica.Ordered(d, n)
		if err != nil {
			panic(err)
		}
		block, err := n.state.Execute(in)
		if err != nil {
			panic(err)
		}
		h := block.Header.Height
		if err := replica.CheckExecuted(n.store, h, block.HeaderDigest); err != nil {
			panic(err)
		}
		n.s.trace.add(n.s.now, "executed", n.place, -1, block.HeaderDigest[:], h)
		n.s.check.executed(n, &in, block)
		ordered := uint64(0)
		for _, ref := range d.Refs {
			if ref.Lane == n.id {
				ordered = max(ordered, ref.Tip.Seq)
			}
		}
		n.door.Executed(block, ordered, n.instant())
		n.lookAgain()
		if n.s.rng.IntN(16) == 0 {
			if err := n.state.Flush(); err != nil {
				panic(err)
			}
		}
		n.input(func(now protocols.Time) replica.Step {
			return n.core.Executed(now, block)
		})
		if n.alive {
			if len(block.Outbox) > 0 {
				n.outbox() // the others may have certified the header before
			}
			n.execute()
		}
	})
}

// Payload implements [replica.Contents].
func (n *node) Payload(ref lanes.Ref) (*ledger.Payload, error) {
	b, err := replica.Batch(n.s.committee, n.store, ref.Lane, ref.Tip)
	if err != nil || b == nil {
		return nil, fmt.Errorf("batch %d of lane %d is delivered and not in the store: %w", ref.Tip.Seq, ref.Lane, err)
	}
	return ledger.DecodePayload(n.s.kinds, b.Payload)
}

// Delivery implements [replica.Contents].
func (n *node) Delivery(ref channels.Ref) (*ledger.Delivery, error) {
	stored, err := replica.StoredLD(n.store, ref.Source, ref.Tip)
	if err != nil || stored == nil {
		return nil, fmt.Errorf("LD %d of shard %d is ordered and not in the store: %w", ref.Tip.Seq, ref.Source, err)
	}
	ld, err := settlement.DecodeLD(stored.Raw)
	if err != nil {
		return nil, err
	}
	return ld.Delivery, nil
}

// propose makes batches of the own lane of what the door has ready.
func (n *node) propose() {
	for n.alive {
		notices := n.core.Notices()
		waiting := n.door.Waiting() + notices
		if waiting == 0 {
			return
		}
		ok, again := n.core.WantsBatch(n.now(), waiting)
		if !ok {
			if again != 0 && (n.askAt == 0 || again < n.askAt) {
				n.askAt = again
				n.after(again.Sub(n.s.now), func() {
					n.askAt = 0
					n.propose()
					if n.alive {
						n.arm()
					}
				})
			}
			return
		}
		txs := n.door.Take(lanes.MaxPayload-notices, lanes.MaxCount-1)
		if len(txs) == 0 && notices == 0 {
			return
		}
		st, batch := n.core.Append(n.now(), txs)
		n.unlogged = append(n.unlogged, batch)
		n.took(st)
	}
}

// Pauses of attend, and how much is looked at again without one, as in the engine.
const (
	attendEvery     = 200 * time.Millisecond
	checkpointEvery = 5 // attendances
	lookMost        = 64
)

// attend has the door's transactions that are due looked at again, and what it keeps written.
func (n *node) attend() {
	n.after(attendEvery, func() {
		n.lookAgain()
		n.propose()
		if n.attended++; n.alive && n.attended%checkpointEvery == 0 {
			if records := n.door.Checkpoint(); len(records) > 0 {
				n.took(replica.Step{Persist: records})
			}
		}
		if n.alive {
			n.arm()
			n.attend()
		}
	})
}

// lookAgain looks up what the door wants looked at again.
func (n *node) lookAgain() {
	for more := true; more; {
		due := n.door.Due(n.instant(), lookMost)
		for _, tx := range due {
			l, err := admission.Read(n.state, tx, n.instant())
			if err != nil {
				panic(err)
			}
			n.door.Again(tx, l, n.instant())
		}
		more = len(due) == lookMost
	}
}
