package sim

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"testing"
	"time"

	"bdtnode/node/sim/adversary"
	"bdtnode/node/sim/clock"
	"bdtnode/node/sim/disturbance"
	"bdtnode/node/sim/machine"
	"bdtnode/node/sim/network"
	"bdtnode/node/sim/twins"
	"bdtnode/protocols"
	toss "bdtnode/protocols/coin"
	"bdtnode/protocols/lanes"
	"bdtnode/protocols/mvba"
)

var story = flag.String("sim.story", "", "the story that TestStory runs over all seeds, instead of one of each")

// stories are scenarios that show a certain kind of bug.
var stories = map[string]func(seed uint64) Config{
	"crashes": func(seed uint64) Config {
		cfg, x := alone(seed)
		x.Nodes, cfg.Active, cfg.Load, x.Delay, x.Byzantine = 4, 20*time.Second, 12, 8*time.Millisecond, nil
		x.Disturbances = []disturbance.Disturbance{
			disturbance.Crashes{Every: 600 * time.Millisecond, Down: 300 * time.Millisecond},
			disturbance.PowerCuts{Every: 4 * time.Second, Down: 100 * time.Millisecond}, disturbance.LinkBreaks{Every: time.Second},
		}
		return cfg
	},
	"power cuts": func(seed uint64) Config {
		cfg, x := alone(seed)
		x.Nodes, cfg.Active, cfg.Load, x.Delay, x.Byzantine = 4, 20*time.Second, 8, 100*time.Millisecond, nil
		cfg.Dumbo, cfg.Bursts = false, false
		x.Disturbances = []disturbance.Disturbance{disturbance.PowerCuts{Every: 1200 * time.Millisecond, Down: 100 * time.Millisecond}}
		return cfg
	},
	"a lost disk": func(seed uint64) Config {
		cfg, x := alone(seed)
		x.Nodes, cfg.Active, cfg.Load, x.Delay, x.Byzantine = 4, 15*time.Second, 12, 8*time.Millisecond, nil
		x.Disturbances = []disturbance.Disturbance{disturbance.LosesDisk{After: 5 * time.Second}}
		return cfg
	},
	"an old store": func(seed uint64) Config {
		cfg, x := alone(seed)
		x.Nodes, cfg.Active, cfg.Load, x.Delay, x.Byzantine, cfg.Bursts = 4, 15*time.Second, 12, 8*time.Millisecond, nil, false
		cfg.Dumbo = false
		x.Disturbances = []disturbance.Disturbance{disturbance.OldStore{After: 3 * time.Second, Votes: seed%2 == 1}}
		return cfg
	},
	"a second process": func(seed uint64) Config {
		cfg, x := alone(seed)
		x.Nodes, cfg.Active, cfg.Load, x.Delay, cfg.Dumbo = 4, 12*time.Second, 12, 8*time.Millisecond, false
		x.Slots = 40
		x.Disturbances = nil
		second := &twins.SecondProcess{After: 3 * time.Second, Late: seed%4 == 0, Again: seed%4 == 2}
		if seed%4 == 3 {
			second.Apart = 800 * time.Millisecond
		}
		x.Byzantine = []Byzantine{{Replica: protocols.Index(seed / 4 % 4), Behaviour: second}}
		return cfg
	},
	"clocks that are set": func(seed uint64) Config {
		cfg, x := alone(seed)
		x.Nodes, cfg.Active, cfg.Load, x.Delay, x.Byzantine = 4, 20*time.Second, 12, 8*time.Millisecond, nil
		x.Disturbances = []disturbance.Disturbance{
			disturbance.ClockSteps{Every: time.Second, Lasts: 2 * time.Second, Most: time.Hour}, disturbance.Crashes{Every: 3 * time.Second, Down: 300 * time.Millisecond},
		}
		return cfg
	},
	"short epochs": func(seed uint64) Config {
		cfg, x := alone(seed)
		x.Nodes, cfg.Active, cfg.Load, x.Delay, x.Byzantine = 4, 15*time.Second, 15, 10*time.Millisecond, nil
		cfg.Dumbo, x.Slots = false, 4+seed%4
		x.Disturbances = []disturbance.Disturbance{
			disturbance.Crashes{Every: 700 * time.Millisecond, Down: 200 * time.Millisecond},
			disturbance.PowerCuts{Every: 900 * time.Millisecond, Down: 100 * time.Millisecond}, disturbance.Reordering{Rate: 0.2},
		}
		return cfg
	},
	"a late leader": func(seed uint64) Config {
		cfg, x := alone(seed)
		x.Nodes, cfg.Active, cfg.Load, x.Delay, x.Byzantine = 4, 20*time.Second, 12, 10*time.Millisecond, nil
		cfg.Dumbo, x.Slots = false, 0
		x.Disturbances = []disturbance.Disturbance{
			disturbance.SlowLeader{Min: 0, Max: 3 * time.Second}, disturbance.LinkBreaks{Every: 2 * time.Second},
			disturbance.Partitions{Every: 2 * time.Second, Lasts: time.Second},
		}
		if seed%2 == 0 {
			x.Disturbances = append(x.Disturbances, disturbance.LeaderDies{After: 4 * time.Second})
		}
		return cfg
	},
	"no fast lane": func(seed uint64) Config {
		cfg, x := alone(seed)
		x.Nodes, cfg.Active, cfg.Load, x.Delay, x.Byzantine = 4, 15*time.Second, 12, 10*time.Millisecond, nil
		cfg.Dumbo = true
		x.Disturbances = []disturbance.Disturbance{
			disturbance.Crashes{Every: 700 * time.Millisecond, Down: 200 * time.Millisecond},
			disturbance.PowerCuts{Every: 2500 * time.Millisecond, Down: 100 * time.Millisecond}, disturbance.LinkBreaks{Every: time.Second},
		}
		return cfg
	},
	"two blocks": func(seed uint64) Config {
		cfg, x := alone(seed)
		x.Nodes = []int{4, 5, 6}[seed%3]
		cfg.Active, cfg.Load, x.Delay = 15*time.Second, 12, 10*time.Millisecond
		x.Disturbances = []disturbance.Disturbance{disturbance.Crashes{Every: 800 * time.Millisecond, Down: 200 * time.Millisecond}, disturbance.Duplication{Rate: 0.3}, disturbance.Reordering{Rate: 0.3}}
		x.Byzantine = []Byzantine{{Replica: 0, Behaviour: &adversary.EquivocatingLeader{}}}
		return cfg
	},
	// A replica votes for a header that it could not acknowledge, because blocks follow each other faster than they are
	// committed.
	"a forked lane": func(seed uint64) Config {
		cfg, x := alone(seed)
		x.Nodes, cfg.Active, cfg.Load, x.Delay = 4, 15*time.Second, 200, 40*time.Millisecond
		x.Disturbances = nil
		cfg.Dumbo, cfg.Bursts, x.Slots = false, false, 0
		x.Byzantine = []Byzantine{{Replica: 2, Behaviour: &ForkedLane{Late: 200 * time.Millisecond}}}
		return cfg
	},
	"two batches": func(seed uint64) Config {
		cfg, x := alone(seed)
		x.Nodes, cfg.Active, cfg.Load, x.Delay = 4, 15*time.Second, 15, 10*time.Millisecond
		x.Disturbances = []disturbance.Disturbance{disturbance.PowerCuts{Every: time.Second, Down: 100 * time.Millisecond}, disturbance.Reordering{Rate: 0.3}}
		cfg.Dumbo, x.Slots, x.Vouched = false, 0, 0
		x.Byzantine = []Byzantine{{Replica: 3, Behaviour: &adversary.EquivocatingLane{Every: seed%2 == 0}}}
		return cfg
	},
	"false leaving": func(seed uint64) Config {
		cfg, x := alone(seed)
		x.Nodes, cfg.Active, cfg.Load, x.Delay = []int{4, 5, 7}[seed%3], 20*time.Second, 12, 10*time.Millisecond
		cfg.Dumbo, x.Slots = seed%4 == 3, 0
		x.Disturbances = []disturbance.Disturbance{disturbance.SlowLeader{Min: 0, Max: time.Second}, disturbance.Crashes{Every: 2 * time.Second, Down: 300 * time.Millisecond}}
		x.Byzantine = []Byzantine{{Replica: protocols.Index(seed % 4), Behaviour: &adversary.FalseLeaving{}}}
		return cfg
	},
	"forged messages": func(seed uint64) Config {
		cfg, x := alone(seed)
		x.Nodes, cfg.Active, cfg.Load, x.Delay, x.Disturbances = 4, 10*time.Second, 10, 10*time.Millisecond, nil
		x.Byzantine = []Byzantine{{Replica: 1, Behaviour: []adversary.Behaviour{&adversary.Forging{Rate: 0.1}, &adversary.DoubleVoting{}, &adversary.Garbage{Rate: 0.05}, &adversary.Withholding{}, &adversary.Relabelling{Rate: 0.3}}[seed%5]}}
		return cfg
	},
	"a Finalize to one": func(seed uint64) Config {
		cfg, x := alone(seed)
		cfg.Active, cfg.Load, cfg.Dumbo, cfg.Bursts = 30*time.Second, 1, false, false
		x.Nodes, x.Delay, x.Slots, x.Disturbances, x.Byzantine = []int{4, 7}[seed%2], 10*time.Millisecond, 0, nil, nil
		for k := range x.faulty() {
			x.Byzantine = append(x.Byzantine, Byzantine{Replica: protocols.Index(x.Nodes - 1 - k), Behaviour: &finalizesToOne{}})
		}
		return cfg
	},
	"a late replica": func(seed uint64) Config {
		cfg, x := alone(seed)
		cfg.Active, cfg.Load, cfg.Dumbo, cfg.Bursts = 15*time.Second, 20, true, false
		x.Nodes, x.Delay, x.Slots = 4, 60*time.Millisecond, 0
		x.Disturbances, x.Byzantine = []disturbance.Disturbance{disturbance.Reordering{Rate: 0.7}, disturbance.LeaderDies{After: time.Duration(2+seed%9) * time.Second}}, nil
		return cfg
	},
	"a whispered coin": func(seed uint64) Config {
		cfg, x := alone(seed)
		cfg.Active, cfg.Load, cfg.Dumbo, cfg.Bursts = 15*time.Second, 10, true, false
		x.Nodes, x.Delay, x.Slots, x.Disturbances = 4, 10*time.Millisecond, 0, []disturbance.Disturbance{lagging{}}
		x.Byzantine = []Byzantine{{Replica: 0, Behaviour: &whispering{}}}
		return cfg
	},
	// All connections of a replica break at once, so that it loses VOTEs that no replica sends again, while the others
	// commit.
	"lost VOTEs": func(seed uint64) Config {
		cfg, x := alone(seed)
		cfg.Active, cfg.Load, cfg.Dumbo, cfg.Bursts = 30*time.Second, 40, false, false
		x.Nodes, x.Delay, x.Slots, x.Byzantine = 4, 15*time.Millisecond, 0, nil
		x.Disturbances = []disturbance.Disturbance{blinking{Until: 8 * time.Second}}
		return cfg
	},
	"pushed history": func(seed uint64) Config {
		cfg, x := alone(seed)
		cfg.Active, cfg.Load, cfg.Dumbo, cfg.Bursts = 10*time.Second, 20, false, false
		x.Nodes, x.Delay, x.Slots = 4, 10*time.Millisecond, 0
		x.Disturbances, x.Byzantine = []disturbance.Disturbance{blinking{Until: 10 * time.Second}}, []Byzantine{{Replica: 2, Behaviour: &adversary.UnrequestedBlocks{Rate: 0.2}}}
		return cfg
	},
	// Clocks differ by as much as the lifetime of transactions, clients spend outputs that are not settled, and
	// replicas crash.
	"admission": func(seed uint64) Config {
		cfg, x := alone(seed)
		cfg.Active, cfg.Load, cfg.Dumbo, cfg.Bursts = 15*time.Second, 40, false, false
		x.Nodes, x.Delay, x.Slots, x.Byzantine = 4, 30*time.Millisecond, 0, nil
		x.Disturbances = []disturbance.Disturbance{disturbance.Crashes{Every: 900 * time.Millisecond, Down: 200 * time.Millisecond}, disturbance.ClockSkew{Max: 300 * time.Millisecond}}
		return cfg
	},
	// The mempool has room for a few transactions, and some pay more than others.
	"a small mempool": func(seed uint64) Config {
		cfg, x := alone(seed)
		cfg.Active, cfg.Load, cfg.Dumbo, cfg.Bursts = 15*time.Second, 60, false, true
		x.Nodes, x.Delay, x.Slots, x.Byzantine, x.Disturbances, x.Mempool = 4, 60*time.Millisecond, 0, nil, nil, 8
		return cfg
	},
	// An owner makes batches with bad signatures, and in a larger shard another replica vouches for them. Replicas crash and
	// fetch batches late.
	"bad signatures": func(seed uint64) Config {
		cfg, x := alone(seed)
		cfg.Active, cfg.Load, cfg.Dumbo, cfg.Bursts = 15*time.Second, 20, seed%5 == 4, false
		x.Nodes, x.Delay, x.Slots, x.Vouched = []int{4, 7}[seed%2], 10*time.Millisecond, 0, 1
		x.Disturbances = []disturbance.Disturbance{disturbance.Crashes{Every: 2 * time.Second, Down: 300 * time.Millisecond}, disturbance.LinkBreaks{Every: time.Second}}
		x.Byzantine = []Byzantine{{Replica: 1, Behaviour: &adversary.BadSignatures{Rate: 0.2, Twin: seed%3 == 0}}}
		if x.Nodes == 7 {
			x.Byzantine = append(x.Byzantine, Byzantine{Replica: 4, Behaviour: &adversary.FalseVouches{}})
		}
		return cfg
	},
	// Replicas vouch falsely, late, for some or not at all, and no owner makes a bad batch.
	"poor vouches": func(seed uint64) Config {
		cfg, x := alone(seed)
		cfg.Active, cfg.Load, cfg.Dumbo, cfg.Bursts = 15*time.Second, 20, seed%5 == 4, false
		x.Nodes, x.Delay, x.Slots, x.Vouched = []int{4, 7}[seed%2], 10*time.Millisecond, 0, 1+int(seed%3)/2
		x.Disturbances = []disturbance.Disturbance{disturbance.Crashes{Every: 2 * time.Second, Down: 300 * time.Millisecond}, disturbance.CutOff{Every: 4 * time.Second, Shortest: time.Second, Longest: 4 * time.Second}}
		few := []*adversary.FewVouches{{}, {Some: true}, {Late: 2 * time.Second}}[seed%3]
		x.Byzantine = []Byzantine{{Replica: 1, Behaviour: few}}
		if x.Nodes == 7 {
			x.Byzantine = append(x.Byzantine, Byzantine{Replica: 4, Behaviour: &adversary.FalseVouches{}})
		}
		return cfg
	},
	"an overfull lane": func(seed uint64) Config {
		cfg, x := alone(seed)
		cfg.Active, cfg.Load, cfg.Dumbo, cfg.Bursts = 10*time.Second, 10, false, false
		x.Nodes, x.Delay, x.Slots, x.Disturbances = 4, 10*time.Millisecond, 0, nil
		x.Byzantine = []Byzantine{{Replica: 3, Behaviour: &overfilling{Batches: 4 * lanes.WindowHeaders}}}
		return cfg
	},
	"a hoarded lane": func(seed uint64) Config {
		cfg, x := alone(seed)
		cfg.Active, cfg.Load, cfg.Dumbo, cfg.Bursts = 15*time.Second, 10, false, false
		x.Nodes, x.Delay, x.Slots, x.Disturbances = 4, 10*time.Millisecond, 0, nil
		x.Byzantine = []Byzantine{{Replica: 3, Behaviour: &hoarding{}}}
		return cfg
	},
}

