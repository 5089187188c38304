package engine

import (
	"sync/atomic"
	"time"

	"bdtnode/ledger"
	"bdtnode/node/driver"
	"bdtnode/node/execution"
	"bdtnode/node/intake"
	"bdtnode/node/p2p"
	"bdtnode/node/replica"
	"bdtnode/node/trace"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/shard/settlement"
)

// parts are the parts of an engine that need no driver. They are complete before the driver is made.
type parts struct {
	self  protocols.Index
	net   Sender
	clock *clock

	inputs  *inputs
	writer  *writer
	blocks  *execution.Queue
	stopped chan struct{} // closed when the engine has stopped

	kick    chan struct{} // requests a turn of the loop
	publish chan struct{} // LDs may have become certified
	attend  chan struct{} // requests a call of [driver.Driver.Attend]
	serve   chan struct{} // there may be a request of a peer for stored data
	check   chan struct{} // there may be a batch whose signatures this replica checks

	measures  *Measures
	log       *trace.Log
	meter     *meter // of the loop
	latencies latencies
	tallies   tallies
	faults    faults
	syncs     syncs
}

func newParts(cfg *Config) *parts {
	n := cfg.Committee.N()
	p := &parts{
		self: cfg.Self, net: cfg.Net, clock: newClock(time.Now()),
		inputs: newInputs(n), blocks: execution.NewQueue(reserve), stopped: make(chan struct{}),
		kick: make(chan struct{}, 1), publish: make(chan struct{}, 1), attend: make(chan struct{}, 1),
		serve: make(chan struct{}, 1), check: make(chan struct{}, 1),
		measures: newMeasures(), log: trace.New(), tallies: tallies{faults: make([]atomic.Uint64, n)},
	}
	p.writer = newWriter(cfg.Store, &p.syncs)
	p.meter = newMeter(p.measures, p.log, cfg.Self, cfg.Network.Shards())
	return p
}

// host is the process as the driver sees it.
type host struct{ *parts }

var _ driver.Host = host{}

// Clock implements [driver.Host].
func (h host) Clock() (protocols.Time, time.Duration) { return h.clock.both() }

// Write implements [driver.Host]. It blocks while the writer's queue is full.
func (h host) Write(a driver.Action) {
	if len(a.Sends)+len(a.Out) > 0 || a.Own != nil { // of the loop: other goroutines write records only
		h.meter.made(h.clock.now(), &a)
	}
	if len(a.Persist)+len(a.Sends)+len(a.Reads)+len(a.Out) > 0 || a.Own != nil {
		h.writer.put(a)
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
		h.net.Send(protocols.Index(to), class, frame)
		return
	}
	for i := range len(h.tallies.faults) {
		if protocols.Index(i) != h.self {
			h.net.Send(protocols.Index(i), class, frame)
		}
	}
}

// Execute implements [driver.Host].
func (h host) Execute(d *bdt.Delivery) { h.blocks.Put(d) }

// Inbound implements [driver.Host].
func (h host) Inbound(x replica.Verified) {
	in := h.inputs
	in.put(event{message: x, quota: in.offers, places: 1}, h.stopped)
}

// Wake implements [driver.Host].
func (h host) Wake() { signal(h.kick) }

// Attend implements [driver.Host].
func (h host) Attend() { signal(h.attend) }

// Serve implements [driver.Host].
func (h host) Serve() { signal(h.serve) }

// Publish implements [driver.Host].
func (h host) Publish() { signal(h.publish) }

// Verify implements [driver.Host].
func (h host) Verify() { signal(h.check) }

// Misbehaved implements [driver.Log].
func (h host) Misbehaved(f protocols.Fault) {
	h.faults.note(f, time.Now())
	h.tallies.faults[f.Peer].Add(1)
	outside.Warnw("a peer misbehaved", f.Peer, "replica", f.Peer, "fault", f.Reason)
}

// RunsTwice implements [driver.Log].
func (h host) RunsTwice(t *replica.Twin) {
	outside.Errorw("two processes run with the identity of one replica", t.Replica, "replica", t.Replica, "fenced_boot", t.Boot, "kept_boot", t.Kept)
}

// BrokeRules implements [driver.Log].
func (h host) BrokeRules(x *settlement.Evidence) {
	h.tallies.evidence.Add(1)
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
