package sim

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"bdtnode/internal/digest"
	"bdtnode/node/sim/adversary"
	"bdtnode/node/sim/check"
	"bdtnode/node/sim/clock"
	"bdtnode/node/sim/disturbance"
	"bdtnode/node/sim/trace"
	"bdtnode/node/sim/twins"
	"bdtnode/node/sim/workload"
	"bdtnode/protocols/lanes"
)

// Event is one event of a run.
type Event = trace.Event

// Report is the result of a run, up to its first violation if there was one.
type Report struct {
	Scenario string // the configuration in one line
	Virtual  time.Duration
	Hash     digest.Digest // over all events: the same for the same configuration
	Events   uint64
	check.Counts
	Agreements Rounds
	BySize     map[int]Rounds // by number of replicas of the shard
}

// Rounds is the number of rounds of agreements, counted at the last replica to decide.
type Rounds struct {
	Agreements uint64
	Sum        uint64
	Max        uint32
}

// Add adds the counts of x.
func (r *Rounds) Add(x Rounds) {
	r.Agreements, r.Sum, r.Max = r.Agreements+x.Agreements, r.Sum+x.Sum, max(r.Max, x.Max)
}

// Mean is the mean number of rounds, 0 without agreements.
func (r *Rounds) Mean() float64 {
	if r.Agreements == 0 {
		return 0
	}
	return float64(r.Sum) / float64(r.Agreements)
}

// Violation is a guarantee that did not hold.
type Violation struct {
	Config fmt.Stringer // of the run
	Step   uint64
	At     time.Duration // virtual, since the start
	Check  string
	Detail string
	Events []string // the last before the violation
}

// Error names the data needed to repeat the run; Events has more.
func (v *Violation) Error() string {
	return fmt.Sprintf("%s violated at step %d, %v: %s\n%s", v.Check, v.Step, v.At, v.Detail, v.Config)
}

// Story is the error with the last events.
func (v *Violation) Story() string { return v.Error() + "\n" + strings.Join(v.Events, "\n") }

// Run carries out a configuration. It calls watch with every event if watch is not nil. The error is a *[Violation],
// and comes with the report up to it; or it describes an error of the configuration, or the end of the context.
// Adversaries keep state: make a new configuration for another run.
func Run(ctx context.Context, cfg Config, watch func(Event)) (*Report, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	w, err := newWorld(ctx, cfg)
	if err != nil {
		return nil, err
	}
	w.log.Watch = watch
	w.guarded()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r := w.report()
	if w.violation != nil {
		return r, w.violation
	}
	return r, nil
}

func (w *world) report() *Report {
	r := &Report{Scenario: w.cfg.String(), Virtual: w.Now().Sub(clock.Begin), Hash: w.log.Hash(), Events: w.log.Steps, Counts: w.checks.Counts(), BySize: make(map[int]Rounds)}
	for k, s := range w.checks.Shards {
		of := r.BySize[w.cfg.Shards[k].Nodes]
		for _, rounds := range s.Rounds() {
			of.Add(Rounds{1, uint64(rounds), rounds})
		}
		r.BySize[w.cfg.Shards[k].Nodes] = of
	}
	for _, of := range r.BySize {
		r.Agreements.Add(of)
	}
	return r
}

// guarded performs the run. A panic is reported as a violation: an invariant that does not hold, in a replica or in
// this package.
func (w *world) guarded() {
	defer func() {
		if r := recover(); r != nil {
			w.failed("invariant", fmt.Sprintf("%v\n%s", r, debug.Stack()))
		}
	}()
	w.perform()
}

// maxClosing is the number of blocks within which all closed records must be forgotten.
const maxClosing = 200

// perform carries out the whole run: load and disturbances, then their end and the answers, then, with several shards,
// the deletion of records some time later, and silence.
func (w *world) perform() {
	w.begin()
	w.play(clock.Begin.Add(w.cfg.Active))
	if w.over() {
		return
	}
	w.Active = false
	w.CrossShard.Heal()
	for _, s := range w.Shards {
		s.Heal()
	}
	w.settle(w.checks.Unsettled)
	if len(w.Shards) > 1 {
		w.play(w.Now().Add(3 * time.Minute))                                                   // everything has expired by then
		for rounds := 0; !w.over() && w.checks.Open() != "" && rounds < maxClosing; rounds++ { // a block closes a bounded number only
			w.workload.Last()
			w.settle(w.checks.Unsettled)
		}
		w.settle(w.checks.Open)
		if w.cfg.forgotten != nil && !w.over() {
			w.cfg.forgotten(w)
		}
	}
	for k := range w.Shards {
		if !w.over() {
			w.end(k)
		}
	}
	if w.honest() && !w.over() {
		w.silence()
	}
}

// begin starts disturbances, machines and load.
func (w *world) begin() {
	for _, f := range w.cfg.Disruptions {
		f.Start(w.System)
	}
	if w.cfg.started != nil {
		w.cfg.started(w)
	}
	for k, s := range w.Shards {
		cfg := &w.cfg.Shards[k]
		for _, f := range cfg.Disturbances {
			f.Start(s)
		}
		for _, l := range cfg.Byzantine {
			for _, b := range adversary.Parts(l.Behaviour) {
				if f, ok := b.(disturbance.Disturbance); ok {
					f.Start(s)
				}
			}
		}
		for _, n := range s.Machines {
			n.Start()
		}
	}
	w.workload.Start(clock.Begin.Add(w.cfg.Active - w.cfg.Calm))
}

// honest reports whether no replica is Byzantine.
func (w *world) honest() bool {
	return !slices.ContainsFunc(w.cfg.Shards, func(x Shard) bool { return len(x.Byzantine) > 0 || x.Hostile != nil })
}

// end checks one shard at the end of the run.
func (w *world) end(k int) {
	for _, l := range w.cfg.Shards[k].Byzantine {
		if a, ok := l.Behaviour.(*twins.SecondProcess); ok {
			a.Ended(w.Shards[k])
		}
	}
	w.checks.Shards[k].End(w.cfg.Settle)
}

// settle continues until nothing is lacking any more, or reports a violation.
func (w *world) settle(lacking func() string) {
	for end := w.Now().Add(w.cfg.Settle); !w.over(); w.play(w.Now().Add(200 * time.Millisecond)) {
		lack := lacking()
		if lack == "" {
			return
		}
		if w.Now() >= end {
			w.failed("liveness", fmt.Sprintf("%v after the disturbances stopped: %s", w.cfg.Settle, lack))
		}
	}
}

// silence checks that an idle network sends nothing but Pings. The last correction of a clock may come late: it is no event
// of the network.
func (w *world) silence() {
	late := 15 * time.Second
	for k, s := range w.checks.Shards {
		if s.Pending() {
			late = max(late, workload.Lifetime+time.Minute) // a transaction whose input never appears gets its answer when it expires
		}
		late = max(late, lanes.MaxRequestTime(w.cfg.Shards[k].Nodes)) // as for requests for a lane whose owner is down
	}
	w.Muted = true
	w.play(w.Now().Add(late)) // late messages have arrived by then
	w.Muted = false
	for _, s := range w.checks.Shards {
		s.Silent()
	}
	others := func() uint64 { return w.log.Steps - w.log.Pings - w.log.Clocks }
	before := others()
	w.play(w.Now().Add(20 * time.Second))
	if n := others() - before; n > 0 && !w.over() {
		w.failed("silence", fmt.Sprintf("an idle network had %d events besides Pings in 20 seconds", n))
	}
}
