package sim

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"bdtnode/internal/digest"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/bolt"
	toss "bdtnode/protocols/coin"
	"bdtnode/protocols/mvba"
)

// scheduled is a shard with a scheduler.
func scheduled(t *testing.T, nodes int, f Scheduler) (*cluster, *[]Event) {
	t.Helper()
	s, seen := wired(t, nodes)
	f.start(s)
	return s, seen
}

// TestSchedulerCoin: the scheduler knows a coin when enough replicas have sent their shares of it, and not before, also
// if replicas repeat or forge shares.
func TestSchedulerCoin(t *testing.T) {
	for _, n := range []int{4, 7} {
		s, _ := scheduled(t, n, Scheduler{Patience: time.Second})
		k := s.network.scheduling
		name := toss.Name{Epoch: 1, Kind: 1, Round: 2}
		at := mvba.At{Instance: mvba.Instance{Epoch: 1, Kind: 1}, Round: 2}
		statement := name.Statement(s.committee)
		release := func(i, of int) *toss.Release {
			return &toss.Release{Name: name, Share: s.shares[of].Share(statement)}
		}
		enough := s.committee.WeakQuorum()
		for i := range enough - 1 {
			k.sees(protocols.Index(i), release(i, i))
			k.sees(protocols.Index(i), release(i, i))               // a repetition
			k.sees(protocols.Index(n-1-i), release(n-1-i, i))       // of another replica
			k.sees(protocols.Index(n-1), &toss.Release{Name: name}) // not a share
			other := toss.Name{Epoch: 1, Kind: 1, Round: 1}.Statement(s.committee)
			k.sees(protocols.Index(n-1), &toss.Release{Name: name, Share: s.shares[n-1].Share(other)})
			if _, out := k.elected(at); out {
				t.Fatalf("n=%d: the coin is out with %d shares, %d determine it", n, i+1, enough)
			}
		}
		k.sees(protocols.Index(n-1), release(n-1, n-1))
		leader, out := k.elected(at)
		known := toss.NewToss(s.committee, s.coin, name)
		for i := range enough {
			known.Add(protocols.Index(i), s.shares[i].Share(statement))
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

// greedy holds back everything for ever.
type greedy struct{}

func (greedy) String() string { return "delays all messages" }

func (greedy) until(k *scheduling, f *flight) protocols.Time { return k.expiry(f).Add(time.Hour) }

// TestSchedulerPatience: with any tactic, a scheduler releases every message after its patience, and all messages when
// faults end.
func TestSchedulerPatience(t *testing.T) {
	s, seen := scheduled(t, 4, Scheduler{Patience: 2 * time.Second, Tactics: []Tactic{greedy{}}})
	begun := s.now
	for slot := range uint64(5) {
		s.network.send(0, 1, finalize(slot+1))
	}
	s.play(begun.Add(2*time.Second - time.Millisecond))
	if got := delivered(*seen, 0, 1); len(got) != 0 {
		t.Errorf("slots %v came before the scheduler's patience ended", got)
	}
	s.play(begun.Add(2*time.Second + time.Millisecond))
	if got := delivered(*seen, 0, 1); len(got) != 5 {
		t.Errorf("slots %v came with the scheduler's patience, want 5", got)
	}
	s.network.send(0, 1, finalize(6))
	s.play(s.now.Add(time.Second))
	s.active = false
	s.heal()
	s.play(s.now.Add(time.Millisecond))
	if got := delivered(*seen, 0, 1); len(got) != 6 {
		t.Errorf("slots %v came when faults ended, want 6", got)
	}
}

// TestSchedulerQuorum: the scheduler recognises the message that completes a quorum with the receiver's own. It is not
// an earlier one, nor one that arrived already.
func TestSchedulerQuorum(t *testing.T) {
	s, _ := scheduled(t, 4, Scheduler{Patience: time.Second})
	k := s.network.scheduling
	vote := func(from int, slot uint64) *flight {
		return &flight{from: from, to: 0, packet: packet{message: &bolt.Vote{Epoch: 1, Slot: slot}}}
	}
	release := func(from int) *flight {
		return &flight{from: from, to: 0, packet: packet{message: &toss.Release{Name: toss.Name{Epoch: 1, Round: 1}}}}
	}
	if k.completes(vote(1, 1)) {
		t.Error("one vote of another and the own one are no quorum of 4")
	}
	k.passed(vote(1, 1))
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
	if k.completes(&flight{from: 1, to: 0, packet: finalize(1)}) {
		t.Error("a Finalize completes nothing alone")
	}
}

// TestStarving: of a round's broadcasts f do not complete until the coin is known, and from then on the elected one
// does not.
func TestStarving(t *testing.T) {
	const n = 7
	s, _ := scheduled(t, n, Scheduler{Patience: time.Hour, Tactics: []Tactic{StarveBroadcasts{}}})
	k := s.network.scheduling
	for round := range uint32(40) {
		at := mvba.At{Instance: mvba.Instance{Epoch: 1, Kind: 1}, Round: round + 1}
		name := toss.Name{Epoch: 1, Kind: 1, Round: round + 1}
		lock := func(by int) *flight {
			return &flight{from: by, to: (by + 1) % n, sent: s.now, packet: packet{message: &mvba.Lock{At: at}}}
		}
		var starved []int
		for by := range n {
			if k.wants(lock(by)) > s.now {
				starved = append(starved, by)
			}
		}
		if len(starved) != 2 {
			t.Fatalf("round %d: broadcasts of %v are kept, want 2", round+1, starved)
		}
		for i := range s.committee.WeakQuorum() {
			k.sees(protocols.Index(i), &toss.Release{Name: name, Share: s.shares[i].Share(name.Statement(s.committee))})
		}
		leader, _ := k.elected(at)
		for by := range n {
			if kept := k.wants(lock(by)) > s.now; kept != (by == int(leader)) {
				t.Errorf("round %d elects %d: kept %v of %d", round+1, leader, kept, by)
			}
		}
	}
}

// rounds runs some seeds without a fast lane.
func rounds(t *testing.T, n, seeds int, faults ...Fault) Rounds {
	t.Helper()
	var all Rounds
	for seed := range uint64(seeds) {
		cfg := undisturbed(seed+1, n, faults...)
		cfg.Dumbo, cfg.Active = true, 15*time.Second
		r, err := Run(t.Context(), cfg, nil)
		if err != nil {
			report(t, err)
			return all
		}
		all.Add(r.Agreements)
	}
	return all
}

// TestSchedulerRounds: a scheduler makes agreements take more rounds, about n/(n-f) on average. That is the maximum: a
// replica that releases a share knows of n-f complete broadcasts, and the coin elects one of these with probability
// (n-f)/n.
func TestSchedulerRounds(t *testing.T) {
	for _, n := range []int{4, 7} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			quiet := rounds(t, n, 3)
			starved := rounds(t, n, 3, Scheduler{Patience: 3 * time.Second, Tactics: []Tactic{StarveBroadcasts{}}})
			split := rounds(t, n, 3, Scheduler{Patience: 3 * time.Second, Tactics: []Tactic{SplitViews{}}})
			t.Logf("n=%d: %.3f rounds undisturbed, %.3f starved (at most %d, of %d), %.3f split", n, quiet.Mean(), starved.Mean(), starved.Max, starved.Agreements, split.Mean())
			if quiet.Mean() > 1.1 || starved.Mean() < quiet.Mean()+0.2 || split.Mean() < quiet.Mean()+0.02 {
				t.Errorf("%.3f rounds starved and %.3f split, %.3f undisturbed", starved.Mean(), split.Mean(), quiet.Mean())
			}
			most := float64(n)/float64(n-(n-1)/3) + 0.25 // some 5 standard deviations of the mean
			for _, r := range []Rounds{starved, split} {
				if r.Mean() > most || r.Max > 30 {
					t.Errorf("%.3f rounds, at most %d, want a mean below %.2f", r.Mean(), r.Max, most)
				}
			}
		})
	}
}

