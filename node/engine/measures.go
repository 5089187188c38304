package engine

import (
	"time"

	"bdtnode/internal/histogram"
	"bdtnode/node/admission"
	"bdtnode/node/driver"
	"bdtnode/node/execution"
	"bdtnode/node/replica"
	"bdtnode/node/trace"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/inbound"
	"bdtnode/protocols/lanes"
)

// Measures are durations since the start, for metrics. Each counts transactions unless it says otherwise.
type Measures struct {
	Admission   *histogram.Histogram // from the request to the mempool or the refusal
	Batched     *histogram.Histogram // from the request to a batch of the own lane on disk: accepted
	Certificate *histogram.Histogram // from the batch to its availability certificate, if it got one before it was ordered
	Commit      *histogram.Histogram // from the batch to a committed block that orders it
	Executed    *histogram.Histogram // from the commit of a block whose data is held to its execution; transactions of all lanes
	Certified   *histogram.Histogram // from the execution of a block to f+1 VOTEs for its header; transactions of all lanes
	Final       *histogram.Histogram // from the request to the final receipt of this shard

	Quorum   *histogram.Histogram // slots: from the proposal to the own Finalize, which needs the QC
	Finalize *histogram.Histogram // slots: from the own Finalize to the commit
	EpochEnd *histogram.Histogram // epochs: from the own Status to the next epoch
	Rounds   *histogram.Histogram // decided agreements: number of rounds

	RoundTrip *histogram.Histogram // answered Pings to replicas of the shard
}

func newMeasures() *Measures {
	d := histogram.Durations
	return &Measures{
		Admission: d(), Batched: d(), Certificate: d(), Commit: d(), Executed: d(), Certified: d(), Final: d(),
		Quorum: d(), Finalize: d(), EpochEnd: d(), Rounds: histogram.New(1, 2, 3, 4, 6, 8, 12, 16), RoundTrip: d(),
	}
}

// meteredSlots is the number of slots that a meter keeps. At most 64 are open.
const meteredSlots = 64

// meter measures the progress of consensus from the inputs and outputs of the core, so the machines need no clock of
// their own. Batches, blocks and LDs are noted in the log, which also gives the time of an earlier stage. Those that the
// log has overwritten are not counted. The meter belongs to the loop.
type meter struct {
	*Measures
	log    *trace.Log
	self   protocols.Index
	slots  [meteredSlots]meteredSlot
	seen   replica.Status // at the last turn
	signed []uint64       // at the last turn, by source shard: number of the highest LD with a SIGN quorum
	left   protocols.Time // when the own Status of the present epoch was made; zero before
}

type meteredSlot struct {
	epoch, slot        uint64
	proposed, finalize protocols.Time
}

func newMeter(m *Measures, log *trace.Log, self protocols.Index, shards int) *meter {
	return &meter{Measures: m, log: log, self: self, signed: make([]uint64, shards)}
}

// begin notes the state of the core before its first input.
func (x *meter) begin(core *replica.Core) {
	x.seen = core.Status()
	x.log.Begin(x.seen.Committed)
	for s := range x.signed {
		x.signed[s] = replica.SignedLD(core, uint16(s))
	}
}

// received notes the leader's first proposal for a slot, and the first arrival of batches and LDs.
func (x *meter) received(now func() protocols.Time, v *replica.Verified) {
	switch m := v.Message().(type) {
	case *bolt.Propose:
		if v.From() == x.seen.Leader && m.Block.Epoch == x.seen.Epoch {
			x.proposed(now(), m.Block.Epoch, m.Block.Slot)
		}
	case *lanes.Batch:
		if m.Lane != x.self {
			x.log.BatchArrived(now(), m.Lane, m.Seq)
		}
	case *inbound.LD:
		x.log.LDArrived(now(), m.Source, m.Number)
	case *replica.Inbound:
		x.log.LDArrived(now(), m.Source, m.Number)
	}
}

func (x *meter) proposed(now protocols.Time, epoch, slot uint64) {
	if s := &x.slots[slot%meteredSlots]; s.epoch != epoch || s.slot != slot {
		*s = meteredSlot{epoch: epoch, slot: slot, proposed: now}
	}
}

// made notes the blocks, the batches and the messages to all that an action has.
func (x *meter) made(now protocols.Time, a *driver.Action) {
	for i := range a.Out {
		if d := a.Out[i].Deliver; d != nil {
			x.log.BlockCommitted(now, d.Block.Height)
			for _, ld := range d.LDs {
				x.log.LDOrdered(ld.Source, ld.Tip.Seq, d.Block.Height)
			}
		}
	}
	if a.Own != nil {
		x.log.Made(now, a.Own.Number, a.Own.Payload.Entries())
	}
	for i := range a.Sends {
		if a.Sends[i].To != protocols.Everyone {
			continue // sent again after a reconnect
		}
		switch m := a.Sends[i].Message.(type) {
		case *bolt.Propose:
			x.proposed(now, m.Block.Epoch, m.Block.Slot)
		case *bolt.Finalize:
			if s := &x.slots[m.Slot%meteredSlots]; s.epoch == m.Epoch && s.slot == m.Slot && s.finalize == 0 {
				s.finalize = now
				x.Quorum.Observe(now.Sub(s.proposed), 1)
			}
		case *bdt.Status:
			x.left = now
		}
	}
}

