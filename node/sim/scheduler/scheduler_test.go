package scheduler

import (
	"slices"
	"testing"
	"time"

	"bdtnode/internal/digest"
	"bdtnode/node/replica"
	"bdtnode/node/sim/network"
	"bdtnode/node/sim/rig"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/bolt"
	toss "bdtnode/protocols/coin"
	"bdtnode/protocols/mvba"
)

// scheduled is a shard with a
func scheduled(t *testing.T, nodes int, f Scheduler) *rig.Rig {
	t.Helper()
	r, err := rig.New(nodes)
	if err != nil {
		t.Fatal(err)
	}
	f.Start(r.Shard)
	return r
}

// finalize is a message that a replica may send at any time, and that has no effect.
func finalize(slot uint64) network.Packet {
	m := &bolt.Finalize{Epoch: 1, Slot: slot, Digest: digest.Of("bdt/test/1", []byte{byte(slot)})}
	return network.Packet{Frame: replica.Encode(m), Message: m}
}

// delivered lists the slots of the Finalize messages that one node received from another.
func delivered(r *rig.Rig, from, to int) []uint64 {
	var slots []uint64
	for _, e := range r.Events {
		if c, ok := e.Detail.(*bolt.Finalize); ok && e.What == "message" && e.Who == from && e.To == to {
			slots = append(slots, c.Slot)
		}
	}
	return slots
}

// TestSchedulerCoin: the scheduler knows a coin when enough replicas have sent their shares of it, and not before, also
// if replicas repeat or forge shares.
func TestSchedulerCoin(t *testing.T) {
	for _, n := range []int{4, 7} {
		s := scheduled(t, n, Scheduler{Patience: time.Second})
		k := s.Network.Scheduler.(*Scheduling)
		name := toss.Name{Epoch: 1, Kind: 1, Round: 2}
		at := mvba.At{Instance: mvba.Instance{Epoch: 1, Kind: 1}, Round: 2}
		statement := name.Statement(s.Committee)
		release := func(i, of int) *toss.Release {
			return &toss.Release{Name: name, Share: s.Holder(of).Share(statement)}
		}
		enough := s.Committee.WeakQuorum()
		for i := range enough - 1 {
			k.Sent(protocols.Index(i), release(i, i))
			k.Sent(protocols.Index(i), release(i, i))               // a repetition
			k.Sent(protocols.Index(n-1-i), release(n-1-i, i))       // of another replica
			k.Sent(protocols.Index(n-1), &toss.Release{Name: name}) // not a share
			other := toss.Name{Epoch: 1, Kind: 1, Round: 1}.Statement(s.Committee)
			k.Sent(protocols.Index(n-1), &toss.Release{Name: name, Share: s.Holder(n - 1).Share(other)})
			if _, out := k.elected(at); out {
				t.Fatalf("n=%d: the coin is out with %d shares, %d determine it", n, i+1, enough)
			}
		}
		k.Sent(protocols.Index(n-1), release(n-1, n-1))
		leader, out := k.elected(at)
		known := toss.NewToss(s.Committee, s.Coin, name)
		for i := range enough {
			known.Add(protocols.Index(i), s.Holder(i).Share(statement))
		}
		if !out || leader != known.Leader() {
			t.Errorf("n=%d: out %v, elects %d, want %d", n, out, leader, known.Leader())
		}
		at.Round = 1
		if _, out := k.elected(at); out {
			t.Errorf("n=%d: another round's coin is out", n)
		}
	}
}

// TestSchedulerPatience: with any tactic, a scheduler releases every message after its patience, and all messages when
// faults end.
func TestSchedulerPatience(t *testing.T) {
	s := scheduled(t, 4, Scheduler{Patience: 2 * time.Second, Tactics: []Tactic{greedy{}}})
	begun := s.Now()
	for slot := range uint64(5) {
		s.Network.Send(0, 1, finalize(slot+1))
	}
	s.For(begun.Add(2*time.Second - time.Millisecond).Sub(s.Now()))
	if got := delivered(s, 0, 1); len(got) != 0 {
		t.Errorf("slots %v came before the scheduler's patience ended", got)
	}
	s.For(begun.Add(2*time.Second + time.Millisecond).Sub(s.Now()))
	if got := delivered(s, 0, 1); len(got) != 5 {
		t.Errorf("slots %v came with the scheduler's patience, want 5", got)
	}
	s.Network.Send(0, 1, finalize(6))
	s.For(time.Second)
	s.Active = false
	s.Heal()
	s.For(time.Millisecond)
	if got := delivered(s, 0, 1); len(got) != 6 {
		t.Errorf("slots %v came when faults ended, want 6", got)
	}
}

