package sim

import (
	"flag"
	"fmt"
	"testing"
	"time"

	"bdtnode/ledger"
	"bdtnode/node/sim/adversary"
	"bdtnode/node/sim/clock"
	"bdtnode/node/sim/disturbance"
	"bdtnode/protocols"
	"bdtnode/shard"
)

var networks = flag.Int("sim.networks", 6, "how many seeds TestNetworkSweep runs")

// among is the run of a seed with three shards.
func among(seed uint64) Config {
	p := Plan{Shards: 3, Nodes: []int{4}, All: true, For: 60 * time.Second}
	cfg, err := p.Scenario(seed)
	if err != nil {
		panic(err)
	}
	return cfg
}

func TestNetworkSweep(t *testing.T) {
	sweep(t, *networks, among, func(r *Report) string {
		return fmt.Sprintf("%d blocks, %d epochs, %.2f rounds, %d settled, %d not (%d cancelled, %d returned by a CL, %d by a verdict), %d LDs, %d crashes, %d refused",
			r.Commits, r.Epochs, r.Agreements.Mean(), r.Settled, r.Rejected, r.Cancelled, r.ReturnedByCL, r.ReturnedByVerdict, r.LDs, r.Crashes, r.Refused)
	})
}

// networkStories are scenarios that show a certain kind of bug.
var networkStories = map[string]func(seed uint64) Config{
	// Crashes lose LDs that replicas said they hold, gossip never arrives, and few other messages reveal the loss.
	"outages": func(seed uint64) Config {
		cfg := among(seed)
		cfg.Active, cfg.Calm, cfg.Load, cfg.Apart = 20*time.Second, 10*time.Second, 1, 20*time.Millisecond
		cfg.Disruptions = []disturbance.CrossShard{disturbance.GossipLoss{Rate: 1}}
		for k := range cfg.Shards {
			cfg.Shards[k] = Shard{Nodes: 4, Delay: 5 * time.Millisecond}
		}
		cfg.Shards[2].Disturbances = []disturbance.Disturbance{disturbance.SlowDisks{Mean: 800 * time.Millisecond}, disturbance.PowerCuts{Every: time.Second, Down: 50 * time.Millisecond}}
		return cfg
	},
	// One replica of each shard claims to have all LDs of the other shards, gossip never arrives, shards are parted from
	// each other, and few other events cause requests.
	"silent to other shards": func(seed uint64) Config {
		cfg := among(seed)
		cfg.Active, cfg.Calm, cfg.Load, cfg.Apart = 20*time.Second, 5*time.Second, 1, 50*time.Millisecond
		cfg.Disruptions = []disturbance.CrossShard{disturbance.GossipLoss{Rate: 1}, disturbance.ShardPartitions{Every: 3 * time.Second, Lasts: 3 * time.Second}}
		for k := range cfg.Shards {
			cfg.Shards[k] = Shard{Nodes: 4, Delay: 5 * time.Millisecond, Byzantine: []Byzantine{{Replica: protocols.Index(seed % 4), Behaviour: &adversary.SilentToShards{}}}}
		}
		return cfg
	},
	// One shard has more than f Byzantine replicas, and sends the others false LDs of one of several kinds.
	"hostile": func(seed uint64) Config {
		cfg := among(seed)
		cfg.Active, cfg.Calm, cfg.Load, cfg.Apart = 20*time.Second, 5*time.Second, 6, 30*time.Millisecond
		for k := range cfg.Shards {
			cfg.Shards[k] = Shard{Nodes: 4, Delay: 5 * time.Millisecond}
		}
		cfg.Shards[(seed+2)%3].Disturbances = []disturbance.Disturbance{disturbance.Crashes{Every: 4 * time.Second, Down: time.Second}}
		cfg.Shards[seed%3].Hostile = []adversary.Hostile{adversary.TwoLDs{}, adversary.SecondSpent{}, adversary.BrokenLD{}, adversary.CancelledAndSpent{}}[seed/3%4]
		return cfg
	},
	// f+1 replicas of one shard cancel transactions that do not involve it.
	"hostile to others": func(seed uint64) Config {
		cfg := among(seed)
		cfg.Active, cfg.Calm, cfg.Load, cfg.Apart = 20*time.Second, 5*time.Second, 6, 30*time.Millisecond
		for k := range cfg.Shards {
			cfg.Shards[k] = Shard{Nodes: 4, Delay: 5 * time.Millisecond}
		}
		cfg.Disruptions = nil
		cfg.Shards[seed%3].Hostile = adversary.BrokenLD{}
		cfg.started = foreignCLs{int(seed % 3)}.start
		return cfg
	},
	// Two shards spend and cancel the same transactions. The workload has no other payments between shards.
	"cancelled by two": func(seed uint64) Config {
		cfg := among(seed)
		cfg.Active, cfg.Calm, cfg.Load, cfg.Apart, cfg.Disruptions = 12*time.Second, 5*time.Second, 1, 30*time.Millisecond, nil
		for k := range cfg.Shards {
			cfg.Shards[k] = Shard{Nodes: 4, Delay: 5 * time.Millisecond}
		}
		f := cancelledByTwo{uint16(seed % 3), uint16((seed + 1 + seed/3%2) % 3), uint16((seed + 2 - seed/3%2) % 3)}
		home := func(a ledger.Address) uint16 { return shard.Home(a, len(cfg.Shards)) }
		cfg.Shards[f.first].Hostile, cfg.Shards[f.second].Hostile = cancelsBoth{f.second, home}, cancelsBoth{f.first, home}
		cfg.started = f.start
		return cfg
	},
	"cancellations": cancellations,
	// As before, and the colluding replicas also sign CL_Ms for payments that have expired.
	"cancellations and expiries": func(seed uint64) Config {
		cfg := cancellations(seed)
		together := cfg.Shards[0].Byzantine[0].Behaviour.(*adversary.ForgedCLs).With
		cfg.started = func(w *world) {
			w.Repeat(100*time.Millisecond, func() {
				if tx := w.workload.Expired(); tx != nil {
					together.Learn(w.Peers, tx)
				}
			})
		}
		return cfg
	},
	// One channel is slow, and value moves fast over the third shard. The escrow that waits in the slow channel's
	// destination soon exceeds the few coins that exist.
	"a slow channel": func(seed uint64) Config {
		cfg := among(seed)
		cfg.Active, cfg.Calm, cfg.Load, cfg.Apart, cfg.Dumbo = 5*time.Second, 0, 0, 10*time.Millisecond, false
		from := int(seed % 3)
		slow := slowChannel{from: from, to: (from + 1 + int(seed/3%2)) % 3, by: 20 * time.Second}
		cfg.Disruptions, cfg.started = []disturbance.CrossShard{slow}, slow.pay
		for k := range cfg.Shards {
			cfg.Shards[k] = Shard{Nodes: 4, Delay: 5 * time.Millisecond, Coins: 1}
		}
		return cfg
	},
	// All payments spend the same coins, and each shard receives another payment first.
	"conflicts": func(seed uint64) Config {
		cfg := among(seed)
		cfg.Active, cfg.Load, cfg.Apart = 20*time.Second, 15, 200*time.Millisecond
		cfg.Disruptions = []disturbance.CrossShard{disturbance.ShardPartitions{Every: 3 * time.Second, Lasts: 2 * time.Second}}
		return cfg
	},
}

