package bdt

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
)

// pass lets time go by: each machine gets its Ticks when it wants them.
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
				s.took(protocols.Index(i), m.Tick(s.now))
			}
		}
		s.settle()
	}
}

// same fails unless all replicas that are up were delivered the same blocks, so many.
func (s *shard) same(want int) {
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
			s.t.Fatalf("replica %d is delivered %d blocks, want %d", i, len(s.got[i]), want)
		}
		for k, d := range s.got[i] {
			if d.Block.Height != uint64(k+1) || d.Block.Digest() != first[k].Block.Digest() || !slices.Equal(d.Refs, first[k].Refs) {
				s.t.Errorf("replica %d is delivered something else at height %d", i, k+1)
			}
		}
	}
}

// TestLeadersDie: with f leaders in a row dead from the start, all that is appended is committed, by last blocks until
// an epoch's leader is alive, then by its slots.
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
			s.same(k + 1)
			last := s.got[n-1][k].Block
			if !last.Last || last.Epoch != uint64(k+1) || last.Slot != 0 || len(s.got[n-1][k].Refs) != 1 {
				t.Fatalf("n=%d: block %d of epoch %d, last %v", n, last.Height, last.Epoch, last.Last)
			}
		}
		s.append(protocols.Index(f), "fast")
		s.same(f + 1)
		if b := s.got[n-1][f].Block; b.Last || b.Epoch != uint64(f+1) || b.Slot != 1 || b.Parent != s.got[n-1][f-1].Block.Digest() {
			t.Errorf("n=%d: with a leader that is alive, block %d is of epoch %d, slot %d", n, b.Height, b.Epoch, b.Slot)
		}
	}
}

// TestNobodyLeavesForWhatIsNotCertified: a batch that one lane shows to fewer than n-f, whatever time passes, makes
// nobody leave; nor does an idle shard.
func TestNobodyLeavesForWhatIsNotCertified(t *testing.T) {
	s := newShard(t, 4)
	s.down.Add(0) // the leader, who would propose
	s.down.Add(1)
	s.append(3, "a")
	s.pass(10 * maxPatience)
	for i := protocols.Index(2); i < 4; i++ {
		if m := s.machines[i]; m.now.status != nil || m.Epoch() != 1 {
			t.Errorf("replica %d has left", i)
		}
	}
}

// TestOthersFollow: f+1 who left take the others along, f do not, though no time passes.
func TestOthersFollow(t *testing.T) {
	for n := 4; n <= 8; n++ {
		s := newShard(t, n)
		for i := range s.c.WeakQuorum() {
			for j, m := range s.machines {
				if j >= i && m.now.status != nil {
					t.Fatalf("n=%d: replica %d has left after %d others", n, j, i)
				}
			}
			var st Step
			s.machines[i].leave(s.now, &st)
			s.took(protocols.Index(i), st)
			s.settle()
		}
		s.same(1)
		for i, m := range s.machines {
			if m.Epoch() != 2 || !s.got[i][0].Block.Last || len(s.got[i][0].Refs) != 0 {
				t.Errorf("n=%d: replica %d is in epoch %d", n, i, m.Epoch())
			}
		}
	}
}

// TestSlotsAreUsedUp: leaders take turns after their last slots, nobody is taken to have failed, and what a leader
// committed stays.
func TestSlotsAreUsedUp(t *testing.T) {
	s := newShard(t, 4, func(s *shard) { s.slots = 3 })
	for k := range 12 {
		s.append(protocols.Index(k%4), fmt.Sprint(k))
		for i, m := range s.machines {
			for len(m.running) > 0 {
				s.took(protocols.Index(i), m.Executed(s.now, m.running[0].Height))
			}
		}
		s.settle()
	}
	s.same(16)
	for i, m := range s.machines {
		if m.Epoch() != 5 || m.Leader() != 0 || len(m.now.failed) != 0 {
			t.Errorf("replica %d is in epoch %d with leader %d; %d have failed", i, m.Epoch(), m.Leader(), len(m.now.failed))
		}
	}
	for k, d := range s.got[0] {
		if last := k%4 == 3; d.Block.Last != last {
			t.Errorf("block %d: last is %v", k+1, d.Block.Last)
		}
	}
}

// TestDumbo: without a fast lane every epoch is a block, what nobody appends makes no epoch, and nothing waits for a
// timer.
func TestDumbo(t *testing.T) {
	for n := 4; n <= 7; n++ {
		s := newShard(t, n, func(s *shard) { s.dumbo = true })
		s.down.Add(0)
		for k := range 3 {
			s.append(protocols.Index(1+k), fmt.Sprint(k))
			s.same(k + 1)
		}
		s.pass(time.Hour)
		s.same(3)
		for _, d := range s.got[1] {
			if !d.Block.Last || d.Block.Epoch != d.Block.Height {
				t.Errorf("n=%d: block %d is of epoch %d, last %v", n, d.Block.Height, d.Block.Epoch, d.Block.Last)
			}
		}
	}
}