// TestSchedulerQuorum: the scheduler recognises the message that completes a quorum with the receiver's own. It is not
// an earlier one, nor one that arrived already.
func TestSchedulerQuorum(t *testing.T) {
	s := scheduled(t, 4, Scheduler{Patience: time.Second})
	k := s.Network.Scheduler.(*Scheduling)
	vote := func(from int, slot uint64) *network.Flight {
		return &network.Flight{From: from, To: 0, Packet: network.Packet{Message: &bolt.Vote{Epoch: 1, Slot: slot}}}
	}
	release := func(from int) *network.Flight {
		return &network.Flight{From: from, To: 0, Packet: network.Packet{Message: &toss.Release{Name: toss.Name{Epoch: 1, Round: 1}}}}
	}
	if k.completes(vote(1, 1)) {
		t.Error("one vote of another and the own one are no quorum of 4")
	}
	k.Delivered(vote(1, 1))
	if k.completes(vote(1, 1)) {
		t.Error("the same vote twice counts once")
	}
	if k.completes(vote(2, 2)) {
		t.Error("votes of two slots do not count together")
	}
	if !k.completes(vote(2, 1)) {
		t.Error("three votes are a quorum of 4")
	}
	if !k.completes(release(3)) {
		t.Error("another's share and the own one determine the coin")
	}
	if k.completes(&network.Flight{From: 1, To: 0, Packet: finalize(1)}) {
		t.Error("a Finalize completes nothing alone")
	}
}

// TestStarving: of a round's broadcasts f do not complete until the coin is known, and from then on the elected one
// does not.
func TestStarving(t *testing.T) {
	const n = 7
	s := scheduled(t, n, Scheduler{Patience: time.Hour, Tactics: []Tactic{StarveBroadcasts{}}})
	k := s.Network.Scheduler.(*Scheduling)
	for round := range uint32(40) {
		at := mvba.At{Instance: mvba.Instance{Epoch: 1, Kind: 1}, Round: round + 1}
		name := toss.Name{Epoch: 1, Kind: 1, Round: round + 1}
		lock := func(by int) *network.Flight {
			return &network.Flight{From: by, To: (by + 1) % n, Sent: s.Now(), Packet: network.Packet{Message: &mvba.Lock{At: at}}}
		}
		var starved []int
		for by := range n {
			if k.holdUntil(lock(by)) > s.Now() {
				starved = append(starved, by)
			}
		}
		if len(starved) != 2 {
			t.Fatalf("round %d: broadcasts of %v are kept, want 2", round+1, starved)
		}
		for i := range s.Committee.WeakQuorum() {
			k.Sent(protocols.Index(i), &toss.Release{Name: name, Share: s.Holder(i).Share(name.Statement(s.Committee))})
		}
		leader, _ := k.elected(at)
		for by := range n {
			if kept := k.holdUntil(lock(by)) > s.Now(); kept != (by == int(leader)) {
				t.Errorf("round %d elects %d: kept %v of %d", round+1, leader, kept, by)
			}
		}
	}
}

// TestLateProposals: proposals arrive late at f+1 replicas. Replicas that have left need not receive them.
func TestLateProposals(t *testing.T) {
	s := scheduled(t, 4, Scheduler{Patience: time.Second, Tactics: []Tactic{LateProposals{}}})
	k := s.Network.Scheduler.(*Scheduling)
	m := &bolt.Propose{Block: &bolt.Block{Epoch: 1, Slot: 1}}
	late := func() []int {
		var all []int
		for to := 1; to < 4; to++ {
			if k.holdUntil(&network.Flight{To: to, Sent: s.Now(), Packet: network.Packet{Message: m}}) > s.Now() {
				all = append(all, to)
			}
		}
		return all
	}
	first := late()
	if len(first) == 0 || len(first) > 2 {
		t.Fatalf("late at %v", first)
	}
	k.Sent(protocols.Index(first[0]), &bdt.Status{Claim: bdt.Claim{Epoch: 1}})
	if slices.Contains(late(), first[0]) {
		t.Errorf("late at %d, which has left", first[0])
	}
}

// TestLastOfQuorum: the messages that complete a quorum are held back at some replicas and not at others.
func TestLastOfQuorum(t *testing.T) {
	s := scheduled(t, 4, Scheduler{Patience: time.Second, Tactics: []Tactic{LastOfQuorum{}}})
	k := s.Network.Scheduler.(*Scheduling)
	d := digest.Of("bdt/test/1", nil)
	for e, want := range map[uint64]int{1: 1, 2: 3} {
		kept := 0
		for to := range 4 {
			vote := func(from int) *network.Flight {
				return &network.Flight{From: (to + from) % 4, To: to, Sent: s.Now(), Packet: network.Packet{Message: &bolt.Vote{Epoch: e, Slot: 1, Digest: d}}}
			}
			if k.holdUntil(vote(1)) > s.Now() {
				t.Error("the first vote is kept")
			}
			k.Delivered(vote(1))
			if k.holdUntil(vote(2)) > s.Now() {
				kept++
			}
		}
		if kept != want {
			t.Errorf("epoch %d: kept at %d replicas, want %d", e, kept, want)
		}
	}
}

// greedy holds back everything for ever.
type greedy struct{}

func (greedy) String() string { return "delays all messages" }

func (greedy) Until(k *Scheduling, f *network.Flight) protocols.Time {
	return k.Expiry(f).Add(time.Hour)
}
