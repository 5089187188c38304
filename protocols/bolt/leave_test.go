package bolt

import (
	"testing"

	"bdtnode/internal/wire"
	"bdtnode/protocols"
)

// TestLeft: a replica that left sends nothing more but still counts: it makes QCs, and n-f Finalize messages commit.
func TestLeft(t *testing.T) {
	b := newBench(t, 4)
	m, _ := b.machine(1)
	chain := b.chain(b.genesis, 3)
	m.HandlePropose(t0, 0, b.propose(chain[0]))
	m.HandlePropose(t0, 0, b.propose(chain[1]))
	m.Leave()
	var steps []Step
	steps = append(steps, m.HandlePropose(t0, 0, b.propose(chain[2])), m.Progress(t0), m.Executed(t0, 0))
	steps = append(steps, b.votes(m, chain[0], 2, 3)...) // a QC together with the own vote
	steps = append(steps, b.votes(m, chain[1], 0, 3)...)
	for _, st := range steps {
		if len(sent[*Vote](st))+len(sent[*Finalize](st))+len(sent[*Propose](st)) > 0 || len(st.Persist) > 0 {
			t.Errorf("after leaving: %+v", st)
		}
	}
	if m.slots.kept[1].qc == nil || m.HighestQC() != nil {
		t.Error("n-f votes make no QC, or HighestQC claims a Finalize")
	}
	if got := committed(b.finalizes(m, chain[1], 0, 3)...); len(got) != 2 || m.CommittedSlot() != 2 {
		t.Errorf("%d blocks are committed upon n-f Finalize messages", len(got))
	}
	lead, d := b.machine(0)
	lead.Leave()
	d.grow = 1
	if p := sent[*Propose](lead.Progress(t0)); len(p) != 0 {
		t.Error("a leader that left proposes")
	}
}

// TestTopOutlivesItsSlot: the highest QC for which Finalize was sent is known after the records of its slot are
// deleted, and after a crash.
func TestTopOutlivesItsSlot(t *testing.T) {
	b := newBench(t, 4)
	m, _ := b.machine(1)
	d := disk{}
	chain := b.chain(b.genesis, 2)
	for _, x := range chain {
		d.keep(m.HandlePropose(t0, 0, b.propose(x)))
	}
	d.keep(b.votes(m, chain[1], 2, 3)...)
	d.keep(b.votes(m, chain[0], 2, 3)...) // a later QC of a lower slot changes nothing
	d.keep(b.finalizes(m, chain[1], 2, 3)...)
	d.keep(m.Certified(chain[1]))
	r, err := Restore(b.config(1, &data{}), chain[1], 2, d.stored)
	if err != nil {
		t.Fatal(err)
	}
	for name, x := range map[string]*Machine{"before": m, "after": r} {
		q := x.HighestQC()
		if q == nil || q.Slot != 2 || q.Digest != chain[1].digest {
			t.Fatalf("%s a crash the highest QC is %+v", name, q)
		}
		if checks, err := q.SignatureChecks(b.c); err != nil || !b.scheme.VerifyAll(checks) {
			t.Errorf("%s a crash the highest QC does not verify", name)
		}
	}
	d.keep(m.Forget())
	if len(d) != 1 { // the record of data.Lock
		t.Errorf("after Forget there are %d records, want 1", len(d))
	}
}

// TestDecide: the decided block and all blocks before it are committed as soon as they are held. Missing ones are requested
// from all replicas.
func TestDecide(t *testing.T) {
	b := newBench(t, 4)
	m, _ := b.machine(1)
	chain := b.chain(b.genesis, 3)
	var voters protocols.Set
	for i := range protocols.Index(3) {
		voters.Add(i)
	}
	if got := committed(m.Decide(t0, chain[2], voters)); len(got) != 0 {
		t.Fatalf("%d blocks are committed although two are missing", len(got))
	}
	asked := make(map[protocols.To]bool)
	for now := t0; now < t0.Add(5*fetchRetryMax); now = m.Wake() {
		for _, x := range m.Tick(now).Sends {
			if f := x.Message.(*FetchBlock); f.Digest != chain[1].digest {
				t.Fatalf("requests %s", f.Digest.Short())
			}
			asked[x.To] = true
		}
	}
	if len(asked) != 3 || asked[1] {
		t.Errorf("requests from %v", asked)
	}
	if got := committed(m.HandlePropose(t0, 2, b.propose(chain[1]))); len(got) != 0 {
		t.Fatal("committed although a block is missing")
	}
	st := m.HandlePropose(t0, 2, b.propose(chain[0]))
	if got := committed(st); len(got) != 3 || got[2].digest != chain[2].digest || m.Base().digest != chain[2].digest {
		t.Errorf("%d blocks are committed", len(got))
	}
	if s := st.Out[2].Signers; !s.Has(0) || s.Has(1) || s.Has(3) {
		t.Errorf("the signers of the block are %v", s.Members())
	}
	if v := sent[*Vote](st); len(v) != 0 {
		t.Error("votes in a decided epoch")
	}
}