// outcomes are additional conditions on the results of stories.
var outcomes = map[string]func(*Report) error{
	"a hoarded lane":    oneEpoch,
	"an overfull lane":  oneEpoch,
	"a Finalize to one": oneEpoch,
}

// oneEpoch checks that no replica left the first leader.
func oneEpoch(r *Report) error {
	if r.Epochs > 0 {
		return fmt.Errorf("%d epochs ended without cause violated at step %d: their leaders were honest, and the network was quick", r.Epochs, r.Events)
	}
	return nil
}

// hoarding shows its batches to one of the others only, so that none is certified, and leaves every epoch at once.
type hoarding struct{ adversary.FalseLeaving }

func (a *hoarding) Replace(v *adversary.View, to protocols.Index, m protocols.Message) []network.Packet {
	if b, ok := m.(*lanes.Batch); ok && b.Lane == v.Self && to != (v.Self+2)%protocols.Index(v.Committee.N()) {
		return nil
	}
	return a.FalseLeaving.Replace(v, to, m)
}

// whispering lets replica 1 alone learn the coin of a round. Replicas release their shares when n-f broadcasts are
// complete. It withholds its own completion from all but replica 2, and gives its share to replica 1 only. Once replica
// 1 knows the coin, it signs for no broadcast any more, and the broadcast of replica 3, which is slow, never completes.
// Unless replica 1 relays the coin, replica 2 has one share, and replica 3 has no reason to release one.
type whispering struct{}

