package inbound

import (
	"slices"
	"testing"
	"time"

	"bdtnode/internal/digest"
	"bdtnode/protocols"
	"bdtnode/protocols/lanes"
)

// holds gives LDs to a machine, in order.
func holds(m *Machine, now protocols.Time, lds ...*LD) {
	for _, d := range lds {
		m.HandleLD(now, d)
	}
}

// cutAt is the inbound cut with a position of the channel from shard 1.
func cutAt(t lanes.Tip) lanes.Cut { return lanes.Cut{{}, t, {}} }

func late(replicas ...protocols.Index) (set protocols.Set) {
	for _, i := range replicas {
		set.Add(i)
	}
	return set
}

// TestHeldLDsAreProposed: a leader proposes the LDs that it holds, without the SIGN of another replica, up to the first gap and
// at most PerBlock. Another replica votes for them once it holds them, or once f+1 replicas signed them.
func TestHeldLDsAreProposed(t *testing.T) {
	b := newBench(t, 4)
	all := chain(PerBlock+4, 10)
	leader, holder, other := b.machine(0), b.machine(1), b.machine(2)
	origin := make(lanes.Cut, 3)
	holds(leader, t0, all[0], all[1], all[3])
	cut := leader.ProposableCut(t0, origin)
	if cut[1] != all[1].Tip() {
		t.Fatalf("proposes number %d of the held 1, 2 and 4", cut[1].Seq)
	}
	if next := leader.ProposableCut(t0, cut); !slices.Equal(next, cut) {
		t.Errorf("proposes number %d on top of 2, without 3", next[1].Seq)
	}
	holds(holder, t0, all[0])
	if v := holder.CheckCut(t0, origin, cut, 0); v != lanes.Missing {
		t.Errorf("verdict %d of a replica that lacks number 2", v)
	}
	holds(holder, t0, all[1])
	if v := holder.CheckCut(t0, origin, cut, 0); v != lanes.Votable {
		t.Errorf("verdict %d of a replica that holds both", v)
	}
	for i := range protocols.Index(2) {
		if v := other.CheckCut(t0, origin, cut, 0); v != lanes.Missing {
			t.Errorf("verdict %d of a replica that holds none, with %d SIGN", v, i)
		}
		other.HandleSIGN(i, b.sign(i, cut[1]))
	}
	if v := other.CheckCut(t0, origin, cut, 0); v != lanes.Votable {
		t.Errorf("verdict %d of a replica that holds none, with f+1 SIGN", v)
	}
	holds(leader, t0, all[2])
	holds(leader, t0, all[4:]...)
	if cut := leader.ProposableCut(t0, origin); cut[1] != all[PerBlock-1].Tip() {
		t.Errorf("proposes number %d, want %d", cut[1].Seq, PerBlock)
	}
}

