package twins

import (
	"slices"
	"testing"
	"time"

	"bdtnode/node/sim/draw"
	"bdtnode/node/sim/machine"
	"bdtnode/node/sim/rig"
)

// newTwins is a shard of four replicas of which replica 2 is twins: nodes 2 and 4.
func newTwins(t *testing.T, a *Twins) *rig.Rig {
	t.Helper()
	r, err := rig.New(4, machine.Byzantine{Replica: 2, Behaviour: a})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Machines) != 5 || r.Machines[4].ID() != 2 || r.Machines[4].Place() != 4 || r.Machines[4].Honest() {
		t.Fatal("the fifth node is not the second of the twins")
	}
	return r
}

// TestRounds: in a round no message passes between groups, and messages inside a group do. The two nodes of one replica
// never exchange messages. After the last round all messages pass.
func TestRounds(t *testing.T) {
	a := &Twins{Rounds: []Round{{Lasts: 2 * time.Second, Groups: []int{0, 0, 1, 1, 0}}, {Lasts: 2 * time.Second, Groups: []int{0, 1, 0, 1, 1}}}}
	r := newTwins(t, a)
	a.Start(r.Shard)
	r.For(8 * time.Second)
	if r.Violation != nil {
		t.Fatal(r.Violation)
	}
	inside, after := 0, 0
	for _, e := range r.Events {
		if e.What != "message" {
			continue
		}
		if e.Who != e.To && r.Machines[e.Who].ID() == r.Machines[e.To].ID() {
			t.Errorf("%s: between the twins", e)
		}
		at := e.At
		k := int((at - time.Second - Gathering) / (2 * time.Second))
		switch {
		case at < time.Second+Gathering:
		case k >= len(a.Rounds):
			after++
		case a.Rounds[k].Groups[e.Who] != a.Rounds[k].Groups[e.To]:
			t.Errorf("%s: between groups in round %d", e, k)
		default:
			inside++
		}
	}
	if inside == 0 || after == 0 {
		t.Errorf("%d messages inside groups, %d after the rounds", inside, after)
	}
}

// TestTwinsAct: the two nodes act apart: both receive messages of the others, and both send as the replica.
func TestTwinsAct(t *testing.T) {
	r := newTwins(t, &Twins{})
	r.For(3 * time.Second)
	var sent, received [5]int
	for _, e := range r.Events {
		if e.What == "message" {
			sent[e.Who]++
			received[e.To]++
		}
	}
	if min(sent[2], sent[4], received[2], received[4]) == 0 || r.Violation != nil {
		t.Errorf("sent %v, received %v; %v", sent, received, r.Violation)
	}
}

// TestRandom: drawn rounds repeat, and last from some message delays to longer than a replica's patience.
func TestRandom(t *testing.T) {
	short, long := 0, 0
	for seed := range uint64(50) {
		a := Random(draw.New(seed, 0, "twins", time.Minute))
		if len(a.Rounds) < 3 || len(a.Rounds) > 10 || a.Again <= 0 {
			t.Fatalf("%d rounds, again after %v", len(a.Rounds), a.Again)
		}
		for _, x := range a.Rounds {
			if x.Groups != nil || x.Lasts <= 0 || x.Lasts > 4*time.Second {
				t.Fatalf("a round %+v", x)
			}
			if x.Lasts < 100*time.Millisecond {
				short++
			} else if x.Lasts > time.Second {
				long++
			}
		}
	}
	if short == 0 || long == 0 {
		t.Errorf("%d short rounds, %d long ones", short, long)
	}
	r := newTwins(t, &Twins{})
	seen := make(map[int]bool)
	for range 50 {
		g := groupsOf(r.Shard)
		if len(g) != 5 || slices.Min(g) < 0 || slices.Max(g) > 2 {
			t.Fatalf("groups %v", g)
		}
		seen[slices.Max(g)] = true
	}
	if !seen[2] || !seen[1] {
		t.Errorf("numbers of groups less one: %v", seen)
	}
}

// TestGroupString lists the nodes of each group.
func TestGroupString(t *testing.T) {
	if got := GroupString([]int{0, 1, 0, 2, 1}); got != "02|14|3" {
		t.Error(got)
	}
	if got := GroupString(nil); got != "any" {
		t.Error(got)
	}
}
