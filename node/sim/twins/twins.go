// Package twins has the Byzantine replicas that are two nodes with one identity.
package twins

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"bdtnode/node/sim/adversary"
	"bdtnode/node/sim/draw"
	"bdtnode/node/sim/machine"
	"bdtnode/node/sim/network"
	"bdtnode/protocols"
)

// Twins is a Byzantine replica that is two honest nodes with one identity: the same index, keys and share of the coin,
// and each with its own memory and stores (Bano et al., "Twins: BFT Systems Made Robust", OPODIS 2021). Together they
// propose two blocks for a slot, sign two batches of a number, vote, commit, leave and agree twice, and forget
// signatures. Each of these acts is one that an honest replica may do in its situation, and no written adversary is
// needed for it. Twins never send a message that no honest replica sends: the other adversaries do that.
//
// A scenario is a sequence of rounds. In each round the n+1 nodes are partitioned into groups. The paper also chooses
// the leader of each round. Here leaders follow from the committed chain and cannot be chosen, but they take turns,
// from replica 0 in epoch 1. So twins in each place in turn are the leader of the first epoch; of the second or third,
// which short epochs bring within a round; or of no epoch of the scenario. A leader whose epoch failed is passed over.
// Rounds in which the leader's group has no quorum give those schedules.
//
// Messages of other nodes to the identity reach both nodes, unless a partition prevents it. Messages of either node
// come from the identity. The two nodes have no connection with each other: in the node a replica never connects to its
// own key, and a core takes no message of its own index from outside. So one twin learns of the other's acts through
// other replicas only, as a replica that runs from a copy of an old disk beside the original would. A core that
// receives two batches of its own for one number stops, because two replicas run with one key: that twin is down until
// faults end.
type Twins struct {
	Rounds []Round
	Loses  bool               // connections between groups break when their round ends; else the frames under way arrive then
	Pay    func(groups []int) // submits a payment in each group of nodes; only for rounds with payments
	Again  time.Duration      // time from the end of the last round to the first one again; 0 if there is no repetition
}

// Round is a partition that holds for a time.
type Round struct {
	Lasts  time.Duration
	Groups []int // of each node: the replicas in order, then the second node of each twins; nil draws them
	Txs    int   // payments that clients submit in each group, at equal intervals from the round's begin
}

// Gathering is the time in which replicas first connect to each other. Rounds begin after it.
const Gathering = 350 * time.Millisecond

func (a *Twins) String() string {
	s := "is twins"
	for i, r := range a.Rounds {
		if i == 0 {
			s += " in"
		}
		s += fmt.Sprintf(" %v of %s", r.Lasts, GroupString(r.Groups))
	}
	if a.Again > 0 {
		s += fmt.Sprintf(", again after %v", a.Again)
	}
	return s
}

// GroupString lists the nodes of each group.
func GroupString(groups []int) string {
	if groups == nil {
		return "any"
	}
	var all []string
	for g := range slices.Max(groups) + 1 {
		s := ""
		for i, of := range groups {
			if of == g {
				s += fmt.Sprint(i)
			}
		}
		all = append(all, s)
	}
	return strings.Join(all, "|")
}

// Random draws some rounds, which repeat as long as there are faults.
func Random(d draw.Source) *Twins {
	a := &Twins{Rounds: make([]Round, 3+d.IntN(8)), Loses: d.IntN(3) == 0, Again: d.Milliseconds(300, 6000)}
	for i := range a.Rounds {
		switch r := &a.Rounds[i]; d.IntN(3) {
		case 0: // some message delays
			r.Lasts = d.Milliseconds(1, 100)
		case 1: // some slots
			r.Lasts = d.Milliseconds(100, 1000)
		default: // longer than a replica's patience
			r.Lasts = d.Milliseconds(1000, 4000)
		}
	}
	return a
}

// Twins implements [machine.Twins].
func (*Twins) Twins() {}

func (*Twins) Replace(_ *adversary.View, _ protocols.Index, m protocols.Message) []network.Packet {
	return adversary.Unchanged(m)
}

// Start implements [disturbance.Disturbance]. It begins the rounds.
func (a *Twins) Start(s *machine.Shard) {
	s.After(Gathering, func() { a.round(s, 0, nil) })
}

// round begins a round, ends the one before, and begins the next one later.
func (a *Twins) round(s *machine.Shard, k int, ends []func(lost bool)) {
	if !s.Active {
		return // all partitions have ended
	}
	var parted []func(lost bool)
	if k < len(a.Rounds) {
		r := &a.Rounds[k]
		groups := r.Groups
		if groups == nil {
			groups = groupsOf(s)
		}
		s.Trace.Add(s.Now(), "groups", -1, -1, nil, GroupString(groups))
		for i := range groups {
			for j := range groups {
				if groups[i] != groups[j] && s.Machines[i].ID() != s.Machines[j].ID() {
					parted = append(parted, s.Network.Stall(i, j))
				}
			}
		}
		for i := range r.Txs {
			s.After(r.Lasts*time.Duration(i)/time.Duration(r.Txs), func() { a.Pay(groups) })
		}
		s.After(r.Lasts, func() { a.round(s, k+1, parted) })
	} else {
		s.Trace.Add(s.Now(), "groups", -1, -1, nil, "end")
		if a.Again > 0 {
			s.After(a.Again, func() { a.round(s, 0, nil) })
		}
	}
	for _, end := range ends {
		end(a.Loses)
	}
}

// groupsOf draws a partition of the nodes into two or three groups.
func groupsOf(s *machine.Shard) []int {
	groups := make([]int, len(s.Machines))
	for i, n := 0, 2+s.Rand.IntN(2); i < len(groups); i++ {
		groups[i] = s.Rand.IntN(n)
	}
	return groups
}
