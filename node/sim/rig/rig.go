// Package rig has a shard of connected machines without clients and disturbances, for tests of the packages that act on
// machines.
package rig

import (
	"fmt"
	"time"

	"bdtnode/ledger"
	"bdtnode/node/admission"
	"bdtnode/node/sim/check"
	"bdtnode/node/sim/clock"
	"bdtnode/node/sim/machine"
	"bdtnode/node/sim/trace"
)

// Rig is a running shard.
type Rig struct {
	*machine.Shard
	Events    []trace.Event // since New
	Violation error         // the first one
}

// New starts the machines of a shard, and lets them connect. Messages take about 10 ms.
func New(replicas int) (*Rig, error) {
	c, log, r := clock.New(1), trace.NewLog(), &Rig{}
	sys, err := machine.New(c, log, machine.Config{
		Seed: 1, Accounts: 1, Shards: []machine.ShardConfig{{Replicas: replicas, Delay: 10 * time.Millisecond, Limits: admission.StandardLimits()}},
	})
	if err != nil {
		return nil, err
	}
	checks := check.NewNetwork(c, sys.Peers, func(check, detail string) {
		if r.Violation == nil {
			r.Violation = fmt.Errorf("%s: %s", check, detail)
		}
	})
	sys.SetChecks(checks)
	s := sys.Shards[0]
	r.Shard = s
	allocations := []ledger.Allocation{{Address: ledger.AddressOf(s.Signers[replicas].Public()), Amount: 1000, Outputs: 1}}
	facts := checks.Add(check.Facts{Replicas: replicas, Places: replicas, Committee: s.Committee, Scheme: sys.Scheme, Trace: s.Trace, Allocations: allocations})
	s.Build(allocations, facts)
	for _, n := range s.Machines {
		facts.Nodes = append(facts.Nodes, n)
	}
	for _, n := range s.Machines {
		n.Start()
	}
	r.For(time.Second)
	log.Watch = func(e trace.Event) { r.Events = append(r.Events, e) }
	return r, r.Violation
}

// For carries out the events of a time.
func (r *Rig) For(d time.Duration) {
	r.Play(r.Now().Add(d), func(int) bool { return r.Violation != nil })
}
