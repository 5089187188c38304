package replica

import (
	"bytes"
	"testing"

	"bdtnode/internal/kv"
	"bdtnode/ledger"
	"bdtnode/protocols"
	"bdtnode/protocols/inbound"
	"bdtnode/shard/settlement"
)

// told is an LD of shard 1 to shard 0.
func told(b *bench, number, applied uint64) *settlement.LD {
	d := ledger.Delivery{Source: 1, Destination: 0, Number: number, Applied: applied}
	if number > 1 {
		d.Previous[0] = 1
	}
	return &settlement.LD{Header: ledger.Header{Network: b.c.Network(), Shard: 1}, Certificate: protocols.Certificate{}, Count: 1, Delivery: ledger.NewDelivery(d)}
}

// TestEvidenceIsKeptAndTold: evidence is first stored on disk. It goes into the next batch of the own lane, once
// between two starts, with or without transactions, and again after a restart, until its channel is frozen.
func TestEvidenceIsKeptAndTold(t *testing.T) {
	b := newBench(t, 4, 0, "")
	n := settlement.NetworkOf([]*protocols.Committee{b.c, b.c})
	store := kv.NewMem()
	one := settlement.Contradict(n, told(b, 1, 0), told(b, 1, 1))
	two := settlement.Contradict(n, told(b, 2, 0), told(b, 2, 1))
	core := b.restore(t, 1, nil, store)
	if core.Notices() != 0 {
		t.Error("something to tell at the start")
	}
	st := core.Witness(one)
	if len(st.Persist) != 1 || !bytes.Equal(st.Persist[0].Value, one.Encode()) {
		t.Fatalf("not kept: %+v", st)
	}
	b.run(t, core, store, st)
	if st := core.Witness(two); len(st.Persist) > 0 {
		t.Error("a second piece of one kind is kept: what a shard can have kept is not bounded")
	}
	want := ledger.EncodePayload(nil, ledger.RawNotice{Kind: ledger.KindEvidence, Content: one.Encode()})
	if got := ledger.PayloadSize(0, 0) + core.Notices(); got != len(want) {
		t.Errorf("%d bytes are announced, the payload has %d", got, len(want))
	}
	if ok, _ := core.WantsBatch(t0, core.Notices()); !ok {
		t.Fatal("no batch is wanted")
	}
	if _, batch, _ := core.Append(t0, nil); !bytes.Equal(batch.Payload, want) || batch.Count != 1 {
		t.Errorf("the batch has %d entries, %x", batch.Count, batch.Payload)
	}
	if core.Notices() != 0 {
		t.Error("told twice in one life")
	}
	again := b.restore(t, 1, nil, store)
	if again.Notices() == 0 {
		t.Error("a restart forgets evidence that is not ordered")
	}
	if st := again.Witness(one); len(st.Persist) > 0 {
		t.Error("kept twice")
	}
	again.evidence.froze([]ledger.Freeze{{Source: 1}})
	if again.Notices() != 0 || len(again.Witness(two).Persist) > 0 {
		t.Error("evidence against a shard whose channel is frozen is told")
	}
}

// TestABlockIsAskedFor: while verdicts wait for blocks to carry them, the replica asks for one more block after each
// executed block, in a batch without other entries if there are none.
func TestABlockIsAskedFor(t *testing.T) {
	b := newBench(t, 4, 0, "")
	core := b.restore(t, 1, nil, kv.NewMem())
	if core.Notices() != 0 {
		t.Error("a block is asked for and nothing waits")
	}
	core.more = true // as a block leaves it, or a restart
	want := ledger.EncodePayload(nil, ledger.RawNotice{Kind: ledger.KindContinue})
	if _, batch, _ := core.Append(t0, nil); !bytes.Equal(batch.Payload, want) || batch.Count != 1 {
		t.Errorf("the batch has %d entries, %x", batch.Count, batch.Payload)
	}
	if core.Notices() != 0 {
		t.Error("asked for twice")
	}
	n := settlement.NetworkOf([]*protocols.Committee{b.c, b.c})
	if p, err := ledger.CheckPayload(n.Kinds(0), b.scheme, b.c.Network(), want); err != nil || p.Len() != 1 {
		t.Errorf("the payload is refused: %v", err)
	}
}

// TestContradiction: two LDs under one number are evidence, in either order. One LD under two certificates is not.
func TestContradiction(t *testing.T) {
	b := newBench(t, 4, 0, "")
	n := settlement.NetworkOf([]*protocols.Committee{b.c, b.c})
	store := kv.NewMem()
	put := func(ld *settlement.LD) *Inbound {
		x := NewInbound(ld)
		var batch kv.Batch
		batch.Set(inbound.StoredKey(1, x.Tip()), x.EncodeStored())
		if err := store.Apply(&batch, true); err != nil {
			t.Fatal(err)
		}
		return x
	}
	first := put(told(b, 7, 0))
	put(told(b, 8, 0))
	for name, c := range map[string]struct {
		ld   *settlement.LD
		want bool
	}{
		"the same":        {told(b, 7, 0), false},
		"another":         {told(b, 7, 1), true},
		"a number before": {told(b, 6, 1), false},
		"another, later":  {told(b, 8, 1), true},
	} {
		e, err := Contradiction(store, n, NewInbound(c.ld))
		if err != nil || (e != nil) != c.want {
			t.Errorf("%s: %v, %v", name, e, err)
		}
		if e != nil && (e.Other.Digest() != c.ld.Digest() || e.LD.Digest() == c.ld.Digest()) {
			t.Errorf("%s: evidence of other LDs", name)
		}
	}
	put(told(b, 7, 1))
	if e, err := Contradiction(store, n, first); err != nil || e == nil {
		t.Errorf("with both in the store: %v, %v", e, err)
	}
}
