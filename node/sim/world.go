package sim

import (
	"context"

	"bdtnode/node/sim/adversary"
	"bdtnode/node/sim/check"
	"bdtnode/node/sim/clock"
	"bdtnode/node/sim/machine"
	"bdtnode/node/sim/observe"
	"bdtnode/node/sim/trace"
	"bdtnode/node/sim/twins"
	"bdtnode/node/sim/workload"
	"bdtnode/protocols"
)

// world is a run: its machines, clients and checks, and the first violation.
type world struct {
	*machine.System
	ctx       context.Context // a run lasts seconds; the context can end it earlier
	cfg       *Config
	log       *trace.Log
	checks    *check.Network
	workload  *workload.Workload
	violation *Violation
}

// newWorld assembles the parts of a run.
func newWorld(ctx context.Context, cfg Config) (*world, error) {
	w := &world{ctx: ctx, cfg: &cfg, log: trace.NewLog()}
	machines := machine.Config{Seed: cfg.Seed, Ed25519: cfg.Ed25519, Dumbo: cfg.Dumbo, Log: cfg.Log, Accounts: workload.Accounts, Apart: cfg.Apart}
	load := workload.Config{Seed: cfg.Seed, Load: cfg.Load, Bursts: cfg.Bursts, Once: cfg.Once, Log: cfg.Log}
	for k := range cfg.Shards {
		x := &cfg.Shards[k]
		machines.Shards = append(machines.Shards, x.machines())
		load.Coins = append(load.Coins, x.Coins)
	}
	var err error
	if w.System, err = machine.New(clock.New(cfg.Seed), w.log, machines); err != nil {
		return nil, err
	}
	w.workload = workload.New(w.System, load)
	w.checks = check.NewNetwork(w.Clock, w.Peers, w.failed)
	w.SetChecks(w.checks)
	w.workload.SetChecks(w.checks)
	allocations := w.workload.Allocations()
	for k, s := range w.Shards {
		c := w.checks.Add(check.Facts{
			Number: s.Number, Replicas: s.Config.Replicas, Places: s.Config.Places(), Slots: s.Config.Slots, Committee: s.Committee, Scheme: w.Scheme,
			Trace: s.Trace, Hostile: cfg.Shards[k].Hostile, Allocations: allocations,
		})
		s.Build(allocations, c)
		for _, n := range s.Machines {
			c.Nodes = append(c.Nodes, observe.Replica(n))
			for _, b := range adversary.Parts(n.Behaviour()) {
				if t, ok := b.(*twins.Twins); ok {
					t.Pay = func(groups []int) { w.workload.PayInGroups(s.Number, groups) }
				}
			}
		}
	}
	return w, nil
}

// play carries out events until a time, or until the run is over.
func (w *world) play(until protocols.Time) {
	w.Play(until, func(k int) bool { return w.violation != nil || k%4096 == 0 && w.ctx.Err() != nil })
}

// over reports whether the run has to end.
func (w *world) over() bool { return w.violation != nil || w.ctx.Err() != nil }

// failed records the first violation and ends the run.
func (w *world) failed(check, detail string) {
	if w.violation == nil {
		w.violation = &Violation{Config: w.cfg, Step: w.log.Steps, At: w.Now().Sub(clock.Begin), Check: check, Detail: detail, Events: w.log.Last()}
	}
}
