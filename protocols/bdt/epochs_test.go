package bdt

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
)

// pass advances time by d. Each machine gets a Tick whenever its Wake is due.
func (s *shard) pass(d time.Duration) {
	for end := s.now.Add(d); ; {
		var next protocols.Time
		for i, m := range s.machines {
			if !s.down.Has(protocols.Index(i)) {
				next = protocols.Earliest(next, m.Wake())
			}
		}
		if next == 0 || next > end {
			s.now = end
			return
		}
		s.now = max(s.now, next)
		for i, m := range s.machines {
			if w := m.Wake(); w != 0 && w <= s.now && !s.down.Has(protocols.Index(i)) {
				s.apply(protocols.Index(i), m.Tick(s.now))
			}
		}
		s.deliverAll()
	}
}

// checkSame fails unless all replicas that are up delivered the same blocks, want in number.
func (s *shard) checkSame(want int) {
	s.t.Helper()
	var first []*Delivery
	for i := range s.machines {
		if s.down.Has(protocols.Index(i)) {
			continue
		}
		if first == nil {
			first = s.got[i]
		}
		if len(s.got[i]) != want {
			s.t.Fatalf("replica %d delivers %d blocks, want %d", i, len(s.got[i]), want)
		}
		for k, d := range s.got[i] {
			if d.Block.Height != uint64(k+1) || d.Block.Digest() != first[k].Block.Digest() || !slices.Equal(d.Refs, first[k].Refs) {
				s.t.Errorf("replica %d delivers another block at height %d", i, k+1)
			}
		}
	}
}

// TestLeadersDie: f leaders in a row are down from the start. All appended batches are committed: by last blocks until the
// leader of an epoch is up, then by its slots.
func TestLeadersDie(t *testing.T) {
	for n := 4; n <= 8; n++ {
		s := newShard(t, n)
		f := s.c.F()
		for i := range f {
			s.down.Add(protocols.Index(i))
		}
		for k := range f {
			s.append(protocols.Index(n-1), fmt.Sprint(k))
			s.pass(2 * maxPatience)
			s.checkSame(k + 1)
			last := s.got[n-1][k].Block
			if !last.Last || last.Epoch != uint64(k+1) || last.Slot != 0 || len(s.got[n-1][k].Refs) != 1 {
				t.Fatalf("n=%d: block %d of epoch %d, last %v", n, last.Height, last.Epoch, last.Last)
			}
		}
		s.append(protocols.Index(f), "fast")
		s.checkSame(f + 1)
		if b := s.got[n-1][f].Block; b.Last || b.Epoch != uint64(f+1) || b.Slot != 1 || b.Parent != s.got[n-1][f-1].Block.Digest() {
			t.Errorf("n=%d: with a leader that is up, block %d is of epoch %d, slot %d", n, b.Height, b.Epoch, b.Slot)
		}
	}
}

// TestNoLeaveForUncertifiedBatch: a batch that its owner shows to fewer than n-f replicas makes no replica leave, for any
// time. An idle shard does not leave either.
func TestNoLeaveForUncertifiedBatch(t *testing.T) {
	s := newShard(t, 4)
	s.down.Add(0) // the leader, which would propose
	s.down.Add(1)
	s.append(3, "a")
	s.pass(10 * maxPatience)
	for i := protocols.Index(2); i < 4; i++ {
		if m := s.machines[i]; m.current.status != nil || m.Epoch() != 1 {
			t.Errorf("replica %d has left", i)
		}
	}
}

// TestOthersFollow: when f+1 replicas left, the others leave too, without any time. When f left, they do not.
func TestOthersFollow(t *testing.T) {
	for n := 4; n <= 8; n++ {
		s := newShard(t, n)
		for i := range s.c.WeakQuorum() {
			for j, m := range s.machines {
				if j >= i && m.current.status != nil {
					t.Fatalf("n=%d: replica %d has left after %d others", n, j, i)
				}
			}
			var st Step
			s.machines[i].leave(s.now, &st)
			s.apply(protocols.Index(i), st)
			s.deliverAll()
		}
		s.checkSame(1)
		for i, m := range s.machines {
			if m.Epoch() != 2 || !s.got[i][0].Block.Last || len(s.got[i][0].Refs) != 0 {
				t.Errorf("n=%d: replica %d is in epoch %d", n, i, m.Epoch())
			}
		}
	}
}