// watching is a tactic that records the state of a lone replica when others leave its epoch.
type watching struct {
	LoneReplica
	ahead map[uint64]bool // epochs in which it had committed, or certified, a block that another replica lacked when it left
}

func (t watching) until(k *scheduling, f *flight) protocols.Time {
	if x, ok := f.packet.message.(*bdt.Status); ok {
		one, other := k.s.nodes[k.lone(x.Epoch)], k.s.nodes[f.from]
		if one != other && one.core.Status().Epoch == x.Epoch && one.core.Status().Committed > other.core.Status().Committed {
			t.ahead[x.Epoch] = true
		}
	}
	return t.LoneReplica.until(k, f)
}

// TestLoneReplica: repeatedly one replica alone commits, and the others leave without knowing of it. The committed
// blocks remain.
func TestLoneReplica(t *testing.T) {
	ahead := 0
	for seed := range uint64(4) {
		x := watching{LoneReplica{Finalizes: true}, make(map[uint64]bool)}
		cfg := undisturbed(seed+1, []int{4, 7}[seed%2], Scheduler{Patience: 5 * time.Second, Tactics: []Tactic{x}})
		if _, err := Run(t.Context(), cfg, nil); err != nil {
			report(t, err)
		}
		ahead += len(x.ahead)
	}
	if ahead < 4 {
		t.Errorf("in %d epochs did one replica commit alone, want 4 or more", ahead)
	}
}