// turn compares the core's state with that of the turn before.
func (x *meter) turn(now protocols.Time, s replica.Status, core *replica.Core) {
	for source, before := range x.signed {
		if top := replica.SignedLD(core, uint16(source)); top > before {
			for n := max(before, top-min(top, inbound.Window)) + 1; n <= top; n++ {
				x.log.LDSigned(now, uint16(source), n)
			}
			x.signed[source] = top
		}
	}
	if s == x.seen {
		return
	}
	x.slotsCommitted(now, s)
	x.headersCertified(now, s)
	x.laneMoved(now, s.Lane)
	if s.Epoch != x.seen.Epoch {
		x.epochsEnded(now, s)
	}
	x.seen = s
}

func (x *meter) slotsCommitted(now protocols.Time, s replica.Status) {
	if s.Epoch != x.seen.Epoch {
		return // its last slots were committed with the block that ends it
	}
	for slot := max(x.seen.Slot+1, s.Slot-min(s.Slot, meteredSlots)); slot <= s.Slot; slot++ {
		if m := &x.slots[slot%meteredSlots]; m.epoch == s.Epoch && m.slot == slot && m.finalize != 0 {
			x.Finalize.Observe(now.Sub(m.finalize), 1)
		}
	}
}

func (x *meter) headersCertified(now protocols.Time, s replica.Status) {
	for h := max(x.seen.Certified+1, s.Certified-min(s.Certified, trace.KeptBlocks)); h <= s.Certified; h++ {
		if b, ok := x.log.BlockCertified(now, h); ok && b.Executed != 0 {
			x.Certified.Observe(now.Sub(b.Executed), b.Txs)
		}
	}
}

// executed is called after the core has handled an executed block.
func (x *meter) executed(now protocols.Time, d *execution.Executed) {
	h, txs := d.Block.Header.Height, d.Block.Entries()
	for i := range d.Block.Outbox {
		ld := d.Block.Outbox[i].Delivery
		x.log.LDMade(ld.Destination, ld.Number, h)
	}
	b, ok := x.log.BlockExecuted(now, h, txs)
	if !ok {
		return // overwritten
	}
	x.Executed.Observe(now.Sub(b.Committed), txs)
	if h <= x.seen.Certified { // others were faster
		x.log.BlockCertified(now, h)
		x.Certified.Observe(0, txs)
	}
}

// epochsEnded counts the end of an epoch, and logs it. Peers decide how often epochs end, so the lines are limited.
func (x *meter) epochsEnded(now protocols.Time, s replica.Status) {
	last := s.Ends.Last
	fields := []any{"epoch", last.Epoch, "cause", last.Cause.String(), "leader", last.Leader, "next_leader", s.Leader, "height", s.Committed}
	if x.left != 0 {
		took := now.Sub(x.left)
		x.EpochEnd.Observe(took, 1)
		fields = append(fields, "took", took.Round(time.Millisecond).String())
	}
	x.left = 0
	if last.Rounds > 0 {
		x.Rounds.Add(int64(last.Rounds), 1)
		fields = append(fields, "rounds", last.Rounds)
	}
	outside.Infow("epoch ended", last.Cause, fields...)
}

func (x *meter) laneMoved(now protocols.Time, l replica.LaneStatus) {
	was := x.seen.Lane
	if l.Certified > l.Ordered && l.Certified > was.Certified {
		for n := first(max(was.Certified, l.Ordered), l.Certified); n <= l.Certified; n++ {
			if b, ok := x.log.BatchCertified(now, n); ok {
				x.Certificate.Observe(now.Sub(b.Made), b.Txs)
			}
		}
	}
	if l.Ordered > was.Ordered {
		for n := first(was.Ordered, l.Ordered); n <= l.Ordered; n++ {
			if b, ok := x.log.Own(n); ok {
				x.Commit.Observe(now.Sub(b.Made), b.Txs)
			}
		}
	}
}

// first is the first number above one number and up to another, of the numbers that the window of a lane can have.
func first(above, to uint64) uint64 { return max(above, to-min(to, lanes.WindowHeaders)) + 1 }

// took counts the time from a request to the final receipt of a transaction.
func (p *parts) took(d time.Duration) {
	p.latencies.add(time.Now(), d)
	p.measures.Final.Observe(d, 1)
}

// accepted counts the time from a request to the batch of a transaction on disk.
func (p *parts) accepted(d time.Duration) { p.measures.Batched.Observe(d, 1) }

// logged notes the times of the transactions of an own batch that is on disk.
func (p *parts) logged(number uint64, t admission.BatchTimes) {
	p.log.Accepted(number, trace.Span(t.Submitted), trace.Span(t.Admitted))
}

// Measures are the durations since the start.
func (e *Engine) Measures() *Measures { return e.measures }

// Trace has the times of the newest batches, blocks and LDs since the start.
func (e *Engine) Trace() *trace.Log { return e.log }

// WallUS returns a conversion of times of the trace to the wall clock of this replica as it is set now, in Unix
// microseconds. One conversion keeps the order of all times, while the difference of the clocks changes a little at each
// reading.
func (e *Engine) WallUS() func(protocols.Time) int64 {
	_, ahead := e.clock.both()
	return func(t protocols.Time) int64 { return int64(t.Add(ahead)) / int64(time.Microsecond) }
}

// NowUS is the present time by the wall clock of this replica, in Unix microseconds.
func (e *Engine) NowUS() int64 { return int64(e.clock.wall()) / int64(time.Microsecond) }
