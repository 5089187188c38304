package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"bdtnode/cmd/bdtnode/output"
	"bdtnode/node/sim"
)

// simResult is the result of a simulated run.
type simResult struct {
	Seed           uint64         `json:"seed"`
	VirtualSeconds float64        `json:"virtual_seconds"`
	RealSeconds    float64        `json:"real_seconds"`
	Commits        uint64         `json:"commits"`   // committed blocks
	Epochs         uint64         `json:"epochs"`    // epochs that ended
	Fallbacks      uint64         `json:"fallbacks"` // epochs that ended before their slots were used up
	Settled        int            `json:"settled"`
	Rejected       int            `json:"rejected"`
	MaxRounds      uint32         `json:"max_rounds"` // largest number of rounds of an agreement
	Violations     []simViolation `json:"violations"` // at most one: a violation ends the run
	TraceHash      string         `json:"trace_hash"`
	Scenario       string         `json:"scenario"`
}

// simViolation is a violated guarantee.
type simViolation struct {
	Check  string  `json:"check"`
	Step   uint64  `json:"step"`
	At     float64 `json:"at_seconds"` // virtual time
	Detail string  `json:"detail"`
	Replay string  `json:"replay"`
}

// replayed is the number of events before a violation that the printed replay command shows.
const replayed = 200

func (f *simFlags) violation(seed uint64, v *sim.Violation) simViolation {
	from := max(v.Step, replayed) - replayed + 1
	return simViolation{v.Check, v.Step, v.At.Seconds(), v.Detail, f.command("replay", seed) + fmt.Sprintf(" --from %d", from)}
}

// err is the command error for the violation.
func (v *simViolation) err(seed uint64) error {
	what, _, _ := strings.Cut(v.Detail, "\n")
	f := &output.Failure{Exit: output.ExitFailure, Code: "violation",
		Message: fmt.Sprintf("seed %d: %s violated at step %d, %.6f s: %s", seed, v.Check, v.Step, v.At, what)}
	return f.WithHint("replay it with: %s", v.Replay)
}

// simulate runs a plan once. A violation is returned as the second value, any other failure as the error.
func (f *simFlags) simulate(ctx context.Context, p *sim.Plan, seed uint64, watch func(sim.Event)) (*sim.Report, *sim.Violation, error) {
	cfg, err := p.Scenario(seed)
	if err != nil {
		return nil, nil, err
	}
	r, err := sim.Run(ctx, cfg, watch)
	var v *sim.Violation
	if err != nil && !errors.As(err, &v) {
		return nil, nil, err
	}
	return r, v, nil
}

// single runs a plan once and converts the report to a result.
func (f *simFlags) single(ctx context.Context, p *sim.Plan, seed uint64, watch func(sim.Event)) (*simResult, error) {
	defer debug.SetGCPercent(debug.SetGCPercent(simGC))
	begun := time.Now()
	r, v, err := f.simulate(ctx, p, seed, watch)
	if err != nil {
		return nil, err
	}
	out := &simResult{
		Seed: seed, VirtualSeconds: r.Virtual.Seconds(), RealSeconds: time.Since(begun).Seconds(),
		Commits: r.Commits, Epochs: r.Epochs, Fallbacks: r.Fallbacks, Settled: r.Settled, Rejected: r.Rejected,
		MaxRounds: r.Agreements.Max, Violations: []simViolation{}, TraceHash: r.Hash.String(), Scenario: r.Scenario,
	}
	if v != nil {
		out.Violations = append(out.Violations, f.violation(seed, v))
	}
	return out, nil
}

func newSimRun(a *app) *cobra.Command {
	var f simFlags
	var seed uint64
	c := &cobra.Command{
		Use:   "run",
		Short: "Simulate one network",
		Long:  simHelp + "\n\nExit code 1: a guarantee was violated. Then the step and a command that replays the run are printed.",
		Example: `  bdtnode sim run --seed 7
  bdtnode sim run --seed 7 --nodes 7 --faults crashes,partitions,equivocating-leader --for 5m -o json
  bdtnode sim run --shards 3 --faults none --load 20`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := f.plan()
			if err != nil {
				return err
			}
			out, err := f.single(cmd.Context(), p, seed, nil)
			if err != nil {
				return err
			}
			if err := a.print.Data(out, func(w io.Writer) { printSim(w, out) }); err != nil {
				return err
			}
			if len(out.Violations) > 0 {
				return out.Violations[0].err(seed)
			}
			return nil
		},
	}
	f.register(c, []int{4})
	c.Flags().Uint64Var(&seed, "seed", 1, "seed of the run")
	return c
}

func printSim(w io.Writer, r *simResult) {
	fmt.Fprintf(w, "%s\n\n", r.Scenario)
	fmt.Fprintf(w, "time\t%.1f s virtual, %.3f s real, %.0f times faster\n", r.VirtualSeconds, r.RealSeconds, r.VirtualSeconds/math.Max(r.RealSeconds, 1e-6))
	fmt.Fprintf(w, "blocks\t%d\nepochs\t%d, of which %d ended by fallback before their last slot\n", r.Commits, r.Epochs, r.Fallbacks)
	fmt.Fprintf(w, "agreement\t%d rounds at most\n", r.MaxRounds)
	fmt.Fprintf(w, "transactions\t%d settled, %d rejected\n", r.Settled, r.Rejected)
	fmt.Fprintf(w, "violations\t%d\ntrace\t%s\n", len(r.Violations), r.TraceHash)
}
