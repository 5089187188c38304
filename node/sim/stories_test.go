package sim

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"testing"
	"time"

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
		x.Nodes, cfg.Active, cfg.Load, x.Delay, x.Liars = 4, 20*time.Second, 12, 8*time.Millisecond, nil
		x.Faults = []Fault{
			Crashes{Every: 600 * time.Millisecond, Down: 300 * time.Millisecond},
			PowerCuts{Every: 4 * time.Second, Down: 100 * time.Millisecond}, LinkBreaks{Every: time.Second},
		}
		return cfg
	},
	"power cuts": func(seed uint64) Config {
		cfg, x := alone(seed)
		x.Nodes, cfg.Active, cfg.Load, x.Delay, x.Liars = 4, 20*time.Second, 8, 100*time.Millisecond, nil
		cfg.Dumbo, cfg.Bursts = false, false
		x.Faults = []Fault{PowerCuts{Every: 1200 * time.Millisecond, Down: 100 * time.Millisecond}}
		return cfg
	},
	"a lost disk": func(seed uint64) Config {
		cfg, x := alone(seed)
		x.Nodes, cfg.Active, cfg.Load, x.Delay, x.Liars = 4, 15*time.Second, 12, 8*time.Millisecond, nil
		x.Faults = []Fault{LosesDisk{After: 5 * time.Second}}
		return cfg
	},
	"an old store": func(seed uint64) Config {
		cfg, x := alone(seed)
		x.Nodes, cfg.Active, cfg.Load, x.Delay, x.Liars, cfg.Bursts = 4, 15*time.Second, 12, 8*time.Millisecond, nil, false
		cfg.Dumbo = false
		x.Faults = []Fault{OldStore{After: 3 * time.Second, Votes: seed%2 == 1}}
		return cfg
	},
	"a second process": func(seed uint64) Config {
		cfg, x := alone(seed)
		x.Nodes, cfg.Active, cfg.Load, x.Delay, cfg.Dumbo = 4, 12*time.Second, 12, 8*time.Millisecond, false
		x.Slots = 40
		x.Faults = nil
		second := &SecondProcess{After: 3 * time.Second, Late: seed%4 == 0, Again: seed%4 == 2}
		if seed%4 == 3 {
			second.Apart = 800 * time.Millisecond
		}
		x.Liars = []Liar{{Replica: protocols.Index(seed / 4 % 4), Adversary: second}}
		return cfg
	},
	"clocks that are set": func(seed uint64) Config {
		cfg, x := alone(seed)
		x.Nodes, cfg.Active, cfg.Load, x.Delay, x.Liars = 4, 20*time.Second, 12, 8*time.Millisecond, nil
		x.Faults = []Fault{
			ClockSteps{Every: time.Second, Lasts: 2 * time.Second, Most: time.Hour}, Crashes{Every: 3 * time.Second, Down: 300 * time.Millisecond},
		}
		return cfg
	},
	"short epochs": func(seed uint64) Config {
		cfg, x := alone(seed)
		x.Nodes, cfg.Active, cfg.Load, x.Delay, x.Liars = 4, 15*time.Second, 15, 10*time.Millisecond, nil
		cfg.Dumbo, x.Slots = false, 4+seed%4
		x.Faults = []Fault{
			Crashes{Every: 700 * time.Millisecond, Down: 200 * time.Millisecond},
			PowerCuts{Every: 900 * time.Millisecond, Down: 100 * time.Millisecond}, Reordering{Rate: 0.2},
		}
		return cfg
	},
	"a late leader": func(seed uint64) Config {
		cfg, x := alone(seed)
		x.Nodes, cfg.Active, cfg.Load, x.Delay, x.Liars = 4, 20*time.Second, 12, 10*time.Millisecond, nil
		cfg.Dumbo, x.Slots = false, 0
		x.Faults = []Fault{
			SlowLeader{Min: 0, Max: 3 * time.Second}, LinkBreaks{Every: 2 * time.Second},
			Partitions{Every: 2 * time.Second, Lasts: time.Second},
		}
		if seed%2 == 0 {
			x.Faults = append(x.Faults, LeaderDies{After: 4 * time.Second})
		}
		return cfg
	},
	"no fast lane": func(seed uint64) Config {
		cfg, x := alone(seed)
		x.Nodes, cfg.Active, cfg.Load, x.Delay, x.Liars = 4, 15*time.Second, 12, 10*time.Millisecond, nil
		cfg.Dumbo = true
		x.Faults = []Fault{
			Crashes{Every: 700 * time.Millisecond, Down: 200 * time.Millisecond},
			PowerCuts{Every: 2500 * time.Millisecond, Down: 100 * time.Millisecond}, LinkBreaks{Every: time.Second},
		}
		return cfg
	},
	"two blocks": func(seed uint64) Config {
		cfg, x := alone(seed)
		x.Nodes = []int{4, 5, 6}[seed%3]
		cfg.Active, cfg.Load, x.Delay = 15*time.Second, 12, 10*time.Millisecond
		x.Faults = []Fault{Crashes{Every: 800 * time.Millisecond, Down: 200 * time.Millisecond}, Duplication{Rate: 0.3}, Reordering{Rate: 0.3}}
		x.Liars = []Liar{{0, &EquivocatingLeader{}}}
		return cfg
	},
	// A replica votes for a header that it could not acknowledge, because blocks follow each other faster than they are
	// committed.
	"a forked lane": func(seed uint64) Config {
		cfg, x := alone(seed)
		x.Nodes, cfg.Active, cfg.Load, x.Delay = 4, 15*time.Second, 200, 40*time.Millisecond
		x.Faults = nil
		cfg.Dumbo, cfg.Bursts, x.Slots = false, false, 0
		x.Liars = []Liar{{2, &ForkedLane{Late: 200 * time.Millisecond}}}
		return cfg
	},
	"two batches": func(seed uint64) Config {
		cfg, x := alone(seed)
		x.Nodes, cfg.Active, cfg.Load, x.Delay = 4, 15*time.Second, 15, 10*time.Millisecond
		x.Faults = []Fault{PowerCuts{Every: time.Second, Down: 100 * time.Millisecond}, Reordering{Rate: 0.3}}
		cfg.Dumbo, x.Slots = false, 0
		x.Liars = []Liar{{3, &EquivocatingLane{Every: seed%2 == 0}}}
		return cfg
	},
	"false leaving": func(seed uint64) Config {
		cfg, x := alone(seed)
		x.Nodes, cfg.Active, cfg.Load, x.Delay = []int{4, 5, 7}[seed%3], 20*time.Second, 12, 10*time.Millisecond
		cfg.Dumbo, x.Slots = seed%4 == 3, 0
		x.Faults = []Fault{SlowLeader{Min: 0, Max: time.Second}, Crashes{Every: 2 * time.Second, Down: 300 * time.Millisecond}}
		x.Liars = []Liar{{protocols.Index(seed % 4), &FalseLeaving{}}}
		return cfg
	},
	"forged messages": func(seed uint64) Config {
		cfg, x := alone(seed)
		x.Nodes, cfg.Active, cfg.Load, x.Delay, x.Faults = 4, 10*time.Second, 10, 10*time.Millisecond, nil
		x.Liars = []Liar{{1, []Adversary{&Forging{Rate: 0.1}, &DoubleVoting{}, &Garbage{Rate: 0.05}, &Withholding{}, &Relabelling{Rate: 0.3}}[seed%5]}}
		return cfg
	},
	"a Finalize to one": func(seed uint64) Config {
		cfg, x := alone(seed)
		cfg.Active, cfg.Load, cfg.Dumbo, cfg.Bursts = 30*time.Second, 1, false, false
		x.Nodes, x.Delay, x.Slots, x.Faults, x.Liars = []int{4, 7}[seed%2], 10*time.Millisecond, 0, nil, nil
		for k := range x.faulty() {
			x.Liars = append(x.Liars, Liar{protocols.Index(x.Nodes - 1 - k), &finalizesToOne{}})
		}
		return cfg
	},
	"a late replica": func(seed uint64) Config {
		cfg, x := alone(seed)
		cfg.Active, cfg.Load, cfg.Dumbo, cfg.Bursts = 15*time.Second, 20, true, false
		x.Nodes, x.Delay, x.Slots = 4, 60*time.Millisecond, 0
		x.Faults, x.Liars = []Fault{Reordering{Rate: 0.7}, LeaderDies{After: time.Duration(2+seed%9) * time.Second}}, nil
		return cfg
	},
	"a whispered coin": func(seed uint64) Config {
		cfg, x := alone(seed)
		cfg.Active, cfg.Load, cfg.Dumbo, cfg.Bursts = 15*time.Second, 10, true, false
		x.Nodes, x.Delay, x.Slots, x.Faults = 4, 10*time.Millisecond, 0, []Fault{lagging{}}
		x.Liars = []Liar{{0, &whispering{}}}
		return cfg
	},
	// All connections of a replica break at once, so that it loses VOTEs that no replica sends again, while the others
	// commit.
	"lost VOTEs": func(seed uint64) Config {
		cfg, x := alone(seed)
		cfg.Active, cfg.Load, cfg.Dumbo, cfg.Bursts = 30*time.Second, 40, false, false
		x.Nodes, x.Delay, x.Slots, x.Liars = 4, 15*time.Millisecond, 0, nil
		x.Faults = []Fault{blinking{Until: 8 * time.Second}}
		return cfg
	},
	"pushed history": func(seed uint64) Config {
		cfg, x := alone(seed)
		cfg.Active, cfg.Load, cfg.Dumbo, cfg.Bursts = 10*time.Second, 20, false, false
		x.Nodes, x.Delay, x.Slots = 4, 10*time.Millisecond, 0
		x.Faults, x.Liars = []Fault{blinking{Until: 10 * time.Second}}, []Liar{{2, &Pushing{Rate: 0.2}}}
		return cfg
	},
	// Clocks differ by as much as the lifetime of transactions, clients spend outputs that are not settled, and
	// replicas crash.
	"admission": func(seed uint64) Config {
		cfg, x := alone(seed)
		cfg.Active, cfg.Load, cfg.Dumbo, cfg.Bursts = 15*time.Second, 40, false, false
		x.Nodes, x.Delay, x.Slots, x.Liars = 4, 30*time.Millisecond, 0, nil
		x.Faults = []Fault{Crashes{Every: 900 * time.Millisecond, Down: 200 * time.Millisecond}, ClockSkew{Max: 300 * time.Millisecond}}
		return cfg
	},
	// The mempool has room for a few transactions, and some pay more than others.
	"a small mempool": func(seed uint64) Config {
		cfg, x := alone(seed)
		cfg.Active, cfg.Load, cfg.Dumbo, cfg.Bursts = 15*time.Second, 60, false, true
		x.Nodes, x.Delay, x.Slots, x.Liars, x.Faults, x.Mempool = 4, 60*time.Millisecond, 0, nil, nil, 8
		return cfg
	},
	"a hoarded lane": func(seed uint64) Config {
		cfg, x := alone(seed)
		cfg.Active, cfg.Load, cfg.Dumbo, cfg.Bursts = 15*time.Second, 10, false, false
		x.Nodes, x.Delay, x.Slots, x.Faults = 4, 10*time.Millisecond, 0, nil
		x.Liars = []Liar{{3, &hoarding{}}}
		return cfg
	},
}

