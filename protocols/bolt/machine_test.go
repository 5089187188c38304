package bolt

import (
	"testing"
	"time"

	"bdtnode/protocols"
	"bdtnode/protocols/lanes"
)

// TestThresholds: a QC needs n-f votes and a commit n-f Finalize messages, of distinct replicas and for one digest.
func TestThresholds(t *testing.T) {
	for n := 4; n <= 7; n++ {
		b := newBench(t, n)
		q := b.c.Quorum()
		m, _ := b.machine(1)
		x, z := b.block(b.genesis, 0), b.block(b.genesis, 9)
		if st := m.HandlePropose(t0, 0, b.propose(x)); len(sent[*Vote](st)) != 1 {
			t.Fatalf("n=%d: no vote", n)
		}
		var steps []Step
		for range 3 { // counted by sender, not by message
			steps = append(steps, b.votes(m, x, 2, q-1)...) // n-f-1 with the own one
		}
		steps = append(steps, b.votes(m, z, q, n-1)...)
		steps = append(steps, m.HandleVote(t0, 0, b.vote(0, z)), m.HandleVote(t0, 0, b.vote(0, x))) // only the first vote counts
		if len(sent[*Finalize](steps...)) != 0 {
			t.Errorf("n=%d: a Finalize after %d votes", n, q-1)
		}

		m, _ = b.machine(1)
		m.HandlePropose(t0, 0, b.propose(x))
		b.votes(m, x, 2, q-1)
		st := m.HandleVote(t0, 0, b.vote(0, x))
		if c := sent[*Finalize](st); len(c) != 1 || c[0].Digest != x.digest {
			t.Fatalf("n=%d: %d votes make no QC", n, q)
		}
		if len(committed(st)) != 0 {
			t.Errorf("n=%d: committed without Finalize messages", n)
		}
		z2 := b.block(b.genesis, 8)
		steps = b.finalizes(m, z2, q, n-1)                  // f Finalize messages for another digest
		steps = append(steps, b.finalizes(m, x, q, n-1)...) // only the first Finalize of a replica counts
		for range 3 {
			steps = append(steps, b.finalizes(m, x, 2, q-1)...)
		}
		if len(committed(steps...)) != 0 {
			t.Errorf("n=%d: committed after %d Finalize messages", n, q-1)
		}
		if got := committed(m.HandleFinalize(t0, 0, finalizeOf(x))); len(got) != 1 || got[0].digest != x.digest {
			t.Errorf("n=%d: %d Finalize messages commit %v", n, q, got)
		}
	}
}

// TestOneVoteForASlot: a replica votes once in a slot, for all proposals of the leader.
func TestOneVoteForASlot(t *testing.T) {
	b := newBench(t, 4)
	m, _ := b.machine(1)
	x, z := b.block(b.genesis, 0), b.block(b.genesis, 9)
	first := m.HandlePropose(t0, 0, b.propose(x))
	again := m.HandlePropose(t0, 0, b.propose(x))
	other := m.HandlePropose(t0, 0, b.propose(z))
	b.votes(m, z, 0, 0)
	b.votes(m, z, 2, 3) // also if the other block gets its QC
	late := m.HandlePropose(t0, 2, b.propose(z))
	if v := sent[*Vote](first, again, other, late, m.Progress(t0)); len(v) != 1 || v[0].Digest != x.digest {
		t.Errorf("%d votes", len(v))
	}
	if len(again.Faults) != 0 || len(other.Faults) != 1 || other.Faults[0].Peer != 0 || len(late.Faults) != 0 {
		t.Errorf("two blocks for a slot: faults %v %v %v, want the leader once", again.Faults, other.Faults, late.Faults)
	}
	if st := m.HandlePropose(t0, 2, &Propose{Leader: 2, Block: b.block(b.genesis, 7)}); len(st.Faults) != 1 || st.Faults[0].Peer != 2 {
		t.Errorf("a proposal of another replica than the leader: faults %v", st.Faults)
	}
}

// TestVotePersistsItsReasons: the step that sends a vote persists proposal, acks and vote. The step that sends a
// Finalize persists the QC.
func TestVotePersistsItsReasons(t *testing.T) {
	b := newBench(t, 4)
	m, _ := b.machine(1)
	x := b.block(b.genesis, 0)
	d := disk{}
	d.keep(m.HandlePropose(t0, 0, b.propose(x)))
	if d[string(voteKey(1, 1))] == nil || d[string(proposalKey(1, 1))] == nil || d["lock"] == nil || d[string(finalizeKey(1, 1))] != nil {
		t.Errorf("wrong records in the step of a vote: %d", len(d))
	}
	d.keep(b.votes(m, x, 2, 3)...)
	if d[string(finalizeKey(1, 1))] == nil {
		t.Error("a Finalize is sent without its QC on disk")
	}
}

