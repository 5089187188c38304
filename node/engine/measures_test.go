package engine

import (
	"testing"
	"time"

	"bdtnode/internal/histogram"
	"bdtnode/ledger"
	"bdtnode/node/clients"
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

// TestMeasuresCountEachTransactionOnce: each stage counts each transaction once. Stages of the own lane count at the
// replica that made the batch, stages of blocks at every replica.
func TestMeasuresCountEachTransactionOnce(t *testing.T) {
	c := newCluster(t)
	c.startAll()
	defer c.stopAll()
	const count = 20
	c.settle(0, count, 1)
	for i, m := range c.nodes {
		x := m.up().Measures()
		own := uint64(0)
		if i == 1 {
			own = count
		}
		for name, want := range map[string]struct {
			h *histogram.Histogram
			n uint64
		}{
			"admission": {x.Admission, own}, "batched": {x.Batched, own}, "commit": {x.Commit, own}, "final": {x.Final, own},
			"executed": {x.Executed, count}, "certified": {x.Certified, count},
		} {
			c.until(name, func() bool { return want.h.Read().Count >= want.n })
			if got := want.h.Read(); got.Count != want.n || want.n > 0 && (got.Sum < 0 || got.Sum > int64(count*time.Minute)) {
				t.Errorf("replica %d: %s has %+v, want %d values", i, name, got, want.n)
			}
		}
		if n := x.Certificate.Read().Count; n > own {
			t.Errorf("replica %d: %d certificates of %d transactions", i, n, own)
		}
		if q, f := x.Quorum.Read().Count, x.Finalize.Read().Count; q == 0 || f == 0 || f > q {
			t.Errorf("replica %d: %d slots with a QC, %d committed", i, q, f)
		}
		c.until("round trips", func() bool { return x.RoundTrip.Read().Count > 0 })
	}
}

// TestTraceHasEveryStage: the trace of the replica that made a batch has all its times, those of the others have its
// arrival, and all have the times of the block, in order.
func TestTraceHasEveryStage(t *testing.T) {
	c := newCluster(t)
	c.startAll()
	defer c.stopAll()
	c.settle(0, 1, 1)
	for i, m := range c.nodes {
		log := m.up().Trace()
		c.until("a certified block", func() bool { return log.Block(1).Certified != 0 })
		made := log.Arrival(1, 1)
		if i == 1 {
			b, ok := log.Own(1)
			if !ok || b.Txs != 1 || b.Submitted.First == 0 || b.Submitted.First > b.Admitted.First || b.Admitted.Last > b.Made {
				t.Errorf("batch %+v", b)
			}
			made = b.Made
		}
		b := log.Block(1)
		if made == 0 || made > b.Committed || b.Committed > b.Executed || b.Txs != 1 {
			t.Errorf("replica %d: made or arrived at %d, block %+v", i, made, b)
		}
		if at := m.up().WallUS()(b.Executed); at > m.up().NowUS() || at < m.up().NowUS()-int64(time.Hour/time.Microsecond) {
			t.Errorf("replica %d: executed at %d, now is %d", i, at, m.up().NowUS())
		}
	}
}

// TestLDsAreTraced: the meter notes the first arrival of an LD, the block that orders it, and the LDs that a block makes.
func TestLDsAreTraced(t *testing.T) {
	x := &meter{Measures: newMeasures(), log: trace.New(), seen: replica.Status{Epoch: 1}}
	var a driver.Action
	ref := inbound.Ref{Source: 2, Tip: lanes.Tip{Seq: 7}}
	a.Out = []replica.Output{{Deliver: &bdt.Delivery{Block: &bolt.Block{Height: 9}, LDs: []inbound.Ref{ref}}}}
	x.made(5, &a)
	out := ledger.Outgoing{Delivery: &ledger.Delivery{Destination: 3, Number: 4}}
	x.executed(6, &execution.Executed{Block: &ledger.Block{Header: ledger.Header{Height: 9}, Outbox: []ledger.Outgoing{out}}})
	x.headersCertified(8, replica.Status{Certified: 9})
	if got := x.log.Incoming(2, 7); got.Height != 9 {
		t.Errorf("%+v", got)
	}
	if got := x.log.Outgoing(3, 9); len(got) != 1 || got[0].Number != 4 || x.log.Block(9).Certified != 8 {
		t.Errorf("%+v", got)
	}
}

// TestMeasuresOfAnEnd: the end of an epoch has a cause, a duration and rounds.
func TestMeasuresOfAnEnd(t *testing.T) {
	c := newCluster(t)
	c.startAll()
	defer c.stopAll()
	c.settle(0, 1, 1)
	c.nodes[0].kill() // the leader
	c.settle(1, 2, 1)
	for _, m := range c.nodes[1:] {
		e := m.up()
		c.until("the end of the epoch", func() bool { return e.Status().Ends.Last.Epoch > 0 })
		ends := e.Status().Ends
		if ends.Last.Leader != 0 || ends.Count[bdt.Patience]+ends.Count[bdt.Followed]+ends.Count[bdt.Decided] == 0 {
			t.Errorf("%+v", ends)
		}
		if r := e.Measures().Rounds.Read(); r.Count == 0 || r.Sum < int64(r.Count) {
			t.Errorf("rounds %+v", r)
		}
	}
}

// TestMeterAllocatesNothing: the meter costs no allocation for a batch, a block or a message.
func TestMeterAllocatesNothing(t *testing.T) {
	x := &meter{Measures: newMeasures(), log: trace.New(), seen: replica.Status{Epoch: 1}}
	block := &bolt.Block{Height: 1, Epoch: 1, Slot: 1}
	a := driver.Action{Own: &clients.OwnBatch{Number: 1, Payload: &ledger.Payload{Txs: make([]*ledger.Tx, 10)}}}
	a.Broadcast(&bolt.Propose{Block: block})
	a.Broadcast(&bolt.Finalize{Epoch: 1, Slot: 1})
	a.Out = []replica.Output{{Deliver: &bdt.Delivery{Block: block}}}
	done := &execution.Executed{Block: &ledger.Block{Header: ledger.Header{Height: 1}, Receipts: make([]ledger.Receipt, 10)}}
	now := protocols.Time(1)
	if n := testing.AllocsPerRun(100, func() {
		now = now.Add(time.Millisecond)
		x.made(now, &a)
		x.executed(now, done)
		x.slotsCommitted(now, replica.Status{Epoch: 1, Slot: 1})
		x.headersCertified(now, replica.Status{Certified: 1})
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestOtherProposalsAreNotMeasured: only the leader of the present epoch begins the measurement of a slot.
func TestOtherProposalsAreNotMeasured(t *testing.T) {
	x := &meter{Measures: newMeasures(), log: trace.New(), seen: replica.Status{Epoch: 3, Leader: 1}}
	x.proposed(5, 3, 1)
	x.proposed(9, 3, 1) // sent again
	var a driver.Action
	a.Broadcast(&bolt.Finalize{Epoch: 3, Slot: 1})
	a.Broadcast(&bolt.Finalize{Epoch: 2, Slot: 2}) // no proposal was noted
	a.Send(2, &bolt.Finalize{Epoch: 3, Slot: 1})   // sent again
	x.made(protocols.Time(5).Add(4*time.Millisecond), &a)
	x.made(protocols.Time(5).Add(6*time.Millisecond), &a)
	if q := x.Quorum.Read(); q.Count != 1 || q.Sum != int64(4*time.Millisecond) {
		t.Errorf("%+v", q)
	}
}
