package bdt

import (
	"maps"
	"slices"
	"testing"

	"bdtnode/protocols"
	"bdtnode/protocols/mvba"
)

// endEpoch commits batches at all replicas, makes all leave, and ends the epoch. look is called before each message.
func endEpoch(t *testing.T, look func(s *shard, i protocols.Index)) *shard {
	t.Helper()
	s := newShard(t, 4)
	deliver := func() {
		s.deliverIf(func(x carried) bool { look(s, x.to); return true })
	}
	for i := range protocols.Index(4) {
		st, _ := s.machines[i].Append(s.now, []byte{byte(i)}, 1)
		s.apply(i, st)
		deliver()
	}
	for i := range protocols.Index(4) {
		s.leaves(i)
	}
	deliver()
	return s
}

// TestViewsChangeNothing: a shard whose replicas are inspected before each message writes the same records and delivers the
// same blocks as one that is not.
func TestViewsChangeNothing(t *testing.T) {
	count := 0
	plain := endEpoch(t, func(*shard, protocols.Index) {})
	inspected := endEpoch(t, func(s *shard, i protocols.Index) { s.machines[i].Inspect(s.now); count++ })
	if count == 0 || plain.machines[0].Epoch() != 2 {
		t.Fatalf("%d snapshots, epoch %d", count, plain.machines[0].Epoch())
	}
	for i := range plain.disks {
		if !maps.EqualFunc(plain.disks[i], inspected.disks[i], slices.Equal) {
			t.Errorf("replica %d has other records", i)
		}
		if len(plain.got[i]) != len(inspected.got[i]) {
			t.Errorf("replica %d delivered %d blocks, want %d", i, len(inspected.got[i]), len(plain.got[i]))
		}
	}
}

// TestEndView: the view of an epoch's end has each Status, the missing replicas, and the progress of the agreement.
func TestEndView(t *testing.T) {
	s := newShard(t, 4)
	s.append(0, "a")
	if v := s.machines[0].Inspect(s.now); v.End != nil || v.Epoch != 1 || v.Leader != 0 || v.Committed == 0 || len(v.Lanes) != 4 || len(v.Inbound) != 1 {
		t.Fatalf("%+v", v)
	}
	s.leaves(1)
	s.leaves(2)
	s.deliverIf(func(x carried) bool { return x.to == 1 && x.from == 2 })
	v := s.machines[1].Inspect(s.now)
	if v.End == nil || !v.End.Left || len(v.End.Statuses) != 2 || v.End.Needed != 1 || !slices.Equal(v.End.Missing, []protocols.Index{0, 3}) || v.End.Proposed || !v.FastLane.Left {
		t.Fatalf("%+v", v.End)
	}
	if x := v.End.Statuses[0]; x.Replica != 1 || x.Slot != v.FastLane.Committed || !x.Counts || len(x.Lanes) != 4 {
		t.Errorf("%+v", x)
	}
	if a := v.End.Agreement; a.Round != 1 || a.Input || a.WaitsFor != mvba.WaitFinish || a.Needed != 3 {
		t.Errorf("%+v", a)
	}
	waits := map[mvba.Wait]bool{}
	endEpoch(t, func(s *shard, i protocols.Index) {
		if v := s.machines[i].Inspect(s.now); v.End != nil {
			waits[v.End.Agreement.WaitsFor] = true
		}
	})
	for _, w := range []mvba.Wait{mvba.WaitFinish, mvba.WaitShares} {
		if !waits[w] {
			t.Errorf("no view waits for %s: %v", w, waits)
		}
	}
}

// TestPatienceView: pending work has a mark with the time until the replica acts.
func TestPatienceView(t *testing.T) {
	s := newShard(t, 4)
	s.down.Add(0) // the leader
	st, _ := s.machines[1].Append(s.now, []byte("a"), 1)
	s.apply(1, st)
	s.deliverAll()
	for len(s.machines[1].Inspect(s.now).Patience.Marks) == 0 {
		due := protocols.Earliest(s.machines[1].Wake(), s.machines[2].Wake(), s.machines[3].Wake())
		if due == 0 || s.now > t0.Add(10*firstPatience) {
			t.Fatal("no mark")
		}
		s.now = due
		for i := range protocols.Index(4) {
			if i > 0 {
				s.apply(i, s.machines[i].Tick(s.now))
			}
		}
		s.deliverAll()
	}
	v := s.machines[1].Inspect(s.now.Add(firstPatience / 8)).Patience
	m := v.Marks[0]
	if m.Of != "lane" || m.Number != 1 || m.Position != 1 || m.WaitingMS != (firstPatience/8).Milliseconds() || m.CertSent || m.DueMS != (firstPatience/8).Milliseconds() {
		t.Errorf("%+v", m)
	}
	if v.LimitMS != firstPatience.Milliseconds() {
		t.Errorf("%+v", v)
	}
}