// cancellations is a story in which f replicas of each shard collude: they sign CL_Ms for anything, forge CLs, and repeat CLs
// and LDs at any time. Clients bring many transactions that one of their input shards never spends.
func cancellations(seed uint64) Config {
	cfg := among(seed)
	cfg.Active, cfg.Calm, cfg.Load, cfg.Apart = 20*time.Second, 5*time.Second, 10, 30*time.Millisecond
	cfg.Disruptions = [][]disturbance.CrossShard{
		nil, {disturbance.GossipLoss{Rate: 0.5}}, {disturbance.GossipLoss{Rate: 1}}, {disturbance.GossipDuplication{Rate: 0.5}, disturbance.ShardPartitions{Every: 4 * time.Second, Lasts: 2 * time.Second}},
	}[seed%4]
	together := &adversary.Collusion{}
	for k := range cfg.Shards {
		cfg.Shards[k] = Shard{Nodes: 4, Delay: 5 * time.Millisecond, Byzantine: []Byzantine{
			{Replica: protocols.Index(seed+uint64(k)) % 4, Behaviour: &adversary.ForgedCLs{Rate: 0.1, With: together}},
		}}
	}
	return cfg
}

// TestQuestions: in a run of several shards with Byzantine replicas, clients ask about transactions in other shards, and get
// answers that count.
func TestQuestions(t *testing.T) {
	t.Parallel()
	told := 0
	for seed := range uint64(3) {
		r, err := Run(t.Context(), among(seed), nil)
		if err != nil {
			report(t, err)
			return
		}
		t.Logf("seed %d: %d receipts of transactions in another shard were told", seed, r.Told)
		told += r.Told
	}
	if told < 10 {
		t.Errorf("%d receipts of transactions in another shard were told", told)
	}
}