// TestEpochsSurviveCrashes: a replica made again from its disk in the middle of leaving says the same Status, and ends
// the epoch with the others; one made again after it is in the next.
func TestEpochsSurviveCrashes(t *testing.T) {
	s := newShard(t, 4)
	s.append(1, "a")
	s.down.Add(0)
	s.append(3, "b")
	s.pass(100 * time.Millisecond) // it is certified
	s.down.Add(2)                  // so that two leave and nothing can be agreed
	s.pass(2 * maxPatience)
	before := s.machines[3].now.status
	if before == nil || before.Slot != 1 || before.QC == nil {
		t.Fatalf("replica 3 has not left with what it knows: %+v", before)
	}
	for _, i := range []protocols.Index{1, 3} {
		s.machines[i] = s.restore(i, 0)
		s.got[i] = nil
		s.took(i, s.machines[i].Start(s.now))
	}
	if after := s.machines[3].now.status; after == nil || string(after.Append(nil)) != string(before.Append(nil)) {
		t.Fatal("after a crash the Status is another")
	}
	s.down.Remove(2)
	for i := range s.machines {
		for j := range s.machines {
			if i != j {
				s.took(protocols.Index(i), s.machines[i].Resend(protocols.Index(j)))
			}
		}
	}
	s.settle()
	s.pass(2 * maxPatience)
	s.same(2)
	again := s.restore(3, 0)
	if again.Epoch() != 2 || again.Leader() != 1 || again.Base().Height != 2 || len(again.past) != 1 {
		t.Errorf("after a crash in epoch 2: epoch %d, leader %d, height %d, %d epochs that others may ask about",
			again.Epoch(), again.Leader(), again.Base().Height, len(again.past))
	}
}

// TestLateGetsTheDecision: one who missed the end of an epoch is answered with its decision, and comes along.
func TestLateGetsTheDecision(t *testing.T) {
	s := newShard(t, 4)
	s.append(1, "a")
	s.down.Add(0)
	s.append(3, "b")
	s.pass(2 * maxPatience)
	s.same(2)
	s.down.Remove(0)
	if s.machines[0].Epoch() != 1 {
		t.Fatal("replica 0 was down")
	}
	s.took(1, s.machines[1].Resend(0))
	s.settle()
	s.pass(2 * maxPatience)
	s.same(2)
	if m := s.machines[0]; m.Epoch() != 2 {
		t.Errorf("replica 0 is in epoch %d", m.Epoch())
	}
}

// TestAdoptThroughEpochs: certified blocks lead a replica that was away through ends of epochs, into the middle of the
// current one, where it knows the same leader and the same failures.
func TestAdoptThroughEpochs(t *testing.T) {
	s := newShard(t, 7)
	s.down.Add(0)
	s.down.Add(1)
	for k := range 4 {
		s.append(6, fmt.Sprint(k))
		s.pass(2 * maxPatience)
	}
	s.same(4)
	var blocks []*bolt.Block
	for _, d := range s.got[6] {
		blocks = append(blocks, d.Block)
	}
	late := s.machines[0]
	late.Adopt(s.now, 6, blocks)
	m := s.machines[6]
	if late.Base().Digest() != m.Base().Digest() || late.Epoch() != m.Epoch() || late.Leader() != m.Leader() ||
		!slices.Equal(late.now.failed, m.now.failed) || late.now.base.Digest() != m.now.base.Digest() || m.Epoch() != 3 {
		t.Errorf("epoch %d, leader %d, failed %v; the others: %d, %d, %v", late.Epoch(), late.Leader(), late.now.failed, m.Epoch(), m.Leader(), m.now.failed)
	}
}

