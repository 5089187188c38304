package node

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
	"bdtnode/internal/sig"
	"bdtnode/ledger"
	"bdtnode/node/api"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/committeetest"
	"bdtnode/protocols/inbound"
	"bdtnode/protocols/lanes"
	"bdtnode/shard/settlement"
)

// searched is a store with blocks for a search.
type searched struct {
	t      *testing.T
	scheme *sig.Ideal
	search blockSearch
	store  *kv.Mem
	last   *bolt.Block
}

func newSearched(t *testing.T) *searched {
	t.Helper()
	scheme := sig.NewIdeal(1)
	committee := committeetest.Ideal(t, scheme, 100, 4, digest.Of("test"), 0)
	genesis := bolt.Genesis(committee, 1, 2)
	s := &searched{t: t, scheme: scheme, store: kv.NewMem(), last: genesis}
	s.search = blockSearch{committee: committee, store: s.store, genesis: genesis}
	return s
}

func (s *searched) tx(i uint64) *ledger.Tx {
	s.t.Helper()
	owner := s.scheme.Signer(i)
	tx, err := (&ledger.Body{
		Network: s.search.committee.Network(), ExpiryMS: i + 1, Inputs: []ledger.Input{{Key: owner.Public(), Amount: 1}},
		Outputs: []ledger.Output{{Amount: 1}},
	}).Sign(owner)
	if err != nil {
		s.t.Fatal(err)
	}
	return tx
}

func (s *searched) put(key, value []byte) {
	s.t.Helper()
	var b kv.Batch
	b.Set(key, value)
	if err := s.store.Apply(&b, true); err != nil {
		s.t.Fatal(err)
	}
}

// batch stores the next batch of a lane after a tip.
func (s *searched) batch(lane protocols.Index, after lanes.Tip, txs ...*ledger.Tx) lanes.Tip {
	s.t.Helper()
	var raws [][]byte
	for _, tx := range txs {
		raws = append(raws, tx.Encode())
	}
	b := lanes.NewBatch(s.search.committee, s.scheme.Signer(100+uint64(lane)), lanes.Header{Lane: lane, Seq: after.Seq + 1, Parent: after.Digest, Count: uint32(len(txs))}, ledger.EncodePayload(raws))
	s.put(lanes.StoredKey(lane, b.Tip()), b.Stored())
	return b.Tip()
}

// ld stores the next LD of shard 1 after a tip.
func (s *searched) ld(after lanes.Tip, txs ...*ledger.Tx) lanes.Tip {
	s.t.Helper()
	d := ledger.Delivery{Source: 1, Destination: 0, Number: after.Seq + 1, Previous: after.Digest}
	for _, tx := range txs {
		d.Entries = append(d.Entries, ledger.Entry{Verdict: ledger.VerdictSpent, Tx: tx})
	}
	x := &settlement.LD{Delivery: ledger.NewDelivery(d)}
	m := &inbound.LD{Source: 1, Number: d.Number, Digest: x.Digest(), Previous: after.Digest, Raw: x.Encode()}
	s.put(inbound.StoredKey(1, m.Tip()), m.EncodeStored())
	return m.Tip()
}

// commit stores a block that extends the cut of the last one.
func (s *searched) commit(cut, in lanes.Cut) {
	s.t.Helper()
	b := *s.last
	b.Height++
	b.Epoch, b.Slot, b.Last, b.Cut, b.Inbound = 1, b.Height, false, cut, in
	s.put(bdt.CommitKey(b.Height), b.Append(nil))
	s.last = &b
}

// TestSearchOfABlock: the batch and the LD with a transaction are found among several of a block, and in no other block.
// Missing data makes the answer incomplete.
func TestSearchOfABlock(t *testing.T) {
	s := newSearched(t)
	one, two, three, none := s.tx(1), s.tx(2), s.tx(3), s.tx(4)
	a1 := s.batch(0, lanes.Tip{}, one)
	b1 := s.batch(2, lanes.Tip{}, s.tx(5))
	b2 := s.batch(2, b1, s.tx(6), two)
	b3 := s.batch(2, b2, s.tx(7))
	l1 := s.ld(lanes.Tip{}, s.tx(8))
	l2 := s.ld(l1, three)
	l3 := s.ld(l2, s.tx(9))
	s.commit(lanes.Cut{a1, {}, {}, {}}, lanes.Cut{{}, {}})
	s.commit(lanes.Cut{a1, {}, b3, {}}, lanes.Cut{{}, l3})
	for _, c := range []struct {
		tx     *ledger.Tx
		height uint64
		want   *foundBatch
	}{{one, 1, &foundBatch{0, 1}}, {one, 2, nil}, {two, 1, nil}, {two, 2, &foundBatch{2, 2}}, {none, 2, nil}} {
		s.search.id = c.tx.ID()
		got, err := s.search.batchOf(c.height)
		if err != nil || (got == nil) != (c.want == nil) || got != nil && *got != *c.want || s.search.incomplete {
			t.Errorf("height %d: %+v, %v, want %+v, incomplete %v", c.height, got, err, c.want, s.search.incomplete)
		}
	}
	for id, want := range map[ledger.TxID]uint64{three.ID(): 2, none.ID(): 0} {
		s.search.id = id
		if got, err := s.search.ldOf(1, 2); err != nil || got != want || s.search.incomplete {
			t.Errorf("LD %d, %v, want %d", got, err, want)
		}
	}
	s.search.id = one.ID()
	if got, err := s.search.batchOf(3); err != nil || got != nil || !s.search.incomplete {
		t.Errorf("a block that is not here: %+v, %v", got, err)
	}
	s.search.incomplete = false
	var b kv.Batch
	b.Delete(lanes.StoredKey(2, b2))
	if err := s.store.Apply(&b, true); err != nil {
		t.Fatal(err)
	}
	s.search.id = two.ID()
	if got, err := s.search.batchOf(2); err != nil || got != nil || !s.search.incomplete {
		t.Errorf("a batch that is not here: %+v, %v", got, err)
	}
}

// TestTracesTakeTurns: one trace reads at a time, and traces take at most a fifth of the time. One whose turn does not come
// in time is answered as unavailable.
func TestTracesTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTracer()
		running, most, done := 0, 0, make(chan error, 20)
		began := time.Now()
		for range 20 {
			go func() {
				ctx, cancel := context.WithTimeout(t.Context(), traceTime)
				defer cancel()
				done <- x.do(ctx, func() error {
					running++
					most = max(most, running)
					time.Sleep(90 * time.Millisecond)
					running--
					return nil
				})
			}()
		}
		served := 0
		for range 20 {
			switch err := <-done; {
			case err == nil:
				served++
			case !errors.Is(err, api.ErrUnavailable):
				t.Error(err)
			}
		}
		if most != 1 || served != 5 || time.Since(began) > traceTime+time.Second {
			t.Errorf("%d served, %d at a time, after %v", served, most, time.Since(began))
		}
	})
}