// TestDecidedBelowTheCommitted: a decision that would lose or replace a committed block panics.
func TestDecidedBelowTheCommitted(t *testing.T) {
	b := newBench(t, 4)
	chain := b.chain(b.genesis, 2)
	for name, x := range map[string]*Block{"the base": b.genesis, "slot 1": chain[0], "another block": b.block(chain[0], 7)} {
		m, _ := b.machine(1)
		for _, y := range chain {
			m.HandlePropose(t0, 0, b.propose(y))
		}
		b.finalizes(m, chain[1], 0, 3)
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("slot 2 is committed and %s is decided: no panic", name)
				}
			}()
			m.Decide(t0, x, protocols.Set{})
		}()
	}
}

// TestLastSlot: neither the leader nor a voter goes beyond the last slot of the epoch.
func TestLastSlot(t *testing.T) {
	b := newBench(t, 4)
	d := &data{}
	cfg := b.config(0, d)
	cfg.Slots = 2
	lead := New(cfg, b.genesis, 0)
	count := 0
	for k := range uint64(5) {
		d.grow = k + 1
		count += len(sent[*Propose](lead.Progress(t0.Add(MaxGap * 10 * (1 + 1<<k)))))
	}
	if count != 2 || lead.LastSlotCommitted() {
		t.Errorf("%d slots are proposed, want 2; LastSlotCommitted is %v", count, lead.LastSlotCommitted())
	}
	cfg = b.config(1, &data{})
	cfg.Slots = 2
	m := New(cfg, b.genesis, 0)
	chain := b.chain(b.genesis, 3)
	for k, x := range chain {
		if v := sent[*Vote](m.HandlePropose(t0, 0, b.propose(x))); len(v) != 1 && k < 2 || len(v) != 0 && k == 2 {
			t.Errorf("slot %d of 2: %d votes", k+1, len(v))
		}
	}
	b.finalizes(m, chain[1], 0, 3)
	if !m.LastSlotCommitted() {
		t.Error("the last slot is committed but LastSlotCommitted is false")
	}
}

// TestLowestOpenSlot: LowestOpenSlot is the lowest slot for which the leader proposed. A single vote or Finalize does
// not open a slot.
func TestLowestOpenSlot(t *testing.T) {
	b := newBench(t, 4)
	m, _ := b.machine(1)
	chain := b.chain(b.genesis, 3)
	m.HandleVote(t0, 2, b.vote(2, chain[0]))
	m.HandleFinalize(t0, 2, finalizeOf(chain[0]))
	if m.LowestOpenSlot() != 0 {
		t.Error("the vote of one replica opens a slot")
	}
	m.HandlePropose(t0, 0, b.propose(chain[1]))
	if m.LowestOpenSlot() != 2 {
		t.Errorf("slot %d is open, want 2", m.LowestOpenSlot())
	}
	m.HandlePropose(t0, 0, b.propose(chain[0]))
	b.finalizes(m, chain[0], 0, 3)
	if m.LowestOpenSlot() != 2 {
		t.Errorf("slot %d is open after 1 is committed, want 2", m.LowestOpenSlot())
	}
}

// TestLastBlockEncoding: a last block has no slot, and a block with a slot is not last. A proposal cannot contain a last
// block.
func TestLastBlockEncoding(t *testing.T) {
	b := newBench(t, 4)
	x := b.block(b.genesis, 0)
	last := NewLast(b.c, 1, x, x.TimeMS-1, x.Cut, x.Inbound)
	if last.TimeMS != x.TimeMS || last.Height != 2 || last.Parent != x.digest {
		t.Errorf("%+v", last)
	}
	if _, err := DecodePropose(b.c, b.propose(last).Append(nil)); err == nil {
		t.Error("a proposal with a last block decodes")
	}
	for name, spoil := range map[string]func([]byte){
		"of an unknown kind":           func(raw []byte) { raw[0] = 3 },
		"of kind slot, without a slot": func(raw []byte) { raw[0] = kindSlot },
		"of kind last, with a slot":    func(raw []byte) { raw[16] = 1 },
	} {
		raw := last.Append(nil)
		spoil(raw)
		if _, err := readBlock(b, raw); err == nil {
			t.Errorf("a block %s decodes", name)
		}
	}
	if got, err := readBlock(b, last.Append(nil)); err != nil || got.digest != last.digest {
		t.Errorf("the last block decodes to another: %v", err)
	}
}

func readBlock(b *bench, raw []byte) (*Block, error) {
	r := wire.NewReader(raw)
	x := ReadBlock(b.c, r)
	return x, r.Done()
}