// TestParentRule: the parent must be voted for in the slot before, or have a QC, or be committed; and it must be held.
func TestParentRule(t *testing.T) {
	b := newBench(t, 4)
	x, z := b.block(b.genesis, 0), b.block(b.genesis, 9)
	skipped := b.block(x, 0)
	skipped.Slot, skipped.Height = 3, 3
	skipped.setDigest(b.c)
	early := b.block(b.genesis, 0)
	early.Slot = 2
	early.setDigest(b.c)
	votesFor := func(m *Machine, y *Block) int {
		n := 0
		for _, v := range sent[*Vote](m.HandlePropose(t0, 0, b.propose(y)), m.Progress(t0)) {
			if v.Digest == y.digest {
				n++
			}
		}
		return n
	}
	get := func(p *Block) func(m *Machine) { return func(m *Machine) { m.HandlePropose(t0, 0, b.propose(p)) } }
	qc := func(p *Block) func(m *Machine) {
		return func(m *Machine) { b.votes(m, p, 0, 0); b.votes(m, p, 2, 3) }
	}
	adopt := func(p *Block) func(m *Machine) { return func(m *Machine) { m.Adopt(t0, p) } }
	for _, c := range []struct {
		name   string
		inputs []func(*Machine)
		block  *Block
		want   int
	}{
		{"the base", nil, x, 1},
		{"voted for", []func(*Machine){get(x)}, b.block(x, 0), 1},
		{"unknown", nil, b.block(x, 0), 0},
		{"voted for another", []func(*Machine){get(z)}, b.block(x, 0), 0},
		{"voted for another, known", []func(*Machine){get(z), get(x)}, b.block(x, 0), 0},
		{"voted for another, held since a vote named it", []func(*Machine){get(z), func(m *Machine) { b.votes(m, x, 2, 2) }, get(x)}, b.block(x, 0), 0},
		{"voted for another, but it has a QC", []func(*Machine){get(z), qc(x), get(x)}, b.block(x, 0), 1},
		{"a QC, but not held", []func(*Machine){qc(x)}, b.block(x, 0), 0},
		{"committed", []func(*Machine){adopt(x)}, b.block(x, 0), 1},
		{"a slot is left out", []func(*Machine){get(x)}, skipped, 0},
		{"a slot is left out after the base", nil, early, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, _ := b.machine(1)
			for _, in := range c.inputs {
				in(m)
			}
			if got := votesFor(m, c.block); got != c.want {
				t.Errorf("%d votes, want %d", got, c.want)
			}
		})
	}
}

// TestBlockRules: a block must extend its parent in height, time and cut. A block that is ahead of the clock waits for it.
func TestBlockRules(t *testing.T) {
	b := newBench(t, 4)
	for _, c := range []struct {
		name  string
		spoil func(*Block)
		vote  bool
		blame bool
	}{
		{"valid", func(*Block) {}, true, false},
		{"height too large", func(x *Block) { x.Height++ }, false, true},
		{"time before the parent", func(x *Block) { x.TimeMS-- }, false, true},
		{"orders nothing", func(x *Block) { x.Cut = b.genesis.Cut }, false, true},
		{"half a second ahead", func(x *Block) { x.TimeMS += 500 }, true, false},
		{"more than half a second ahead", func(x *Block) { x.TimeMS += 501 }, false, false},
		{"so far ahead that nanoseconds wrap around", func(x *Block) { x.TimeMS = 1 << 63 }, false, false},
		{"the largest time", func(x *Block) { x.TimeMS = ^uint64(0) }, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, _ := b.machine(1)
			x := b.block(b.genesis, 0)
			c.spoil(x)
			x.setDigest(b.c)
			st := m.HandlePropose(t0, 0, b.propose(x))
			if got := len(sent[*Vote](st)) == 1; got != c.vote {
				t.Errorf("voted: %v", got)
			}
			if got := len(st.Faults) == 1 && st.Faults[0].Peer == 0; got != c.blame {
				t.Errorf("faults %v", st.Faults)
			}
			if w := m.Wake(); !c.vote && !c.blame && (w <= t0 || w > t0.Add(time.Minute)) {
				t.Errorf("checked again in %v", w.Sub(t0))
			}
		})
	}

	m, _ := b.machine(1)
	x := b.block(b.genesis, 0)
	x.TimeMS += 700
	x.setDigest(b.c)
	m.HandlePropose(t0, 0, b.propose(x))
	if w := m.Wake(); w != t0.Add(200*time.Millisecond) {
		t.Fatalf("checked again in %v", w.Sub(t0))
	}
	if st := m.Tick(m.Wake()); len(sent[*Vote](st)) != 1 {
		t.Error("no vote when the clock has reached the limit")
	}
}