func (*whispering) String() string { return "shows the coin to replica 1 alone" }

func (*whispering) Replace(_ *adversary.View, to protocols.Index, m protocols.Message) []network.Packet {
	var only protocols.Index
	switch m.(type) {
	case *toss.Release:
		only = 1
	case *mvba.Finish:
		only = 2
	case *mvba.Accept, *mvba.Echo:
		if to == 3 {
			return nil
		}
		return adversary.Unchanged(m)
	case *toss.Relay, *mvba.PreVote, *mvba.Vote, *mvba.Decision:
		return nil
	default:
		return adversary.Unchanged(m)
	}
	if to != only {
		return nil
	}
	return adversary.Unchanged(m)
}

// blinking breaks all connections of one replica at once, again and again for a while.
type blinking struct{ Until time.Duration }

func (f blinking) String() string {
	return fmt.Sprintf("replicas lose all connections until %v", f.Until)
}

func (f blinking) Start(s *machine.Shard) {
	s.Repeat(700*time.Millisecond, func() {
		if i := s.Rand.IntN(len(s.Machines)); s.Now() < clock.Begin.Add(f.Until) {
			for j := range s.Machines {
				if j != i {
					s.Network.Sever(i, j)
				}
			}
		}
	})
}

// lagging delays the messages of replica 3.
type lagging struct{}

func (lagging) String() string { return "messages of replica 3 are delayed" }

func (lagging) Start(s *machine.Shard) {
	s.Network.Hinder(func(from, _ protocols.Index, _ network.Packet) (time.Duration, bool) {
		if from == 3 {
			return 400 * time.Millisecond, false
		}
		return 0, false
	})
}

// tell runs a story and checks its outcome.
func tell(ctx context.Context, name string, seed uint64) error {
	r, err := Run(ctx, stories[name](seed), nil)
	if check := outcomes[name]; err == nil && check != nil {
		err = check(r)
	}
	return err
}

func storyNames() []string {
	var names []string
	for name := range stories {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// TestStory runs the stories with the unchanged source.
func TestStory(t *testing.T) {
	for _, name := range storyNames() {
		count := min(*seeds, 2)
		if *story == name {
			count = *seeds
		} else if *story != "" {
			continue
		}
		for k := range count {
			t.Run(fmt.Sprintf("%s/%d", name, *first+uint64(k)), func(t *testing.T) {
				t.Parallel()
				if err := tell(t.Context(), name, *first+uint64(k)); err != nil {
					report(t, err)
				}
			})
		}
	}
}