// TestHeldBackChannel: after a slot that was held up by replicas which lacked its LD, the leader proposes an LD of that channel
// only after a time, or at once with f+1 SIGN. A request alone, or a slot that was held up by something else, holds nothing
// back.
func TestHeldBackChannel(t *testing.T) {
	b := newBench(t, 4)
	all := chain(3, 10)
	m := b.machine(0)
	origin := make(lanes.Cut, 3)
	holds(m, t0, all[0])
	first := m.ProposableCut(t0, origin)
	if m.HeldUp(t0, origin, first, late(2, 3), time.Second) {
		t.Error("a channel is blamed that no replica requested")
	}
	m.HandleFetchLD(3, &FetchLD{Source: 1, Tip: all[0].Tip()})
	if m.HeldUp(t0, origin, first, late(1, 2), time.Second) {
		t.Error("a channel is blamed that no late replica requested")
	}
	now := t0.Add(80 * time.Millisecond)
	if !m.HeldUp(now, origin, first, late(2, 3), 80*time.Millisecond) {
		t.Error("a channel that held up a slot is not blamed")
	}
	m.Ordered(now, first)
	holds(m, now, all[1])
	hold := m.chans[1].lag.Hold(now)
	if hold < 20*time.Millisecond {
		t.Fatalf("held back for %v", hold)
	}
	if cut := m.ProposableCut(now.Add(hold/2), first); cut[1] != first[1] {
		t.Error("an LD is proposed before its hold ends")
	}
	at := m.Wake()
	if at <= now.Add(hold/2) || at > now.Add(hold) {
		t.Errorf("Wake is after %v, and the hold is %v", at.Sub(now), hold)
	}
	if st := m.Tick(at); len(st.Out) != 1 || !st.Out[0].Progressed {
		t.Error("no output when the hold ends")
	}
	if cut := m.ProposableCut(at, first); cut[1] != all[1].Tip() {
		t.Error("an LD is not proposed after its hold")
	}
	if m.HandleSIGN(1, b.sign(1, all[1].Tip())); m.ProposableCut(now, first)[1] != all[1].Tip() {
		t.Error("an LD with f+1 SIGN is held back")
	}
	later := now.Add(10 * time.Minute)
	holds(m, later, all[2])
	if m.ProposableCut(later, first)[1] != all[2].Tip() {
		t.Error("the channel is held back for ever")
	}
}

// TestForkedChannel: a source that certifies two LDs with one number cannot stop a slot with one of them. A replica that signed
// the other one votes when it holds the proposed one too, and a leader that holds both proposes neither without f+1 SIGN.
func TestForkedChannel(t *testing.T) {
	b := newBench(t, 4)
	one, two := ld(1, digest.Digest{}, "one"), ld(1, digest.Digest{}, "two")
	origin := make(lanes.Cut, 3)
	leader, voter := b.machine(0), b.machine(1)
	holds(leader, t0, one)
	holds(voter, t0, two)
	cut := leader.ProposableCut(t0, origin)
	if v := voter.CheckCut(t0, origin, cut, 0); v != lanes.Missing {
		t.Fatalf("verdict %d without the LD", v)
	}
	st := voter.Tick(t0.Add(fetchGrace))
	if len(st.Sends) != 1 || st.Sends[0].To != 0 {
		t.Fatalf("asks %+v, want the leader", st.Sends)
	}
	if st := voter.HandleLD(t0, one); len(st.Persist) == 0 || len(st.Sends) > 0 {
		t.Error("the second LD is not kept, or is signed")
	}
	if v := voter.CheckCut(t0, origin, cut, 0); v != lanes.Votable {
		t.Errorf("verdict %d with the LD", v)
	}
	// Of a number that the voter did not sign, it may have to drop the LD for one with a lower number.
	next := ld(2, one.Digest, "next")
	holds(leader, t0, next)
	holds(voter, t0, next)
	if v := voter.CheckCut(t0, origin, leader.ProposableCut(t0, origin), 0); v != lanes.Missing {
		t.Errorf("verdict %d for an LD that may be dropped", v)
	}
	holds(leader, t0, two)
	if cut := leader.ProposableCut(t0, origin); cut[1] != origin[1] {
		t.Errorf("an LD of a forked channel is proposed")
	}
	leader.HandleSIGN(2, b.sign(2, one.Tip()))
	if cut := leader.ProposableCut(t0, origin); cut[1] != one.Tip() {
		t.Error("an LD with f+1 SIGN is not proposed")
	}
}

// TestForkBelowIsNotProposed: a leader proposes no LDs that do not follow the position which the block before orders.
func TestForkBelowIsNotProposed(t *testing.T) {
	b := newBench(t, 4)
	m := b.machine(0)
	one, two := ld(1, digest.Digest{}, "one"), ld(1, digest.Digest{}, "two")
	holds(m, t0, one, ld(2, one.Digest, "after one"))
	if cut := m.ProposableCut(t0, cutAt(two.Tip())); cut[1] != two.Tip() {
		t.Errorf("proposes number %d on top of another LD", cut[1].Seq)
	}
}