// TestMissingDataWaits: a block without its data gets no vote until the lanes have the data. A conflict with a cut is sent
// once.
func TestMissingDataWaits(t *testing.T) {
	b := newBench(t, 4)
	m, d := b.machine(1)
	d.verdict = lanes.Missing
	if st := m.HandlePropose(t0, 0, b.propose(b.block(b.genesis, 0))); len(sent[*Vote](st)) != 0 || len(d.locked) != 0 {
		t.Error("a vote without data")
	}
	d.verdict = lanes.Refused
	d.sends = []protocols.Send{{To: 0, Message: &lanes.Conflict{}}}
	if n := len(sent[*lanes.Conflict](m.Progress(t0), m.Progress(t0), m.Progress(t0))); n != 1 {
		t.Errorf("a conflict is sent %d times, want once", n)
	}
	m.Resend(0)
	if n := len(sent[*lanes.Conflict](m.Progress(t0))); n != 1 {
		t.Errorf("after a reconnect a conflict is sent %d times, want once", n)
	}
	d.verdict, d.sends = lanes.Votable, nil
	m.cfg.Inbound.(*inbound).verdict = lanes.Missing
	if st := m.Progress(t0); len(sent[*Vote](st)) != 0 || len(d.locked) != 0 {
		t.Error("a vote without an LD")
	}
	m.cfg.Inbound.(*inbound).verdict = lanes.Votable
	if st := m.Progress(t0); len(sent[*Vote](st)) != 1 || len(d.locked) != 1 {
		t.Error("no vote although the data and the LDs are held")
	}
}

// TestExecutionLag: a replica does not vote more than ExecutionLag beyond its execution.
func TestExecutionLag(t *testing.T) {
	b := newBench(t, 4)
	m, _ := b.machine(1)
	chain := b.chain(b.genesis, ExecutionLag+1)
	m.Adopt(t0, chain[ExecutionLag-1])
	last := chain[ExecutionLag]
	if st := m.HandlePropose(t0, 0, b.propose(last)); len(sent[*Vote](st)) != 0 {
		t.Error("a vote too far ahead")
	}
	if st := m.Executed(t0, 1); len(sent[*Vote](st)) != 1 {
		t.Error("no vote after execution progressed")
	}
}

// TestLeader: a leader proposes the view of the lanes on top of its last block, up to Pipeline ahead. After a crash it
// continues from its last proposal.
func TestLeader(t *testing.T) {
	b := newBench(t, 4)
	m, d := b.machine(0)
	kept := disk{}
	if st := m.Progress(t0); len(st.Sends) != 0 || m.Wake() != 0 {
		t.Error("an idle shard proposes")
	}
	var blocks []*Block
	now := t0
	for k := range uint64(Pipeline + 3) {
		d.grow = k + 1
		st := m.Progress(now)
		kept.keep(st)
		for _, p := range sent[*Propose](st) {
			blocks = append(blocks, p.Block)
			checks, err := p.SignatureChecks(b.c)
			if err != nil || !b.scheme.VerifyAll(checks) {
				t.Fatalf("a proposal does not verify: %v", err)
			}
		}
		now = now.Add(MaxGap)
	}
	if len(blocks) != Pipeline || m.OpenSlots() != Pipeline {
		t.Fatalf("%d proposals ahead of the last commit, want %d", len(blocks), Pipeline)
	}
	for k := 1; k < len(blocks); k++ {
		if blocks[k].Parent != blocks[k-1].digest || blocks[k].Slot != blocks[k-1].Slot+1 {
			t.Errorf("proposal %d does not follow", k)
		}
	}
	r, err := Restore(b.config(0, &data{grow: 99}), b.genesis, 0, kept.stored)
	if err != nil {
		t.Fatal(err)
	}
	if again := sent[*Propose](r.Resend(2)); len(again) != Pipeline || again[3].Block.digest != blocks[3].digest {
		t.Errorf("%d proposals are sent again", len(again))
	}
	b.votes(r, blocks[0], 1, 2)
	st := b.finalizes(r, blocks[0], 1, 2)
	st = append(st, r.Progress(now.Add(time.Second)))
	if p := sent[*Propose](st...); len(p) != 1 || p[0].Block.Parent != blocks[Pipeline-1].digest {
		t.Errorf("%d proposals after a restart and a commit, want 1", len(p))
	}
}

