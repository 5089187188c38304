package sim

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"bdtnode/internal/wan"
	"bdtnode/node/sim/adversary"
	"bdtnode/node/sim/disturbance"
	"bdtnode/node/sim/draw"
	"bdtnode/node/sim/machine"
	"bdtnode/protocols"
)

// Plan is a kind of run, from which every seed makes a different one. The seed decides everything that the plan leaves
// open.
type Plan struct {
	Shards    int           // 1 or more
	Nodes     []int         // replicas of a shard; each run has one of these numbers
	Faults    []string      // names of disturbances and behaviours, all active; see [FaultNames]
	All       bool          // in place of Faults: each run has a random selection of all
	For       time.Duration // virtual time of load and disturbances; until all transactions have their answers, as much time may pass again
	Delay     time.Duration // mean one-way delay inside a shard; 0 lets the seed decide
	WAN       *wan.Matrix   // delays between replicas in place of Delay, and their mean between shards; nil is none
	Load      float64       // transactions a second; 0 lets the seed decide
	Consensus string        // "bdt", "dumbo", or empty
	Ed25519   bool          // production signatures and coin
}

// settling is the time after the disturbances within which every transaction must have its answer: several times the longest
// patience, after which failed leaders have been passed over.
const (
	settleAlone = 60 * time.Second
	settleAmong = 90 * time.Second
)

// ParseFaults reads a list of names with commas between them, "all" or "none".
func (p *Plan) ParseFaults(list string) error {
	p.Faults, p.All = nil, false
	switch list {
	case "all":
		p.All = true
		return nil
	case "none":
		return nil
	}
	for name := range strings.SplitSeq(list, ",") {
		name = strings.TrimSpace(name)
		if catalogued(name) == nil {
			return fmt.Errorf("no fault is called %q; there are %s", name, strings.Join(FaultNames(), ", "))
		}
		if slices.Contains(p.Faults, name) {
			return fmt.Errorf("fault %s is named twice", name)
		}
		p.Faults = append(p.Faults, name)
	}
	slices.Sort(p.Faults)
	return nil
}

// Scenario is the run of a seed. The error names the part of the plan that is not possible.
func (p *Plan) Scenario(seed uint64) (Config, error) {
	if p.Shards < 1 || len(p.Nodes) == 0 || p.For <= 0 {
		return Config{}, fmt.Errorf("a plan of %d shards, sizes %v, for %v: want one or more of each", p.Shards, p.Nodes, p.For)
	}
	for _, name := range p.Faults {
		if e := catalogued(name); e.among > p.Shards {
			return Config{}, fmt.Errorf("fault %s takes %d shards or more", name, e.among)
		}
	}
	d := p.drawing(seed, p.Shards, "run")
	cfg := Config{
		Seed: seed, Active: p.For, Settle: settleAlone, Apart: d.Milliseconds(1, 150), Load: p.Load, Ed25519: p.Ed25519,
		Dumbo: p.Consensus == "dumbo" || p.Consensus == "" && d.IntN(5) == 0,
	}
	if p.WAN != nil {
		if p.WAN.Mbit > 0 {
			return Config{}, errors.New("links of the simulator have no bandwidth: leave mbit out of the matrix")
		}
		cfg.Apart = max(p.WAN.Mean(slices.Max(p.Nodes)), time.Millisecond)
	}
	bursts, calm := d.IntN(3) == 0, d.IntN(2) == 0
	if p.Shards == 1 {
		cfg.Bursts = p.All && bursts
	} else if cfg.Settle = settleAmong; p.All && calm {
		cfg.Calm = d.Milliseconds(500, 20000)
	}
	cfg.Calm = min(cfg.Calm, p.For/2)
	if p.Load == 0 {
		cfg.Load = d.Float(2, 12)
		if p.Shards > 1 {
			cfg.Load = d.Float(1, 5)
		}
	}
	for i := range catalogue {
		if e := &catalogue[i]; e.crossShard != nil && p.wants(seed, p.Shards, e) {
			cfg.Disruptions = append(cfg.Disruptions, e.crossShard(p.drawing(seed, p.Shards, e.name)))
		}
	}
	for k := range p.Shards {
		x, err := p.shard(seed, k)
		if err != nil {
			return Config{}, err
		}
		cfg.Shards = append(cfg.Shards, x)
	}
	return cfg, cfg.validate()
}

