package engine

import (
	"time"

	"bdtnode/ledger"
	"bdtnode/node/driver"
	"bdtnode/node/intake"
	"bdtnode/node/p2p"
	"bdtnode/node/replica"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/shard/settlement"
)

// host is the engine as the driver sees it.
type host struct{ e *Engine }

var _ driver.Host = host{}

// Clock implements [driver.Host].
func (h host) Clock() (protocols.Time, time.Duration) { return h.e.clock.both() }

// Write implements [driver.Host]. It blocks while the writer's queue is full.
func (h host) Write(a driver.Action) {
	if len(a.Sends)+len(a.Out) > 0 || a.Own != nil { // of the loop: other goroutines write records only
		h.e.meter.made(h.e.clock.now(), &a)
	}
	if len(a.Persist)+len(a.Sends)+len(a.Reads)+len(a.Out) > 0 || a.Own != nil {
		h.e.writer.put(a)
	}
}

// Send implements [driver.Host]. It encodes a message once for all its receivers.
func (h host) Send(to protocols.To, m protocols.Message) {
	frame := replica.Encode(m)
	class := p2p.Control
	if replica.Bulk(m.Kind()) {
		class = p2p.Bulk
	}
	if to != protocols.Everyone {
		h.e.net.Send(protocols.Index(to), class, frame)
		return
	}
	for i := range h.e.cfg.Committee.N() {
		if protocols.Index(i) != h.e.cfg.Self {
			h.e.net.Send(protocols.Index(i), class, frame)
		}
	}
}

// Execute implements [driver.Host].
func (h host) Execute(d *bdt.Delivery) { h.e.executor.Put(d) }

// Inbound implements [driver.Host].
func (h host) Inbound(x replica.Verified) {
	in := h.e.inputs
	in.put(event{message: x, quota: in.offers, places: 1}, h.e.stopped)
}

// Wake implements [driver.Host].
func (h host) Wake() { signal(h.e.kick) }

// Attend implements [driver.Host].
func (h host) Attend() { signal(h.e.attend) }

// Serve implements [driver.Host].
func (h host) Serve() { signal(h.e.server.some) }

// Publish implements [driver.Host].
func (h host) Publish() { signal(h.e.publish) }

// Verify implements [driver.Host].
func (h host) Verify() { signal(h.e.checker.some) }

// Misbehaved implements [driver.Log].
func (h host) Misbehaved(f protocols.Fault) {
	h.e.faults.note(f, time.Now())
	h.e.tallies.faults[f.Peer].Add(1)
	outside.Warnw("a peer misbehaved", f.Peer, "replica", f.Peer, "fault", f.Reason)
}

// RunsTwice implements [driver.Log].
func (h host) RunsTwice(t *replica.Twin) {
	outside.Errorw("two processes run with the identity of one replica", t.Replica, "replica", t.Replica, "fenced_boot", t.Boot, "kept_boot", t.Kept)
}

// BrokeRules implements [driver.Log].
func (h host) BrokeRules(x *settlement.Evidence) {
	h.e.tallies.evidence.Add(1)
	outside.Errorw("a shard broke the rules of settlement", x.Source(), "shard", x.Source(), "number", x.LD.Delivery.Number, "evidence", x)
}

// Frozen implements [driver.Log].
func (h host) Frozen(f *ledger.Freeze, height uint64) {
	outside.Errorw("channel frozen: the shard broke the rules of settlement", f.Source, "shard", f.Source, "number", f.Number, "height", height, "why", f.Why)
}

// OverBudget implements [driver.Log].
func (h host) OverBudget(from protocols.Index, x intake.Exceeding) {
	outside.Warnw("a replica sends more than its budget", from, "replica", from, "frames", x.Frames, "unasked_answers", x.Answers)
}