// TestProposalsAreSpaced: while slots are open, the first proposal is sent at once and the next after a gap.
func TestProposalsAreSpaced(t *testing.T) {
	b := newBench(t, 4)
	m, d := b.machine(0)
	d.grow = 1
	m.Progress(t0)
	d.grow = 2
	if st := m.Progress(t0.Add(time.Millisecond)); len(sent[*Propose](st)) != 0 {
		t.Error("proposed too soon")
	}
	if w := m.Wake(); w != t0.Add(MinGap) {
		t.Fatalf("due in %v", w.Sub(t0))
	}
	if st := m.Tick(m.Wake()); len(sent[*Propose](st)) != 1 {
		t.Error("not proposed when due")
	}
}

// TestCommitTakesAllBefore: a commit includes all blocks before it, in order. Missing blocks are fetched.
func TestCommitTakesAllBefore(t *testing.T) {
	b := newBench(t, 4)
	m, _ := b.machine(1)
	chain := b.chain(b.genesis, 3)
	m.HandlePropose(t0, 0, b.propose(chain[0]))
	b.votes(m, chain[2], 2, 3)
	if st := b.finalizes(m, chain[2], 0, 3); len(committed(st...)) != 0 {
		t.Fatal("committed although blocks are missing")
	}
	f := sent[*FetchBlock](m.Tick(t0.Add(fetchGrace)))
	if len(f) != 1 || f[0].Digest != chain[2].digest {
		t.Fatalf("requests %v", f)
	}
	m.HandlePropose(t0, 3, b.propose(chain[2]))
	f = sent[*FetchBlock](m.Tick(t0.Add(fetchGrace)))
	if len(f) != 1 || f[0].Digest != chain[1].digest {
		t.Fatalf("requests %v", f)
	}
	holder, _ := b.machine(2)
	holder.HandlePropose(t0, 0, b.propose(chain[0]))
	holder.HandlePropose(t0, 0, b.propose(chain[1]))
	answer := sent[*Propose](holder.HandleFetchBlock(1, f[0]))
	if len(answer) != 1 || answer[0].Block.digest != chain[1].digest {
		t.Fatalf("the answer is %v", answer)
	}
	got := committed(m.HandlePropose(t0, 2, answer[0]))
	if len(got) != 3 || got[0].digest != chain[0].digest || got[2].digest != chain[2].digest || m.Base() != got[2] {
		t.Errorf("commits %d blocks", len(got))
	}
	if m.Wake() != 0 {
		t.Error("requests continue after all blocks are held")
	}
}

// TestRefusedIsRemembered: a message above the window is dropped, and its sender is asked again when the window has moved.
func TestRefusedIsRemembered(t *testing.T) {
	b := newBench(t, 4)
	m, _ := b.machine(1)
	chain := b.chain(b.genesis, window+1)
	far := chain[window]
	m.HandlePropose(t0, 0, b.propose(far))
	m.HandleVote(t0, 2, b.vote(2, far))
	m.HandleFinalize(t0, 3, finalizeOf(far))
	m.HandleVote(t0, 3, &Vote{Epoch: 2, Slot: 1}) // a message of another epoch is not recorded
	if len(m.slots.kept) != 0 || m.TakeRefusedPeers() != (protocols.Set{}) {
		t.Fatal("a message above the window is kept, or requested at once")
	}
	m.Adopt(t0, chain[window-Pipeline-1])
	if s := m.TakeRefusedPeers(); s != (protocols.Set{}) {
		t.Errorf("%v are asked too soon", s.Members())
	}
	m.Adopt(t0, chain[window-Pipeline])
	if s := m.TakeRefusedPeers(); s.Len() != 3 || s.Has(1) {
		t.Errorf("%v are asked again", s.Members())
	}
	if m.TakeRefusedPeers() != (protocols.Set{}) {
		t.Error("the senders are asked twice")
	}
}
