package bolt

import (
	"slices"
	"testing"
	"time"

	"bdtnode/protocols"
	"bdtnode/protocols/lanes"
)

// TestSlotViews: the view of an open slot has the replicas whose messages are here, the message that it waits for, the
// replicas without it, and the number that is needed, at each step of a slot.
func TestSlotViews(t *testing.T) {
	b := newBench(t, 4)
	m, _ := b.machine(1)
	x := b.block(b.genesis, 0)
	look := func(step string, at protocols.Time, want SlotView) {
		t.Helper()
		v := m.Inspect(at)
		if len(v.Slots) != 1 {
			t.Fatalf("%s: %d open slots", step, len(v.Slots))
		}
		got := v.Slots[0]
		if got.WaitsFor != want.WaitsFor || got.Needed != want.Needed || got.OwnVote != want.OwnVote || got.SinceMS != want.SinceMS || got.QC != want.QC ||
			!slices.Equal(got.VotedBy, want.VotedBy) || !slices.Equal(got.Finalized, want.Finalized) || !slices.Equal(got.Missing, want.Missing) {
			t.Errorf("%s: %+v, want %+v", step, got, want)
		}
	}
	type r = []protocols.Index
	if v := m.Inspect(t0); len(v.Slots) != 0 || v.LastSlot != 1<<14 {
		t.Errorf("%+v", v)
	}
	b.votes(m, x, 3, 3)
	look("a vote without the proposal", t0, SlotView{WaitsFor: WaitVotes, Needed: 2, OwnVote: VoteProposal, VotedBy: r{3}, Missing: r{0, 1, 2}})
	m.HandlePropose(t0, 0, b.propose(x))
	look("proposed", t0.Add(time.Second), SlotView{WaitsFor: WaitVotes, Needed: 1, OwnVote: VoteCast, SinceMS: 1000, VotedBy: r{1, 3}, Missing: r{0, 2}})
	b.votes(m, x, 2, 2)
	look("QC", t0, SlotView{WaitsFor: WaitFinalizes, Needed: 2, OwnVote: VoteCast, QC: true, VotedBy: r{1, 2, 3}, Finalized: r{1}, Missing: r{0, 2, 3}})
	b.finalizes(m, x, 2, 2)
	look("two Finalizes", t0, SlotView{WaitsFor: WaitFinalizes, Needed: 1, OwnVote: VoteCast, QC: true, VotedBy: r{1, 2, 3}, Finalized: r{1, 2}, Missing: r{0, 3}})
	b.finalizes(m, x, 3, 3)
	if v := m.Inspect(t0); len(v.Slots) != 0 || v.Committed != 1 || v.Final != 1 || v.Top != 1 || v.KeptSlots != 1 {
		t.Errorf("committed: %+v", v)
	}
}

// TestWaitsForABlock: a final slot whose chain has a missing block names it.
func TestWaitsForABlock(t *testing.T) {
	b := newBench(t, 4)
	m, _ := b.machine(1)
	chain := b.chain(b.genesis, 2)
	b.votes(m, chain[1], 0, 3)
	b.finalizes(m, chain[1], 0, 3)
	v := m.Inspect(t0)
	if len(v.Slots) != 1 || v.Slots[0].WaitsFor != WaitBlock || !v.Slots[0].Final || v.WantedBlocks != 1 {
		t.Errorf("%+v", v)
	}
}

// TestOwnVoteViews: the view names the reason why the own vote is not cast.
func TestOwnVoteViews(t *testing.T) {
	b := newBench(t, 4)
	chain := b.chain(b.genesis, 2)
	ahead := *chain[0]
	ahead.TimeMS += 10_000
	ahead.setDigest(b.c)
	idle := *chain[0]
	idle.Cut = b.genesis.Cut
	idle.setDigest(b.c)
	for want, prepare := range map[OwnVote]func(m *Machine, d *data){
		VoteData:    func(m *Machine, d *data) { d.verdict = lanes.Missing; m.HandlePropose(t0, 0, b.propose(chain[0])) },
		VoteClock:   func(m *Machine, _ *data) { m.HandlePropose(t0, 0, b.propose(&ahead)) },
		VoteParent:  func(m *Machine, _ *data) { m.HandlePropose(t0, 0, b.propose(chain[1])) },
		VoteRefused: func(m *Machine, _ *data) { m.HandlePropose(t0, 0, b.propose(&idle)) },
		VoteLeft:    func(m *Machine, _ *data) { m.Leave(); m.HandlePropose(t0, 0, b.propose(chain[0])) },
		VoteCast:    func(m *Machine, _ *data) { m.HandlePropose(t0, 0, b.propose(chain[0])) },
	} {
		m, d := b.machine(1)
		prepare(m, d)
		if v := m.Inspect(t0); len(v.Slots) != 1 || v.Slots[0].OwnVote != want {
			t.Errorf("%s: %+v", want, v.Slots)
		}
	}
}

// TestViewIsBounded: the view has at most as many slots as the window, for any messages of peers.
func TestViewIsBounded(t *testing.T) {
	b := newBench(t, 4)
	m, _ := b.machine(1)
	for _, x := range b.chain(b.genesis, 3*window) {
		m.HandleFinalize(t0, 2, finalizeOf(x))
	}
	if v := m.Inspect(t0); len(v.Slots) != window || len(v.Refused) != 1 || v.Refused[0] != 2 {
		t.Errorf("%d slots, refused %v", len(v.Slots), v.Refused)
	}
}