// TestNetworkStory runs the stories with the unchanged source.
func TestNetworkStory(t *testing.T) {
	for _, name := range []string{"a slow channel", "conflicts", "silent to other shards", "hostile", "hostile to others", "cancelled by two", "cancellations", "cancellations and expiries", "outages"} {
		count := min(*networks, 2)
		switch name {
		case "cancellations":
			count = min(*networks, 4) // each loss of gossip
		case "hostile":
			count = min(*networks, 12) // each false LD of each shard
		}
		if *story == name {
			count = *networks
		} else if *story != "" {
			continue
		}
		for k := range count {
			t.Run(fmt.Sprintf("%s/%d", name, *first+uint64(k)), func(t *testing.T) {
				t.Parallel()
				if _, err := Run(t.Context(), networkStories[name](*first+uint64(k)), nil); err != nil {
					report(t, err)
				}
			})
		}
	}
}

// TestNetworkEd25519 runs the production signatures.
func TestNetworkEd25519(t *testing.T) {
	cfg := among(4)
	cfg.Active, cfg.Calm, cfg.Load, cfg.Ed25519 = 4*time.Second, 0, 8, true
	cfg.Disruptions = []disturbance.CrossShard{disturbance.GossipLoss{Rate: 0.3}}
	for k := range cfg.Shards {
		cfg.Shards[k] = Shard{Nodes: 4, Delay: 10 * time.Millisecond, Byzantine: []Byzantine{{Replica: 3, Behaviour: &adversary.ForgedLDs{Rate: 0.5}}}}
	}
	r, err := Run(t.Context(), cfg, nil)
	if err != nil {
		report(t, err)
	} else if r.Settled == 0 || r.Refused == 0 {
		t.Errorf("%d settled, %d LDs refused, want some of both", r.Settled, r.Refused)
	}
}

// TestNetworkReplay: one seed gives one run, event by event.
func TestNetworkReplay(t *testing.T) {
	hashes := make(map[string]bool)
	for _, seed := range []uint64{5, 5, 6} {
		cfg := among(seed)
		cfg.Active = 8 * time.Second
		r, err := Run(t.Context(), cfg, nil)
		if err != nil {
			report(t, err)
			return
		}
		hashes[r.Hash.String()] = true
	}
	if len(hashes) != 2 {
		t.Errorf("two seeds, one of them twice, gave %d traces", len(hashes))
	}
}

// TestNoResubmission: every transaction that replicas accepted before they crashed or became idle gets its final
// answer, although clients submit no transaction again.
func TestNoResubmission(t *testing.T) {
	t.Parallel()
	for faults, nodes := range map[string]int{"twins,double-votes,forged-lds,crashes": 7, "crashes,power-cuts": 4} {
		p := Plan{Shards: 2, Nodes: []int{nodes}, For: 8 * time.Second}
		if err := p.ParseFaults(faults); err != nil {
			t.Fatal(err)
		}
		for seed := range uint64(4) {
			cfg, err := p.Scenario(seed + 1)
			if err != nil {
				t.Fatal(err)
			}
			cfg.Once = true
			if _, err := Run(t.Context(), cfg, nil); err != nil {
				report(t, err)
			}
		}
	}
}

// TestApart: a message to another shard takes the configured time, in the mean.
func TestApart(t *testing.T) {
	for _, want := range []time.Duration{5 * time.Millisecond, 400 * time.Millisecond} {
		cfg := quietNetwork(2)
		cfg.Apart = want
		w, err := newWorld(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		w.begin()
		const messages = 2000
		arrived, sum := 0, time.Duration(0)
		for range messages {
			w.CrossShard.Carry(w.Shards[0].Machines[0], w.Shards[1].Machines[0], func() {
				arrived++
				sum += w.Now().Sub(clock.Begin)
			})
		}
		w.play(clock.Begin.Add(10 * time.Second))
		if mean := sum / messages; arrived != messages || mean < want*9/10 || mean > want*11/10 {
			t.Errorf("%d of %d messages arrived after %v in the mean, want %v", arrived, messages, mean, want)
		}
	}
}