// TestTurns: leaders that failed are passed over, at most f of them, the newest, and not for ever.
func TestTurns(t *testing.T) {
	s := newShard(t, 7) // f = 2
	r := firstReign(bolt.Genesis(s.c, 1, 1))
	parent := r.base
	end := func(full bool) {
		p := &bolt.Block{Epoch: r.number, Slot: 5, Height: 1}
		if full {
			p.Slot = 10
		}
		r = r.next(s.c, 10, p, bolt.NewLast(s.c, r.number, parent, 0, parent.Cut, parent.Inbound))
		back, err := decodeReign(s.c, r.encode())
		if err != nil || back.leader != r.leader || back.number != r.number || !slices.Equal(back.failed, r.failed) {
			t.Fatalf("an epoch's beginning does not survive its encoding: %v", err)
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
		t.Errorf("after %d epochs %v are still passed over", 4*7, r.failed)
	}
	for range 20 {
		end(false)
		if len(r.failed) > s.c.F() {
			t.Fatalf("%d are passed over", len(r.failed))
		}
	}
}

// TestPatience follows what commits take, within bounds, and doubles when nothing is committed.
func TestPatience(t *testing.T) {
	var p patience
	if p.limit() != firstPatience {
		t.Error("before anything is known")
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
		t.Errorf("after a fruitless epoch: %v, before %v", p.limit(), before)
	}
	for range 100 {
		p.ended(false)
		p.observe(time.Hour)
		p.ended(false)
	}
	if p.limit() != maxPatience {
		t.Errorf("the bound is %v, patience %v", maxPatience, p.limit())
	}
}

// TestDripping: a leader that commits each thing just before the others lose patience gains little by it, and a network
// that has become slow is waited for in the next epoch.
func TestDripping(t *testing.T) {
	var p patience
	for range 50 {
		p.observe(5 * time.Millisecond)
	}
	p.begins()
	for range 100 {
		p.observe(p.limit() * 5 / 4) // a quarter before the leader is told
	}
	if p.limit() != firstPatience {
		t.Errorf("a dripping leader took patience from %v to %v", minPatience, p.limit())
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

// TestMark: the wait begins when the leader was told, and being passed over counts from there, too.
func TestMark(t *testing.T) {
	const limit = time.Second
	var k mark
	if _, done := k.follow(t0, 5, 5); done || k.due(limit) != 0 {
		t.Error("nothing is pending")
	}
	k.follow(t0, 7, 5)
	if k.due(limit) != t0.Add(limit/4) || k.tired(t0.Add(time.Hour), limit, 1000, t0.Add(time.Hour).Millis(), nil) {
		t.Error("it waits, though the leader was not told")
	}
	k.told, k.slot = t0.Add(limit/4), 10
	early, late := k.told.Millis(), k.told.Add(limit/2).Millis()
	if k.tired(t0.Add(limit), limit, 10, late, nil) || !k.tired(k.told.Add(limit), limit, 10, early, nil) || !k.tired(k.told, limit, 10+passedOver, late, nil) {
		t.Error("it waits for another time")
	}
	if k.tired(k.told, limit, 10+passedOver, early, nil) {
		t.Error("slots that a replica finds when it has stood still passed over what was certified later")
	}
	if _, done := k.follow(t0, 9, 6); done {
		t.Error("what was marked is not ordered")
	}
	if took, done := k.follow(t0.Add(limit), 9, 7); !done || took != limit || k.position != 9 || k.told != 0 {
		t.Errorf("ordered after %v, done %v; the next is %+v", took, done, k)
	}
}

// TestStandingStill: a replica that was stopped for long does not leave when it goes on, and does if then nothing comes.
func TestStandingStill(t *testing.T) {
	s := newShard(t, 4)
	s.down.Add(0)
	s.append(1, "a")
	s.pass(firstPatience / 2) // the leader was told, and nobody is tired yet
	s.now = s.now.Add(time.Minute)
	m := s.machines[2]
	m.Tick(s.now)
	if m.now.status != nil {
		t.Fatal("its own sleep made it leave")
	}
	s.pass(2 * maxPatience)
	s.same(1)
}

// TestEarly: so many messages of the next epoch are kept for each peer, and of who sent more or later ones something is
// asked for when their epoch has come.
func TestEarly(t *testing.T) {
	x := newEarly(4)
	for k := range maxEarly + 1 {
		x.keep(1, 2, 1, &bolt.Vote{Epoch: 2, Slot: uint64(k + 1)})
	}
	x.keep(2, 3, 1, &bolt.Vote{Epoch: 3, Slot: 1})
	x.keep(3, 2, 1, &bolt.Vote{Epoch: 2, Slot: 1})
	if again := x.again(1); again.Len() != 0 {
		t.Error("asked too early")
	}
	got := x.take(2)
	if len(got) != maxEarly+1 || got[0].from != 1 || got[maxEarly].from != 3 || got[1].message.(*bolt.Vote).Slot != 2 {
		t.Errorf("%d messages were kept", len(got))
	}
	if again := x.again(2); !again.Has(1) || again.Has(3) {
		t.Errorf("asked again: %v", again.Members())
	}
	if again := x.again(3); again.Len() != 0 {
		t.Error("asked twice")
	}
}
