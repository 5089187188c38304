package bolt

import (
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/protocols"
)

// TestRestore: after a crash at any point a replica sends the same messages again and no others.
func TestRestore(t *testing.T) {
	b := newBench(t, 4)
	m, _ := b.machine(1)
	chain := b.chain(b.genesis, 3)
	z := b.block(b.genesis, 9)
	d := disk{}
	for _, x := range chain {
		d.keep(m.HandlePropose(t0, 0, b.propose(x)))
	}
	d.keep(b.votes(m, chain[0], 2, 3)...)
	r, err := Restore(b.config(1, &data{}), b.genesis, 0, d.stored)
	if err != nil {
		t.Fatal(err)
	}
	before, after := m.Resend(3), r.Resend(3)
	if len(before.Sends) != 4 || len(after.Sends) != len(before.Sends) {
		t.Fatalf("%d messages before the crash, %d after, want 4", len(before.Sends), len(after.Sends))
	}
	for k := range before.Sends {
		if string(before.Sends[k].Message.Append(nil)) != string(after.Sends[k].Message.Append(nil)) {
			t.Errorf("message %d differs after a crash", k)
		}
	}
	if v := sent[*Vote](r.HandlePropose(t0, 0, b.propose(z)), r.Progress(t0)); len(v) != 0 {
		t.Error("votes a second time in a slot")
	}
	if got := committed(b.finalizes(r, chain[0], 2, 3)...); len(got) != 1 {
		t.Error("the own Finalize from before the crash is not counted")
	}
	if c := sent[*Finalize](b.votes(r, chain[1], 2, 3)...); len(c) != 1 {
		t.Error("the own vote from before the crash is not counted")
	}

	for name, spoil := range map[string]func(disk){
		"a vote cut short":     func(d disk) { d[string(voteKey(1, 1))] = []byte{1} },
		"a QC cut short":       func(d disk) { d[string(finalizeKey(1, 1))] = d[string(finalizeKey(1, 1))][:50] },
		"a proposal cut short": func(d disk) { d[string(proposalKey(1, 1))] = d[string(proposalKey(1, 1))][:50] },
	} {
		bad := disk{}
		for k, v := range d {
			bad[k] = v
		}
		spoil(bad)
		if _, err := Restore(b.config(1, &data{}), b.genesis, 0, bad.stored); err == nil {
			t.Errorf("%s: Restore returns no error", name)
		}
	}
}

// TestCertifiedForgets: certified slots are deleted from disk and memory and not sent again. Open slots are kept.
func TestCertifiedForgets(t *testing.T) {
	b := newBench(t, 4)
	m, _ := b.machine(1)
	chain := b.chain(b.genesis, 3)
	d := disk{}
	for _, x := range chain {
		d.keep(m.HandlePropose(t0, 0, b.propose(x)))
	}
	for _, x := range chain[:2] {
		d.keep(b.votes(m, x, 2, 3)...)
		d.keep(b.finalizes(m, x, 2, 3)...)
	}
	d.keep(m.Certified(chain[0]))
	if d[string(voteKey(1, 1))] != nil || d[string(finalizeKey(1, 1))] != nil || d[string(proposalKey(1, 1))] != nil || d[string(finalizeKey(1, 2))] == nil {
		t.Error("wrong records are deleted")
	}
	if v := sent[*Vote](m.Resend(2)); len(v) != 2 || v[0].Slot != 2 {
		t.Errorf("%d votes are sent again", len(v))
	}
	if st := m.HandleVote(t0, 0, b.vote(0, chain[0])); len(st.Sends) != 0 || m.slots.kept[1] != nil {
		t.Error("a late vote restores a forgotten slot")
	}
	m.Certified(chain[2]) // not committed here
	if v := sent[*Vote](m.Resend(2)); len(v) != 1 || v[0].Slot != 3 {
		t.Errorf("an open slot is forgotten")
	}
}

// TestBrokenInvariant: n-f Finalize messages for a block that does not extend the last committed one cause a panic.
func TestBrokenInvariant(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	b := newBench(t, 4)
	m, _ := b.machine(1)
	m.Adopt(t0, b.block(b.genesis, 9))
	x := b.chain(b.genesis, 2)
	m.HandlePropose(t0, 0, b.propose(x[1]))
	b.finalizes(m, x[1], 0, 3)
}

func TestGenesisBindsItsShard(t *testing.T) {
	b := newBench(t, 4)
	other := newBench(t, 5)
	seen := map[digest.Digest]bool{b.genesis.digest: true}
	for _, x := range []*Block{Genesis(b.c, t0.Millis()+1, 1), Genesis(b.c, t0.Millis(), 2), Genesis(other.c, t0.Millis(), 1)} {
		if seen[x.digest] {
			t.Error("two different genesis blocks have the same digest")
		}
		seen[x.digest] = true
	}
}

// TestRestoreAsksForBlocks: a replica that sent Finalize for a block which never arrived requests it again after a
// crash: the leader may have crashed, and the other replicas need the block to end the epoch.
func TestRestoreAsksForBlocks(t *testing.T) {
	b := newBench(t, 4)
	m, _ := b.machine(1)
	block := b.chain(b.genesis, 1)[0]
	d := disk{}
	d.keep(b.votes(m, block, 0, 2)...)
	d.keep(b.votes(m, block, 3, 3)...)
	for _, left := range []bool{false, true} {
		r, err := Restore(b.config(1, &data{}), b.genesis, 0, d.stored)
		if err != nil {
			t.Fatal(err)
		}
		if left {
			r.Leave()
		}
		r.Resume(t0)
		asked := map[protocols.To]bool{}
		for range 3 {
			st := r.Tick(r.Wake())
			for _, s := range st.Sends {
				if f, ok := s.Message.(*FetchBlock); ok && f.Digest == block.digest {
					asked[s.To] = true
				}
			}
		}
		if len(asked) < 3 {
			t.Errorf("left %v: the block of the QC on disk was requested from %d replicas, want 3", left, len(asked))
		}
	}
}
