package bolt

import (
	"testing"
	"time"

	"bdtnode/protocols"
)

// TestBlockTimesFollowTheWallClock: a leader gives a block the time of the wall clock, but never a time before that of the
// parent. A voter compares block times with its wall clock, not with the clock of deadlines.
func TestBlockTimesFollowTheWallClock(t *testing.T) {
	b := newBench(t, 4)
	wall := &protocols.WallClock{}
	cfg := b.config(0, &data{})
	cfg.WallClock = wall
	for _, x := range []struct {
		set  time.Duration
		want uint64
	}{
		{0, t0.Millis()}, {time.Hour, t0.Add(time.Hour).Millis()}, {-time.Hour, t0.Millis()}, // genesis has t0
	} {
		cfg.Data = &data{grow: 1}
		m := New(cfg, b.genesis, 0)
		wall.Set(x.set)
		p := sent[*Propose](m.Progress(t0))
		if len(p) != 1 || p[0].Block.TimeMS != x.want {
			t.Errorf("wall clock %v off: proposed %+v", x.set, p)
		}
	}
}

// TestVoterWhoseClockIsSetRight: a voter whose clock was behind votes within a second after the clock is set right.
func TestVoterWhoseClockIsSetRight(t *testing.T) {
	b := newBench(t, 4)
	wall := &protocols.WallClock{}
	cfg := b.config(1, &data{})
	cfg.WallClock = wall
	m := New(cfg, b.genesis, 0)
	now := t0.Add(10 * time.Hour)
	x := b.block(b.genesis, 0)
	x.TimeMS = now.Millis()
	x.setDigest(b.c)
	wall.Set(-time.Hour)
	if st := m.HandlePropose(now, 0, b.propose(x)); len(sent[*Vote](st)) != 0 {
		t.Error("voted for a block an hour ahead of the wall clock")
	}
	wall.Set(0)
	w := m.Wake()
	if w == 0 || w > now.Add(time.Second) {
		t.Fatalf("checked again after %v", w.Sub(now))
	}
	if st := m.Tick(w); len(sent[*Vote](st)) != 1 {
		t.Error("no vote although the clock is right")
	}
}

// TestBlockTimeAheadOfClock: after a quorum voted for a block that is an hour ahead, blocks with the same time may follow,
// but no block that is further ahead.
func TestBlockTimeAheadOfClock(t *testing.T) {
	b := newBench(t, 4)
	m, _ := b.machine(1)
	ahead := b.block(b.genesis, 0)
	ahead.TimeMS += uint64(time.Hour.Milliseconds())
	ahead.setDigest(b.c)
	m.HandlePropose(t0, 0, b.propose(ahead))
	b.votes(m, ahead, 0, 0)
	b.votes(m, ahead, 2, 3) // the clocks of the others are ahead too
	same := b.block(ahead, 0)
	if st := m.HandlePropose(t0, 0, b.propose(same)); len(sent[*Vote](st)) != 1 {
		t.Error("no vote for a block with the time of its parent")
	}
	further := b.block(same, 0)
	further.TimeMS++
	further.setDigest(b.c)
	if st := m.HandlePropose(t0, 0, b.propose(further)); len(sent[*Vote](st)) != 0 {
		t.Error("voted for a block still further ahead")
	}
}