// shard makes the configuration of one shard.
func (p *Plan) shard(seed uint64, k int) (Shard, error) {
	d := p.drawing(seed, k, "shard")
	x := Shard{Nodes: p.Nodes[d.IntN(len(p.Nodes))], Delay: p.Delay}
	if p.Delay == 0 {
		x.Delay = d.Milliseconds(1, 60)
	}
	var behaviours []*entry
	for i := range catalogue {
		e := &catalogue[i]
		switch at := p.drawing(seed, k, e.name); {
		case e.behaviour != nil && (p.All || slices.Contains(p.Faults, e.name)):
			if e.vouched && !p.All {
				x.Vouched = max(x.Vouched, 1)
			}
			if e.among <= p.Shards && (!e.vouched || x.Vouched > 0) {
				behaviours = append(behaviours, e)
			}
		case !p.wants(seed, k, e):
		case e.disturbance != nil:
			x.Disturbances = append(x.Disturbances, e.disturbance(at))
		case e.shape != nil:
			e.shape(at, &x)
		}
	}
	if p.All {
		p.corruptSome(&x, d, seed, k, behaviours)
		x.place(p.WAN)
		return x, nil
	}
	spare := x.faulty() - x.deaths()
	if spare < 0 || spare == 0 && len(behaviours) > 0 {
		return x, fmt.Errorf("%d replicas tolerate %d that are Byzantine or fail for good: use more replicas, or fewer faults", x.Nodes, x.faulty())
	}
	for i, who := range d.Perm(x.Nodes)[:min(spare, len(behaviours))] {
		var some []*entry
		for j := i; j < len(behaviours); j += spare {
			some = append(some, behaviours[j])
		}
		p.corrupt(&x, d, seed, k, who, some)
	}
	x.place(p.WAN)
	return x, nil
}

// place gives the replicas the delays of a matrix. A twin has those of its replica.
func (x *Shard) place(m *wan.Matrix) {
	if m == nil {
		return
	}
	at := make([]int, x.Nodes, x.places()) // replica of each node
	for i := range at {
		at[i] = i
	}
	for _, b := range x.Byzantine {
		if machine.Twinned(b.Behaviour) {
			at = append(at, int(b.Replica))
		}
	}
	x.WAN, x.Links = m, make([][]time.Duration, len(at))
	for i := range at {
		for j := range at {
			d := time.Duration(0)
			if i != j {
				d = m.OneWay(at[i], at[j])
			}
			x.Links[i] = append(x.Links[i], d)
		}
	}
}

// corruptSome makes each replica that may fail either honest, or one that goes down for good while it leads, or
// Byzantine with one or two behaviours.
func (p *Plan) corruptSome(x *Shard, d draw.Source, seed uint64, k int, behaviours []*entry) {
	for _, who := range d.Perm(x.Nodes)[:x.faulty()] {
		switch r := d.Float64(); {
		case r < 0.2:
			x.Disturbances = append(x.Disturbances, disturbance.LeaderDies{After: d.During()})
		case r < 0.7:
			kinds := 1
			if d.IntN(4) == 0 {
				kinds = 2
			}
			var some []*entry
			for _, j := range d.Perm(len(behaviours))[:kinds] {
				some = append(some, behaviours[j])
			}
			p.corrupt(x, d, seed, k, who, some)
		}
	}
}

// corrupt makes a replica Byzantine with one or several behaviours.
func (p *Plan) corrupt(x *Shard, d draw.Source, seed uint64, k, who int, kinds []*entry) {
	var all []adversary.Behaviour
	for _, e := range kinds {
		all = append(all, e.behaviour(p.drawing(seed, k<<8+who, cmp.Or(e.stream, e.name))))
	}
	l := Byzantine{Replica: protocols.Index(who), Behaviour: all[0]}
	if len(all) > 1 {
		l.Behaviour = &adversary.Turns{Each: d.Milliseconds(500, 5000), Behaviours: all}
	}
	x.Byzantine = append(x.Byzantine, l)
}

// wants reports whether an entry of the catalogue is in the run of a seed, at a place.
func (p *Plan) wants(seed uint64, place int, e *entry) bool {
	if !p.All {
		return slices.Contains(p.Faults, e.name)
	}
	return e.odds > 0 && e.among <= p.Shards && p.drawing(seed, place, e.name+" or not").IntN(e.odds) == 0
}

func (p *Plan) drawing(seed uint64, place int, purpose string) draw.Source {
	return draw.New(seed, place, purpose, p.For)
}
