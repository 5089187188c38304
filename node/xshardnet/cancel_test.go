package xshardnet

import (
	"context"
	"slices"
	"testing"
	"time"

	"bdtnode/internal/digest"
	"bdtnode/ledger"
	"bdtnode/node/engine"
	"bdtnode/shard/settlement"
)

// cancellable makes a transaction with an input in each of two shards, and consumes its input in shard 1 by another one.
func (w *world) cancellable(ctx context.Context, n int) *ledger.Tx {
	w.t.Helper()
	tx := w.pay(n, []int{0, 1}, []int{0})
	w.consume(ctx, n)
	return tx
}

// consume settles a transaction that spends output n of the owner in shard 1, like the transactions that pay makes with n.
func (w *world) consume(ctx context.Context, n int) {
	w.t.Helper()
	rival := w.pay(n, []int{1}, []int{1})
	if p := w.members[1][0].engine.Submit(ctx, "", []*ledger.Tx{rival}, engine.Final)[0]; p.Receipt.Verdict != ledger.VerdictSettled {
		w.t.Fatalf("the rival: %+v", p)
	}
	for _, m := range w.members[1] {
		w.until(ctx, func() bool {
			_, ok, err := m.state.Receipt(rival.ID())
			return err == nil && ok
		})
	}
}

func (w *world) until(ctx context.Context, ok func() bool) {
	w.t.Helper()
	for !ok() {
		if ctx.Err() != nil {
			w.t.Fatal("it takes too long")
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// cls is the number of replicas of shard 1 that give a CL for a transaction.
func (w *world) cls(tx *ledger.Tx) (n int) {
	for _, m := range w.members[1] {
		err := m.engine.Exchange().ServeCLs([]digest.Digest{digest.Digest(tx.ID())}, func(*settlement.CL) error { n++; return nil })
		if err != nil {
			w.t.Error(err)
		}
	}
	return n
}

// TestCancelledWithoutConsensus: the client brings a transaction to shard 1, whose input is consumed. The CL makes shard 0
// refuse it, and neither shard orders anything for it.
func TestCancelledWithoutConsensus(t *testing.T) {
	w := newWorld(t)
	defer w.close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tx := w.cancellable(ctx, 0)
	heights := func() (out []uint64) {
		for s := range shards {
			for _, m := range w.members[s] {
				out = append(out, m.state.Height())
			}
		}
		return out
	}
	before := heights()
	p := w.members[1][2].engine.Submit(ctx, "", []*ledger.Tx{tx}, engine.Final)[0]
	if p.Refusal == nil || p.Refusal.Reason != ledger.ReasonConsumed {
		t.Fatalf("shard 1: %+v", p)
	}
	w.until(ctx, func() bool { return w.heard[0].Load() > 0 }) // the CL; no LD is due
	for _, m := range w.members[0] {
		if p := m.engine.Submit(ctx, "", []*ledger.Tx{tx}, engine.Logged)[0]; p.Refusal == nil || p.Refusal.Reason != ledger.ReasonCancelled {
			t.Errorf("shard 0: %+v", p)
		}
	}
	if after := heights(); !slices.Equal(before, after) {
		t.Errorf("heights %v before, %v after", before, after)
	}
}

// TestEscrowReturnsByPulledCL: gossip loses the CL, and shard 1 has no quorum, so its verdict cannot come. A replica of
// shard 0 asks for the CL, and the escrow returns. The record stays open until shard 1 gives its verdict.
func TestEscrowReturnsByPulledCL(t *testing.T) {
	w := newWorld(t)
	defer w.close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tx := w.cancellable(ctx, 0)
	w.deaf.Store(true)
	w.members[1][1].engine.Submit(ctx, "", []*ledger.Tx{tx}, engine.Final)
	w.until(ctx, func() bool { return w.cls(tx) == replicas })
	w.members[1][2].dead.Store(true)
	w.members[1][3].dead.Store(true)
	p := w.members[0][1].engine.Submit(ctx, "", []*ledger.Tx{tx}, engine.Final)[0]
	if p.Receipt.Verdict != ledger.VerdictReturned || p.Receipt.Reason != ledger.ReasonCancelled {
		t.Fatalf("shard 0: %+v", p)
	}
	part, _, err := w.members[0][1].state.Part(tx.ID())
	if err != nil || !part.Open || part.Of(1).Verdict != 0 {
		t.Fatalf("the record after the CL: %+v, %v", part, err)
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
	w.until(ctx, func() bool {
		part, _, err := w.members[0][1].state.Part(tx.ID())
		return err == nil && part.Of(1).Verdict == ledger.VerdictRejected
	})
	if r, _, err := w.members[0][1].state.Receipt(tx.ID()); err != nil || r.Reason != ledger.ReasonCancelled {
		t.Errorf("the receipt after the verdict: %+v, %v", r, err)
	}
}
