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
	Checks    *check.Network
	Events    []trace.Event // since New
	Violation error         // the first one
}

// Accounts is the number of accounts of the shard. Each has ten outputs of 1,000 at genesis.
const Accounts = 6

// New starts the machines of a shard, some of them Byzantine, and lets them connect. Messages take about 10 ms.
func New(replicas int, byzantine ...machine.Byzantine) (*Rig, error) {
	c, log, r := clock.New(1), trace.NewLog(), &Rig{}
	sys, err := machine.New(c, log, machine.Config{
		Seed: 1, Accounts: Accounts, Shards: []machine.ShardConfig{{
			Replicas: replicas, Delay: 10 * time.Millisecond, Limits: admission.StandardLimits(), Byzantine: byzantine,
		}},
	})
	if err != nil {
		return nil, err
	}
	r.Checks = check.NewNetwork(c, sys.Peers, func(check, detail string) {
		if r.Violation == nil {
			r.Violation = fmt.Errorf("%s: %s", check, detail)
		}
	})
	sys.SetChecks(r.Checks)
	s := sys.Shards[0]
	r.Shard = s
	var allocations []ledger.Allocation
	for _, k := range s.Signers[replicas:] {
		allocations = append(allocations, ledger.Allocation{Address: ledger.AddressOf(k.Public()), Amount: 1000, Outputs: 10})
	}
	facts := r.Checks.Add(check.Facts{Replicas: replicas, Places: s.Config.Places(), Committee: s.Committee, Scheme: sys.Scheme, Trace: s.Trace, Allocations: allocations})
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
