package sim

import (
	"time"

	"bdtnode/internal/kv"
	"bdtnode/ledger"
	"bdtnode/node/driver"
	"bdtnode/node/replica"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/shard/settlement"
)

// host is the [driver.Host] of one life of a node.
type host struct {
	*node
	life int
}

var _ driver.Host = host{}

// up reports whether this life has not ended.
func (h host) up() bool { return h.alive && h.node.life == h.life }

// Clock implements [driver.Host].
func (h host) Clock() (protocols.Time, time.Duration) { return h.s.now, h.skew }

// Write implements [driver.Host].
func (h host) Write(a driver.Action) {
	if !h.up() {
		return // the driver continues for a moment after a crash
	}
	n := h.node
	n.s.check.stepped(n, &a.Step)
	if n.resending {
		n.s.check.resent(n, &a.Step)
	}
	if len(a.Persist)+len(a.Reads)+len(a.Out) > 0 {
		n.onlyPings = false
	}
	for i := range a.Sends {
		n.onlyPings = n.onlyPings && ofPings(a.Sends[i].Message)
	}
	if f := n.s.cfg.mutation.persist; f != nil {
		a.Persist = f(a.Persist)
	}
	if n.s.cfg.mutation.sendEarly {
		n.driver.Send(&a)
		a.Sends, a.Reads = nil, nil
	}
	n.unwritten = append(n.unwritten, a)
	n.write()
}

// Execute implements [driver.Host].
func (h host) Execute(d *bdt.Delivery) {
	h.deliveries = append(h.deliveries, d)
	h.execute()
}

// Inbound implements [driver.Host].
func (h host) Inbound(x replica.Verified) { h.inbound = append(h.inbound, x) }

// Wake implements [driver.Host].
func (h host) Wake() { h.due.turn = true }

// Attend implements [driver.Host].
func (h host) Attend() { h.due.attend = true }

// Serve implements [driver.Host].
func (h host) Serve() { h.due.serve = true }

// Publish implements [driver.Host].
func (h host) Publish() { h.due.publish = true }

// Misbehaved implements [driver.Log].
func (h host) Misbehaved(f protocols.Fault) { h.s.check.blamed(h.node, f) }

// RunsTwice implements [driver.Log].
func (h host) RunsTwice(*replica.Twin) {}

// BrokeRules implements [driver.Log].
func (h host) BrokeRules(e *settlement.Evidence) {
	h.s.trace.add(h.s.now, "evidence", int(h.id), int(e.Source()), nil, e)
	if !h.s.shards[e.Source()].hostile() {
		h.s.fail("evidence", "an honest shard is accused: %v", e)
	}
}

// Frozen implements [driver.Log].
func (h host) Frozen(*ledger.Freeze, uint64) {}

// OverBudget implements [driver.Log].
func (h host) OverBudget(from protocols.Index, x driver.Exceeding) { h.exceeded[from] = x.Frames }

// write puts all waiting actions into the store, with one sync if any needs it, and then releases them.
func (n *node) write() {
	if n.writing || !n.alive || len(n.unwritten) == 0 {
		return
	}
	group := n.unwritten
	n.unwritten = nil
	sync := false
	for i := range group {
		var b kv.Batch
		sync = driver.Records(&b, group[i:i+1]) || sync
		if b.Len() > 0 {
			must(n.store.Apply(&b, false))
		}
	}
	if !sync {
		n.release(group)
		return
	}
	n.writing = true
	n.after(n.s.around(n.s.syncMean), func() {
		must(n.store.Flush())
		n.s.check.synced(n, group)
		n.writing = false
		if n.s.crashPoint(n) {
			return // the records are durable, and no message has left
		}
		n.do(func() {
			n.release(group)
			n.write()
		})
	})
}

// release sends the messages of actions and handles their outputs.
func (n *node) release(group []driver.Action) {
	life := n.life
	for i := range group {
		a := &group[i]
		n.driver.Send(a)
		if len(a.Sends)+len(a.Reads) > 0 && n.s.crashPoint(n) {
			return
		}
		for _, o := range a.Out {
			if o.Lost != nil {
				n.lost(o.Lost)
				return
			}
			if o.Certified != nil {
				n.s.check.certified(n, o.Certified)
			}
		}
		if a.Own != nil && n.adversary == nil {
			n.s.check.promises.batched(n, a.Own.Payload.Txs)
		}
		must(n.driver.Deliver(a))
		if n.life != life {
			return
		}
	}
}

// execute applies committed blocks to the ledger, one at a time.
func (n *node) execute() {
	if n.executing || len(n.deliveries) == 0 {
		return
	}
	n.executing = true
	n.after(n.s.around(n.s.execMean), func() {
		d := n.deliveries[0]
		n.deliveries = n.deliveries[1:]
		n.executing = false
		x, err := n.driver.Execute(d)
		must(err)
		h := x.Block.Header.Height
		n.s.trace.add(n.s.now, "executed", n.place, -1, x.Block.HeaderDigest[:], h)
		n.s.check.executed(n, &x.Ordered, x.Block)
		if n.s.rng.IntN(16) == 0 {
			must(n.state.Flush())
		}
		n.do(func() {
			n.driver.Notify(x)
			n.driver.Executed(x)
		})
		if n.alive {
			n.execute()
		}
	})
}