// TestSlotsAreUsedUp: leaders take turns after their last slots, no leader counts as failed, and all committed blocks of a
// leader stay.
func TestSlotsAreUsedUp(t *testing.T) {
	s := newShard(t, 4, func(s *shard) { s.slots = 3 })
	for k := range 12 {
		s.append(protocols.Index(k%4), fmt.Sprint(k))
		for i, m := range s.machines {
			for len(m.chain.running) > 0 {
				s.apply(protocols.Index(i), m.Executed(s.now, m.chain.running[0].Height))
			}
		}
		s.deliverAll()
	}
	s.checkSame(16)
	for i, m := range s.machines {
		if m.Epoch() != 5 || m.Leader() != 0 || len(m.current.failed) != 0 {
			t.Errorf("replica %d is in epoch %d with leader %d; %d have failed", i, m.Epoch(), m.Leader(), len(m.current.failed))
		}
	}
	for k, d := range s.got[0] {
		if last := k%4 == 3; d.Block.Last != last {
			t.Errorf("block %d: last is %v", k+1, d.Block.Last)
		}
	}
}

// TestDumbo: without a fast lane every epoch is one block. There is no epoch without an appended batch, and no progress
// depends on a timer.
func TestDumbo(t *testing.T) {
	for n := 4; n <= 7; n++ {
		s := newShard(t, n, func(s *shard) { s.dumbo = true })
		s.down.Add(0)
		for k := range 3 {
			s.append(protocols.Index(1+k), fmt.Sprint(k))
			s.checkSame(k + 1)
		}
		s.pass(time.Hour)
		s.checkSame(3)
		for _, d := range s.got[1] {
			if !d.Block.Last || d.Block.Epoch != d.Block.Height {
				t.Errorf("n=%d: block %d is of epoch %d, last %v", n, d.Block.Height, d.Block.Epoch, d.Block.Last)
			}
		}
	}
}

// TestEpochsSurviveCrashes: a replica that is restored from disk while it is leaving sends the same Status and ends the
// epoch with the others. A replica that is restored after the end is in the next epoch.
func TestEpochsSurviveCrashes(t *testing.T) {
	s := newShard(t, 4)
	s.append(1, "a")
	s.down.Add(0)
	s.append(3, "b")
	s.pass(100 * time.Millisecond) // the batch becomes certified
	s.down.Add(2)                  // two replicas can leave, but not agree
	s.pass(2 * maxPatience)
	before := s.machines[3].current.status
	if before == nil || before.Slot != 1 || before.QC == nil {
		t.Fatalf("replica 3 has not left with a QC of slot 1: %+v", before)
	}
	for _, i := range []protocols.Index{1, 3} {
		s.machines[i] = s.restore(i, 0)
		s.got[i] = nil
		s.apply(i, s.machines[i].Start(s.now))
	}
	if after := s.machines[3].current.status; after == nil || string(after.Append(nil)) != string(before.Append(nil)) {
		t.Fatal("after a crash the Status differs")
	}
	s.down.Remove(2)
	for i := range s.machines {
		for j := range s.machines {
			if i != j {
				s.apply(protocols.Index(i), s.machines[i].Resend(protocols.Index(j)))
			}
		}
	}
	s.deliverAll()
	s.pass(2 * maxPatience)
	s.checkSame(2)
	again := s.restore(3, 0)
	if again.Epoch() != 2 || again.Leader() != 1 || again.Base().Height != 2 || len(again.past.epochs) != 1 {
		t.Errorf("after a crash in epoch 2: epoch %d, leader %d, height %d, %d past epochs",
			again.Epoch(), again.Leader(), again.Base().Height, len(again.past.epochs))
	}
}

// TestLateGetsTheDecision: a replica that missed the end of an epoch gets its decision as an answer and follows.
func TestLateGetsTheDecision(t *testing.T) {
	s := newShard(t, 4)
	s.append(1, "a")
	s.down.Add(0)
	s.append(3, "b")
	s.pass(2 * maxPatience)
	s.checkSame(2)
	s.down.Remove(0)
	if s.machines[0].Epoch() != 1 {
		t.Fatal("replica 0 left epoch 1 although it was down")
	}
	s.apply(1, s.machines[1].Resend(0))
	s.deliverAll()
	s.pass(2 * maxPatience)
	s.checkSame(2)
	if m := s.machines[0]; m.Epoch() != 2 {
		t.Errorf("replica 0 is in epoch %d", m.Epoch())
	}
}

