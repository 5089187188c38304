package bdt

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/mvba"
)

// deliverIf delivers all messages that keep accepts and drops the others.
func (s *shard) deliverIf(keep func(carried) bool) {
	for len(s.queue) > 0 {
		x := s.queue[0]
		s.queue = s.queue[1:]
		if !keep(x) {
			continue
		}
		if st, ok := s.machines[x.to].Handle(s.now, x.from, x.m); ok {
			s.apply(x.to, st)
		}
	}
}

// leaves makes replica i leave its epoch.
func (s *shard) leaves(i protocols.Index) {
	var st Step
	s.machines[i].leave(s.now, &st)
	s.apply(i, st)
}

// execute executes all delivered blocks at replica i.
func (s *shard) execute(i protocols.Index) {
	for m := s.machines[i]; len(m.chain.running) > 0; {
		s.apply(i, m.Executed(s.now, m.chain.running[0].Height))
	}
}

// TestSlotOfADecisionIsAdopted: a replica adopts, by its certified header, a slot that only the decision of the epoch
// committed. Then n-f Status arrive that claim less. The replica must not propose these but wait for the decision.
func TestSlotOfADecisionIsAdopted(t *testing.T) {
	s := newShard(t, 4)
	st, _ := s.machines[1].Append(s.now, []byte("a"), 1)
	s.apply(1, st)
	s.deliverIf(func(x carried) bool { // only replica 3 gets the QC of slot 1
		switch x.m.(type) {
		case *bolt.Vote:
			return x.to == 3
		case *bolt.Finalize:
			return false
		}
		return true
	})
	var late *Status
	for i := range protocols.Index(4) {
		if s.machines[i].current.status == nil {
			s.leaves(i)
		}
		s.deliverIf(func(x carried) bool { // replica 2 is disconnected, except for one Status
			status, ok := x.m.(*Status)
			if ok && x.from == 0 && x.to == 2 {
				late = status
			}
			return x.from != 2 && x.to != 2 || ok && x.from == 1
		})
	}
	if late == nil || s.machines[1].Epoch() != 2 || len(s.got[1]) != 2 || s.got[1][0].Block.Slot != 1 || s.machines[2].Epoch() != 1 {
		t.Fatalf("wrong decision: epoch %d, %d blocks", s.machines[1].Epoch(), len(s.got[1]))
	}
	m := s.machines[2]
	s.apply(2, m.Adopt(s.now, 1, []*bolt.Block{s.got[1][0].Block}))
	st, _ = m.Handle(s.now, 0, late)
	s.apply(2, st)
	if m.current.left < s.c.Quorum() || m.current.bolt.CommittedSlot() != 1 {
		t.Fatalf("%d Status, slot %d", m.current.left, m.current.bolt.CommittedSlot())
	}
	s.apply(1, s.machines[1].Resend(2))
	s.deliverAll()
	s.checkSame(2)
	if m.Epoch() != 2 {
		t.Errorf("in epoch %d", m.Epoch())
	}
}

// TestOneKnowsTheDecision: only one honest replica sees an epoch decided. f Byzantine VOTEs and its own VOTE certify the
// last block, and all its messages are lost with its connections. The others must learn the decision when they reconnect.
func TestOneKnowsTheDecision(t *testing.T) {
	certSent := 0
	for seed := range uint64(100) {
		s, rng := newShard(t, 4), rand.New(rand.NewPCG(seed, 1))
		for i := range protocols.Index(4) {
			s.leaves(i)
		}
		for len(s.queue) > 0 && s.machines[0].Epoch() == 1 { // replica 3 is Byzantine: it sends some messages only to 0
			k := rng.IntN(len(s.queue))
			x := s.queue[k]
			s.queue = append(s.queue[:k], s.queue[k+1:]...)
			if in, ok := mvba.InstanceOf(x.m); ok && in.Epoch == 1 && x.from == 3 && x.to != 0 && rng.IntN(2) == 0 {
				continue
			}
			if st, ok := s.machines[x.to].Handle(s.now, x.from, x.m); ok {
				s.apply(x.to, st)
			}
		}
		if s.machines[0].Epoch() != 2 || s.machines[1].current.agreement.Decision() != nil || s.machines[2].current.agreement.Decision() != nil ||
			s.machines[1].Epoch() != 1 || s.machines[2].Epoch() != 1 {
			continue
		}
		certSent++
		s.queue = nil
		s.down.Add(3)
		s.execute(0)
		s.apply(0, s.machines[0].Certified(s.machines[0].chain.base.Height))
		if seed%2 == 0 { // with half of the seeds replica 0 restarts from disk
			s.machines[0] = s.restore(0, s.machines[0].chain.executed)
			s.apply(0, s.machines[0].Start(s.now))
		}
		for i := range protocols.Index(3) {
			for j := range protocols.Index(3) {
				if i != j {
					s.apply(i, s.machines[i].Resend(j))
				}
			}
		}
		s.deliverAll()
		s.append(1, "a")
		s.pass(time.Hour)
		for i := range protocols.Index(3) {
			if s.machines[i].Epoch() == 1 {
				t.Fatalf("seed %d: replica %d stays in epoch 1", seed, i)
			}
		}
		s.checkSame(2)
	}
	if certSent < 20 {
		t.Errorf("only in %d schedules exactly one replica knows the decision, want 20", certSent)
	}
}

