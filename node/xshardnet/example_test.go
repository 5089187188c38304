package xshardnet

import (
	"context"
	"slices"
	"testing"

	"bdtnode/ledger"
	"bdtnode/node/engine"
)

// The worked example of the design (§6.10) between real engines: inputs in shards 1 and 2, of which the one in shard 1 is
// consumed, and the output in shard 0. The tests of shard/settlement enumerate the orders of its events.

// example makes the transaction, and consumes its input in shard 1.
func (w *world) example(ctx context.Context) *ledger.Tx {
	w.t.Helper()
	tx := w.pay(0, []int{1, 2}, []int{0})
	w.consume(ctx, 0)
	return tx
}

// ended waits until all replicas of shard 2 have returned the escrow, and no replica of any shard lacks a verdict. It fails
// if shard 0 has the output.
func (w *world) ended(ctx context.Context, tx *ledger.Tx, reason ledger.Reason) {
	w.t.Helper()
	for s := range shards {
		for _, m := range w.members[s] {
			w.until(ctx, func() bool {
				part, known, err := m.state.Part(tx.ID())
				return err == nil && known && part.Complete()
			})
		}
	}
	for _, m := range w.members[2] {
		if r, _, err := m.state.Receipt(tx.ID()); err != nil || r.Verdict != ledger.VerdictReturned || r.Reason != reason {
			w.t.Errorf("receipt %+v, %v, want returned with %v", r, err, reason)
		}
		back, ok, err := m.state.Output(ledger.AddressOf(tx.Inputs[1].Key), ledger.ReturnedOutpoint(tx.ID(), tx.Inputs[1].Outpoint))
		if err != nil || !ok || back != tx.Inputs[1].Amount {
			w.t.Errorf("the returned output: %+v, %v, %v", back, ok, err)
		}
	}
	for _, m := range w.members[0] {
		if _, ok, err := m.state.Output(tx.Outputs[0].Address, ledger.Outpoint{Tx: tx.ID()}); ok || err != nil {
			w.t.Errorf("the output of the transaction exists: %v, %v", ok, err)
		}
	}
}

// TestExampleOrderedByNobody: the CL of shard 1 comes before shard 2 orders the transaction. No shard makes a block.
func TestExampleOrderedByNobody(t *testing.T) {
	w := newWorld(t)
	defer w.close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tx := w.example(ctx)
	heights := func() (out []uint64) {
		for s := range shards {
			for _, m := range w.members[s] {
				out = append(out, m.state.Height())
			}
		}
		return out
	}
	before := heights()
	if p := w.members[1][1].engine.Submit(ctx, "", []*ledger.Tx{tx}, engine.Final)[0]; p.Refusal == nil || p.Refusal.Reason != ledger.ReasonConsumed {
		t.Fatalf("shard 1: %+v", p)
	}
	w.until(ctx, func() bool { return w.heard[2].Load() > 0 }) // the CL; no LD is due
	for _, m := range w.members[2] {
		if p := m.engine.Submit(ctx, "", []*ledger.Tx{tx}, engine.Final)[0]; p.Refusal == nil || p.Refusal.Reason != ledger.ReasonCancelled {
			t.Errorf("shard 2: %+v", p)
		}
	}
	if after := heights(); !slices.Equal(before, after) {
		t.Errorf("heights %v before, %v after", before, after)
	}
}

// TestExampleReturnedByVerdict: shard 2 alone is sent the transaction. Shard 1 hears of it by the LD of shard 2, and
// answers REJECTED. Nobody needs a CL.
func TestExampleReturnedByVerdict(t *testing.T) {
	for _, deaf := range []bool{false, true} {
		w := newWorld(t)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		tx := w.example(ctx)
		w.deaf.Store(deaf) // then all LDs are given or fetched
		p := w.members[2][1].engine.Submit(ctx, "", []*ledger.Tx{tx}, engine.Final)[0]
		if p.Receipt.Verdict != ledger.VerdictReturned {
			t.Errorf("shard 2: %+v", p)
		}
		w.ended(ctx, tx, ledger.ReasonConsumed)
		cancel()
		w.close()
	}
}

// TestExampleReturnedByCL: shard 2 has the transaction in escrow, and shard 1, which has no quorum, cannot answer. Its CL
// returns the escrow. The records close by the verdict that follows when shard 1 goes on.
func TestExampleReturnedByCL(t *testing.T) {
	for _, deaf := range []bool{false, true} {
		w := newWorld(t)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		tx := w.example(ctx)
		w.deaf.Store(true)
		w.members[1][1].engine.Submit(ctx, "", []*ledger.Tx{tx}, engine.Final)
		w.until(ctx, func() bool { return w.cls(tx) == replicas })
		w.deaf.Store(deaf) // the CL was lost; shard 2 asks for it
		w.members[1][2].dead.Store(true)
		w.members[1][3].dead.Store(true)
		p := w.members[2][0].engine.Submit(ctx, "", []*ledger.Tx{tx}, engine.Final)[0]
		if p.Receipt.Verdict != ledger.VerdictReturned || p.Receipt.Reason != ledger.ReasonCancelled {
			t.Errorf("shard 2: %+v", p)
		}
		if part, _, err := w.members[2][0].state.Part(tx.ID()); err != nil || !part.Open || part.Of(1).Verdict != 0 {
			t.Errorf("the record after the CL: %+v, %v", part, err)
		}
		for _, i := range []int{2, 3} {
			w.members[1][i].dead.Store(false)
			for k := range replicas {
				if k != i {
					w.members[1][i].engine.Connected(w.members[1][k].index)
					w.members[1][k].engine.Connected(w.members[1][i].index)
				}
			}
		}
		w.ended(ctx, tx, ledger.ReasonCancelled)
		cancel()
		w.close()
	}
}