// TestAdoptThroughEpochs: a replica that was disconnected adopts certified blocks across ends of epochs, into the middle of
// the current epoch. It then knows the same leader and the same failures as the others.
func TestAdoptThroughEpochs(t *testing.T) {
	s := newShard(t, 7)
	s.down.Add(0)
	s.down.Add(1)
	for k := range 4 {
		s.append(6, fmt.Sprint(k))
		s.pass(2 * maxPatience)
	}
	s.checkSame(4)
	var blocks []*bolt.Block
	for _, d := range s.got[6] {
		blocks = append(blocks, d.Block)
	}
	late := s.machines[0]
	late.Adopt(s.now, 6, blocks)
	m := s.machines[6]
	if late.Base().Digest() != m.Base().Digest() || late.Epoch() != m.Epoch() || late.Leader() != m.Leader() ||
		!slices.Equal(late.current.failed, m.current.failed) || late.current.base.Digest() != m.current.base.Digest() || m.Epoch() != 3 {
		t.Errorf("epoch %d, leader %d, failed %v; the others: %d, %d, %v", late.Epoch(), late.Leader(), late.current.failed, m.Epoch(), m.Leader(), m.current.failed)
	}
}

// TestTurns: leaders that failed are skipped: at most f of them, the newest, and only for a number of epochs.
func TestTurns(t *testing.T) {
	s := newShard(t, 7) // f = 2
	r := firstEpochStart(bolt.Genesis(s.c, 1, 1))
	parent := r.base
	end := func(full bool) {
		p := &bolt.Block{Epoch: r.number, Slot: 5, Height: 1}
		if full {
			p.Slot = 10
		}
		r = r.next(s.c, 10, p, bolt.NewLast(s.c, r.number, parent, 0, parent.Cut, parent.Inbound))
		back, err := decodeEpochStart(s.c, r.encode())
		if err != nil || back.leader != r.leader || back.number != r.number || !slices.Equal(back.failed, r.failed) {
			t.Fatalf("the start of an epoch decodes to another: %v", err)
		}
	}
	var led []protocols.Index
	for k := range 12 {
		led = append(led, r.leader)
		end(k != 0 && k != 3) // 0 and 3 fail once each
	}
	if want := []protocols.Index{0, 1, 2, 3, 4, 5, 6, 1, 2, 4, 5, 6}; !slices.Equal(led, want) {
		t.Errorf("led by %v, want %v", led, want)
	}
	for range 4 * 7 {
		end(true)
	}
	if len(r.failed) != 0 {
		t.Errorf("after %d epochs %v are still skipped", 4*7, r.failed)
	}
	for range 20 {
		end(false)
		if len(r.failed) > s.c.F() {
			t.Fatalf("%d replicas are skipped", len(r.failed))
		}
	}
}

// TestPatience: patience follows the time that commits take, within bounds, and doubles when an epoch commits nothing.
func TestPatience(t *testing.T) {
	var p patience
	if p.limit() != firstPatience {
		t.Errorf("before the first sample: %v, want %v", p.limit(), firstPatience)
	}
	for range 50 {
		p.observe(time.Millisecond)
	}
	if p.limit() != minPatience {
		t.Errorf("fast commits: %v", p.limit())
	}
	for range 50 {
		p.observe(600 * time.Millisecond)
	}
	if l := p.limit(); l < 4*600*time.Millisecond || l > 5*time.Second {
		t.Errorf("commits of 600 ms: %v", l)
	}
	before := p.limit()
	p.ended(false)
	if p.limit() != 2*before && p.limit() != maxPatience {
		t.Errorf("after an epoch without commits: %v, before %v", p.limit(), before)
	}
	for range 100 {
		p.ended(false)
		p.observe(time.Hour)
		p.ended(false)
	}
	if p.limit() != maxPatience {
		t.Errorf("the bound is %v, patience is %v", maxPatience, p.limit())
	}
}