// TestEndedEpochsAreForgotten: an ended epoch is forgotten when a block after it is certified.
func TestEndedEpochsAreForgotten(t *testing.T) {
	s := newShard(t, 4, func(s *shard) { s.dumbo = true })
	for k := range 5 {
		s.append(1, "a")
		for i := range protocols.Index(4) {
			s.execute(i)
			m := s.machines[i]
			s.apply(i, m.Certified(m.chain.base.Height))
			if m.Epoch() != uint64(k+2) || len(m.past.epochs) != 1 {
				t.Fatalf("replica %d in epoch %d keeps %d past epochs, want 1", i, m.Epoch(), len(m.past.epochs))
			}
			from, _ := mvba.Records(instance(0))
			to, _ := mvba.Records(instance(uint64(k)))
			for key := range s.disks[i].stored(from, to) {
				t.Fatalf("record %x is not deleted", key)
			}
		}
	}
}

// TestPatienceThatShrinks: a position has waited for long under a large patience. Then many quick commits at once make the
// patience small. The long wait must not count as a suspension of the replica: otherwise a leader could ignore a lane for
// ever by being slow and quick in turn.
func TestPatienceThatShrinks(t *testing.T) {
	for _, victim := range []int{1, 15} {
		s := newShard(t, 16)
		s.down.Add(0)
		s.append(protocols.Index(victim), "a")
		s.pass(100 * time.Millisecond) // the batch becomes certified
		m := s.machines[5]
		if certified, ordered := m.data.pendingAt(victim, m.current.bolt); certified != 1 || ordered != 0 {
			t.Fatalf("certified %d, ordered %d", certified, ordered)
		}
		m.waiting.patience = patience{mean: 500 * time.Millisecond, deviation: 300 * time.Millisecond} // 3.2 s
		now := s.now
		for k := range 16 {
			m.waiting.marks[k] = mark{since: now.Add(-time.Millisecond)} // ordered now
		}
		m.waiting.marks[victim] = mark{position: 1, since: now.Add(-3 * time.Second), certSent: now.Add(-2200 * time.Millisecond)}
		before := m.waiting.patience.limit()
		m.Tick(now)
		if m.waiting.patience.limit() > before/2 {
			t.Fatalf("patience is %v, before %v, want at most half", m.waiting.patience.limit(), before)
		}
		m.Tick(now.Add(time.Millisecond))
		if m.current.status == nil {
			t.Errorf("lane %d has waited %v, and the replica does not leave", victim, now.Sub(m.waiting.marks[victim].since))
		}
	}
}

// TestEpochsAwaitExecution: a replica that executes nothing ends no epoch beyond bolt.CommitLag, and continues after it has
// executed.
func TestEpochsAwaitExecution(t *testing.T) {
	s := newShard(t, 4, func(s *shard) { s.dumbo = true })
	const slow = 3
	for k := range bolt.CommitLag + 20 {
		s.append(0, fmt.Sprint(k))
		for i := range protocols.Index(slow) {
			s.execute(i)
		}
	}
	if h := s.machines[slow].chain.base.Height; h != bolt.CommitLag {
		t.Fatalf("committed %d without execution, want %d", h, bolt.CommitLag)
	}
	s.execute(slow)
	for range 3 {
		for i := range protocols.Index(slow) { // as upon a Position message
			s.apply(i, s.machines[i].Resend(slow))
		}
		s.deliverAll()
		s.execute(slow)
	}
	if h := s.machines[slow].chain.base.Height; h <= bolt.CommitLag {
		t.Errorf("committed %d in the end, want more than %d", h, bolt.CommitLag)
	}
}
