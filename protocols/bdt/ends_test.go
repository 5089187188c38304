package bdt

import (
	"fmt"
	"testing"

	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
)

// checkEnds fails unless a replica counts these ended epochs, and no others.
func checkEnds(t *testing.T, m *Machine, want map[Cause]uint64) {
	t.Helper()
	all := uint64(0)
	ends := m.Ends()
	for c := range Cause(Causes) {
		if ends.Count[c] != want[c] {
			t.Errorf("%d epochs ended by %s, want %d", ends.Count[c], c, want[c])
		}
		all += want[c]
	}
	if ends.Last.Epoch != m.Epoch()-1 || ends.Last.Epoch != all {
		t.Errorf("the last of %d ended epochs is %d, the present one %d", all, ends.Last.Epoch, m.Epoch())
	}
}

// TestEndsOfSilentLeader: f+1 replicas lose patience, and the others may follow them. A replica that gets the blocks
// later has caught up.
func TestEndsOfSilentLeader(t *testing.T) {
	s := newShard(t, 4)
	s.down.Add(0)
	s.append(3, "a")
	s.pass(2 * maxPatience)
	patience := uint64(0)
	for _, m := range s.machines[1:] {
		ends := m.Ends()
		patience += ends.Count[Patience]
		if ends.Count[Patience]+ends.Count[Followed] != 1 || ends.Last.Rounds < 1 || ends.Last.Leader != 0 {
			t.Errorf("%+v", ends)
		}
	}
	if patience < uint64(s.c.WeakQuorum()) {
		t.Errorf("%d replicas lost patience", patience)
	}
	s.machines[0].Adopt(s.now, 3, []*bolt.Block{s.got[3][0].Block})
	checkEnds(t, s.machines[0], map[Cause]uint64{CaughtUp: 1})
	if last := s.machines[0].Ends().Last; last.Rounds != 0 {
		t.Errorf("%+v", last)
	}
}

// TestEndsByRotation: used slots are another cause than a failure.
func TestEndsByRotation(t *testing.T) {
	s := newShard(t, 4, func(s *shard) { s.slots = 3 })
	for k := range 6 {
		s.append(protocols.Index(k%4), fmt.Sprint(k))
		for i, m := range s.machines {
			for len(m.chain.running) > 0 {
				s.apply(protocols.Index(i), m.Executed(s.now, m.chain.running[0].Height))
			}
		}
		s.deliverAll()
	}
	rotated := uint64(0)
	for _, m := range s.machines {
		ends := m.Ends()
		rotated += ends.Count[Rotation]
		if ends.Count[Patience]+ends.Count[PassedOver]+ends.Count[CaughtUp]+ends.Count[Restarted] != 0 || ends.Last.Epoch != 2 {
			t.Errorf("%+v", ends)
		}
	}
	if rotated < 2*uint64(s.c.WeakQuorum()) {
		t.Errorf("%d rotations", rotated)
	}
}

// TestEndsOfDumbo: without a fast lane each block is an epoch.
func TestEndsOfDumbo(t *testing.T) {
	s := newShard(t, 4, func(s *shard) { s.dumbo = true })
	for k := range 3 {
		s.append(protocols.Index(k), fmt.Sprint(k))
	}
	for _, m := range s.machines {
		if ends := m.Ends(); ends.Count[Single]+ends.Count[Decided] != 3 || ends.Last.Rounds < 1 {
			t.Errorf("%+v", ends)
		}
	}
}

// TestEndsAfterRestart: a replica that was restored after it left does not name a cause that it does not know.
func TestEndsAfterRestart(t *testing.T) {
	s := newShard(t, 4)
	s.down.Add(0)
	s.down.Add(1) // two replicas can leave, but not agree
	var st Step
	s.machines[3].leave(s.now, &st)
	s.apply(3, st)
	s.machines[3] = s.restore(3, 0)
	s.apply(3, s.machines[3].Start(s.now))
	if s.machines[3].current.status == nil {
		t.Fatal("the Status is lost")
	}
	s.down = protocols.Set{}
	for _, i := range []protocols.Index{0, 1, 2} {
		var st Step
		s.machines[i].leave(s.now, &st)
		s.apply(i, st)
	}
	s.apply(3, s.machines[3].Resend(0))
	s.apply(3, s.machines[3].Resend(1))
	s.apply(3, s.machines[3].Resend(2))
	s.deliverAll()
	checkEnds(t, s.machines[3], map[Cause]uint64{Restarted: 1})
}

func TestCausesHaveNames(t *testing.T) {
	seen := make(map[string]bool)
	for c := range Cause(Causes) {
		if name := c.String(); name == "" || seen[name] {
			t.Errorf("cause %d is called %q", c, name)
		}
		seen[c.String()] = true
	}
}