// TestSlowLeader: a leader that commits each position just before the patience of the others ends gains little time by it. A
// network that has become slow gets more patience in the next epoch.
func TestSlowLeader(t *testing.T) {
	var p patience
	for range 50 {
		p.observe(5 * time.Millisecond)
	}
	p.begins()
	for range 100 {
		p.observe(p.limit() * 5 / 4) // a quarter passes before the certificate is sent
	}
	if p.limit() != firstPatience {
		t.Errorf("a slow leader raised patience from %v to %v", minPatience, p.limit())
	}
	for want := 2 * firstPatience; want <= maxPatience; want *= 2 {
		p.ended(true)
		p.begins()
		for range 100 {
			p.observe(p.limit() * 5 / 4)
		}
		if p.limit() != want {
			t.Errorf("in the next epoch %v, want %v", p.limit(), want)
		}
	}
}

// TestMark: the patience counts from the time when the certificate was sent to the leader, and so do the slots that pass
// over the position.
func TestMark(t *testing.T) {
	const limit = time.Second
	var k mark
	if _, done := k.update(t0, 5, 5); done || k.deadline(limit) != 0 {
		t.Error("a mark without a pending position has a deadline")
	}
	k.update(t0, 7, 5)
	if k.deadline(limit) != t0.Add(limit/4) || k.expired(t0.Add(time.Hour), limit, 1000, t0.Add(time.Hour).Millis(), nil) {
		t.Error("wrong deadline before the certificate was sent")
	}
	k.certSent, k.slot = t0.Add(limit/4), 10
	early, late := k.certSent.Millis(), k.certSent.Add(limit/2).Millis()
	if k.expired(t0.Add(limit), limit, 10, late, nil) || !k.expired(k.certSent.Add(limit), limit, 10, early, nil) || !k.expired(k.certSent, limit, 10+passedOver, late, nil) {
		t.Error("the mark expires at a wrong time")
	}
	if k.expired(k.certSent, limit, 10+passedOver, early, nil) {
		t.Error("old slots that a suspended replica receives at once count as passing over the position")
	}
	if _, done := k.update(t0, 9, 6); done {
		t.Error("a mark is done before its position is ordered")
	}
	if took, done := k.update(t0.Add(limit), 9, 7); !done || took != limit || k.position != 9 || k.certSent != 0 {
		t.Errorf("ordered after %v, done %v; the next is %+v", took, done, k)
	}
}

// TestSuspension: a replica that was suspended for long does not leave when it resumes. It leaves if nothing happens after
// that.
func TestSuspension(t *testing.T) {
	s := newShard(t, 4)
	s.down.Add(0)
	s.append(1, "a")
	s.pass(firstPatience / 2) // the certificate was sent, and no mark has expired
	s.now = s.now.Add(time.Minute)
	m := s.machines[2]
	m.Tick(s.now)
	if m.current.status != nil {
		t.Fatal("it left because of its own suspension")
	}
	s.pass(2 * maxPatience)
	s.checkSame(1)
}

// TestFutureMessages: at most maxFutureMessages messages of the next epoch are kept for each peer. A peer that sent more, or
// messages of later epochs, is asked again when their epoch has come.
func TestFutureMessages(t *testing.T) {
	x := newFutureMessages(4)
	for k := range maxFutureMessages + 1 {
		x.keep(1, 2, 1, &bolt.Vote{Epoch: 2, Slot: uint64(k + 1)})
	}
	x.keep(2, 3, 1, &bolt.Vote{Epoch: 3, Slot: 1})
	x.keep(3, 2, 1, &bolt.Vote{Epoch: 2, Slot: 1})
	if again := x.again(1); again.Len() != 0 {
		t.Error("asked before the epoch has come")
	}
	got := x.take(2)
	if len(got) != maxFutureMessages+1 || got[0].from != 1 || got[maxFutureMessages].from != 3 || got[1].message.(*bolt.Vote).Slot != 2 {
		t.Errorf("%d messages were kept", len(got))
	}
	if again := x.again(2); !again.Has(1) || again.Has(3) {
		t.Errorf("peers asked again: %v", again.Members())
	}
	if again := x.again(3); again.Len() != 0 {
		t.Error("asked twice")
	}
}