// TestLateProposals: proposals arrive late at f+1 replicas. Replicas that have left need not receive them.
func TestLateProposals(t *testing.T) {
	s, _ := scheduled(t, 4, Scheduler{Patience: time.Second, Tactics: []Tactic{LateProposals{}}})
	k := s.network.scheduling
	m := &bolt.Propose{Block: &bolt.Block{Epoch: 1, Slot: 1}}
	late := func() []int {
		var all []int
		for to := 1; to < 4; to++ {
			if k.wants(&flight{to: to, sent: s.now, packet: packet{message: m}}) > s.now {
				all = append(all, to)
			}
		}
		return all
	}
	first := late()
	if len(first) == 0 || len(first) > 2 {
		t.Fatalf("late at %v", first)
	}
	k.sees(protocols.Index(first[0]), &bdt.Status{Claim: bdt.Claim{Epoch: 1}})
	if slices.Contains(late(), first[0]) {
		t.Errorf("late at %d, which has left", first[0])
	}
}

// TestLastOfQuorum: the messages that complete a quorum are held back at some replicas and not at others.
func TestLastOfQuorum(t *testing.T) {
	s, _ := scheduled(t, 4, Scheduler{Patience: time.Second, Tactics: []Tactic{LastOfQuorum{}}})
	k := s.network.scheduling
	d := digest.Of("bdt/test/1", nil)
	for e, want := range map[uint64]int{1: 1, 2: 3} {
		kept := 0
		for to := range 4 {
			vote := func(from int) *flight {
				return &flight{from: (to + from) % 4, to: to, sent: s.now, packet: packet{message: &bolt.Vote{Epoch: e, Slot: 1, Digest: d}}}
			}
			if k.wants(vote(1)) > s.now {
				t.Error("the first vote is kept")
			}
			k.passed(vote(1))
			if k.wants(vote(2)) > s.now {
				kept++
			}
		}
		if kept != want {
			t.Errorf("epoch %d: kept at %d replicas, want %d", e, kept, want)
		}
	}
}

// TestSchedulerAndAdversaries: with a scheduler and f Byzantine replicas every accepted transaction gets its answer, with and
// without the fast lane. The shard commits while both are active.
func TestSchedulerAndAdversaries(t *testing.T) {
	for k, list := range []string{"scheduler,silent", "scheduler,false-leaving", "scheduler,equivocating-leader", "scheduler,double-votes"} {
		for _, consensus := range []string{"bdt", "dumbo"} {
			p := Plan{Shards: 1, Nodes: []int{4, 7}, For: 60 * time.Second, Consensus: consensus, Load: 6, Delay: 15 * time.Millisecond}
			if err := p.ParseFaults(list); err != nil {
				t.Fatal(err)
			}
			cfg, err := p.Scenario(uint64(k + 1))
			if err != nil {
				t.Fatal(err)
			}
			t.Run(list+" "+consensus, func(t *testing.T) {
				t.Parallel()
				during := uint64(0)
				_, err := Run(t.Context(), cfg, func(e Event) {
					if h, ok := e.Detail.(uint64); ok && e.What == "executed" && e.At < cfg.Active {
						during = max(during, h)
					}
				})
				if err != nil {
					report(t, err)
				}
				if during < 2 {
					t.Errorf("height %d when faults ended, want more", during)
				}
			})
		}
	}
}
