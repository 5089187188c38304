package engine

import (
	"time"

	"bdtnode/internal/histogram"
	"bdtnode/node/driver"
	"bdtnode/node/replica"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/bolt"
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

// Sizes of the rings of a meter. The uncommitted batches of a lane are at most lanes.WindowHeaders, the open slots at
// most 64. Blocks without a certificate are not bounded: a block that is overwritten is not counted.
const (
	meteredSlots  = 64
	meteredBlocks = 1024
)

// meter measures the progress of consensus from the inputs and outputs of the core, so the machines need no clock of
// their own. It belongs to the loop.
type meter struct {
	*Measures
	own    [lanes.WindowHeaders]meteredBatch // by number
	slots  [meteredSlots]meteredSlot
	blocks [meteredBlocks]meteredBlock // by height
	seen   replica.Status              // at the last turn
	left   protocols.Time              // when the own Status of the present epoch was made; zero before
}

type meteredBatch struct {
	number uint64
	made   protocols.Time
	txs    int
}

type meteredSlot struct {
	epoch, slot        uint64
	proposed, finalize protocols.Time
}

type meteredBlock struct {
	height              uint64
	committed, executed protocols.Time
	txs                 int
}

func newMeter(m *Measures, core *replica.Core) *meter {
	return &meter{Measures: m, seen: core.Status()}
}

// received notes the leader's first proposal for a slot.
func (x *meter) received(now func() protocols.Time, v *replica.Verified) {
	if p, ok := v.Message().(*bolt.Propose); ok && v.From() == x.seen.Leader && p.Block.Epoch == x.seen.Epoch {
		x.proposed(now(), p.Block.Epoch, p.Block.Slot)
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
			x.blocks[d.Block.Height%meteredBlocks] = meteredBlock{height: d.Block.Height, committed: now}
		}
	}
	if a.Own != nil {
		x.own[a.Own.Number%lanes.WindowHeaders] = meteredBatch{a.Own.Number, now, len(a.Own.Payload.Txs)}
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
func (x *meter) turn(now protocols.Time, s replica.Status) {
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
	for h := max(x.seen.Certified+1, s.Certified-min(s.Certified, meteredBlocks)); h <= s.Certified; h++ {
		if b := &x.blocks[h%meteredBlocks]; b.height == h && b.executed != 0 {
			x.Certified.Observe(now.Sub(b.executed), b.txs)
		}
	}
}

// executed is called after the core has handled an executed block.
func (x *meter) executed(now protocols.Time, d *driver.Executed) {
	h, txs := d.Block.Header.Height, len(d.Block.Receipts)
	b := &x.blocks[h%meteredBlocks]
	if b.height != h {
		return // overwritten
	}
	b.executed, b.txs = now, txs
	x.Executed.Observe(now.Sub(b.committed), txs)
	if h <= x.seen.Certified { // others were faster
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
		x.eachOwn(max(was.Certified, l.Ordered), l.Certified, func(b *meteredBatch) { x.Certificate.Observe(now.Sub(b.made), b.txs) })
	}
	if l.Ordered > was.Ordered {
		x.eachOwn(was.Ordered, l.Ordered, func(b *meteredBatch) { x.Commit.Observe(now.Sub(b.made), b.txs) })
	}
}

// eachOwn calls do for the own batches above one number and up to another that were made since the start.
func (x *meter) eachOwn(above, to uint64, do func(b *meteredBatch)) {
	for n := max(above, to-min(to, lanes.WindowHeaders)) + 1; n <= to; n++ {
		if b := &x.own[n%lanes.WindowHeaders]; b.number == n {
			do(b)
		}
	}
}

// took counts the time from a request to the final receipt of a transaction.
func (e *Engine) took(d time.Duration) {
	e.latencies.add(time.Now(), d)
	e.measures.Final.Observe(d, 1)
}

// accepted counts the time from a request to the batch of a transaction on disk.
func (e *Engine) accepted(d time.Duration) { e.measures.Batched.Observe(d, 1) }

// Measures are the durations since the start.
func (e *Engine) Measures() *Measures { return e.measures }