// outcomes are additional conditions on the results of stories.
var outcomes = map[string]func(*Report) error{
	"a hoarded lane":    oneEpoch,
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
type hoarding struct{ FalseLeaving }

func (a *hoarding) tamper(n *node, to protocols.Index, m protocols.Message) []packet {
	if b, ok := m.(*lanes.Batch); ok && b.Lane == n.id && to != (n.id+2)%protocols.Index(n.s.committee.N()) {
		return nil
	}
	return a.FalseLeaving.tamper(n, to, m)
}

// whispering lets replica 1 alone learn the coin of a round. Replicas release their shares when n-f broadcasts are
// complete. It withholds its own completion from all but replica 2, and gives its share to replica 1 only. Once replica
// 1 knows the coin, it signs for no broadcast any more, and the broadcast of replica 3, which is slow, never completes.
// Unless replica 1 relays the coin, replica 2 has one share, and replica 3 has no reason to release one.
type whispering struct{}

func (*whispering) String() string { return "shows the coin to replica 1 alone" }

func (*whispering) tamper(_ *node, to protocols.Index, m protocols.Message) []packet {
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
		return honestly(m)
	case *toss.Relay, *mvba.PreVote, *mvba.Vote, *mvba.Decision:
		return nil
	default:
		return honestly(m)
	}
	if to != only {
		return nil
	}
	return honestly(m)
}

// blinking breaks all connections of one replica at once, again and again for a while.
type blinking struct{ Until time.Duration }

func (f blinking) String() string {
	return fmt.Sprintf("replicas lose all connections until %v", f.Until)
}

func (f blinking) start(s *cluster) {
	s.repeat(700*time.Millisecond, func() {
		if i := s.rng.IntN(len(s.nodes)); s.now < epoch.Add(f.Until) {
			for j := range s.nodes {
				if j != i {
					s.network.sever(i, j)
				}
			}
		}
	})
}

// lagging delays the messages of replica 3.
type lagging struct{}

func (lagging) String() string { return "messages of replica 3 are delayed" }

func (lagging) start(s *cluster) {
	s.network.hinder(func(from, _ protocols.Index, _ packet) (time.Duration, bool) {
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
