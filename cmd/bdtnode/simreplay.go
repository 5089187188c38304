package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"bdtnode/cmd/bdtnode/output"
	"bdtnode/node/sim"
)

func newSimReplay(a *app) *cobra.Command {
	var f simFlags
	var seed, from, to uint64
	var only string
	c := &cobra.Command{
		Use:   "replay [RECORDING]",
		Short: "Print the events of a simulated run, or of a recorded run of a replica",
		Long: `Runs the network of a seed again and prints its events, one a line: step, virtual time, shard, kind of event, replica,
the other replica if there is one, and a description. With -o json each line is an object.

With RECORDING, a directory that a replica made after bdtnode debug record, it repeats that run with the code of this
program, and prints each input and each result: records, messages, blocks. The time is that since the start. The replica
is repeated alone, from its recorded inputs; nothing is sent, and no key is needed. The digest of inputs and results is
compared after each step. The first step with another result ends the replay with exit code 1: then this program differs
from the one that recorded, or the recording was changed. A recording that was cut is repeated up to the cut.`,
		Example: `  bdtnode sim replay --seed 7 --from 12000 --to 12400
  bdtnode sim replay --seed 7 --only "epoch 3"
  bdtnode sim replay net/shard0-replica1/recordings/20260102T150405Z --only "epoch 3"`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if to != 0 && to < from {
				return output.Usage("--to %d is before --from %d", to, from)
			}
			if len(args) == 1 {
				if name := notOfRecordings(cmd); name != "" {
					return output.Usage("--%s cannot be used with a recording", name)
				}
				return a.replayRecording(cmd.Context(), args[0], func(step uint64, line string) bool {
					return step >= from && (to == 0 || step <= to) && strings.Contains(line, only)
				})
			}
			p, err := f.plan()
			if err != nil {
				return err
			}
			return a.simReplay(cmd.Context(), &f, p, seed, func(e sim.Event, line string) bool {
				return e.Step >= from && (to == 0 || e.Step <= to) && strings.Contains(line, only)
			})
		},
	}
	f.register(c, []int{4})
	fs := c.Flags()
	fs.Uint64Var(&seed, "seed", 1, "seed of the run")
	fs.Uint64Var(&from, "from", 0, "first step to show")
	fs.Uint64Var(&to, "to", 0, "last step to show; 0 is the end of the run (default 0)")
	fs.StringVar(&only, "only", "", "show only lines that contain this text (default: all lines)")
	return c
}

// simEvent is a line of the output of sim replay with -o json.
type simEvent struct {
	Step  uint64  `json:"step"`
	At    float64 `json:"at_seconds"`
	Shard int     `json:"shard"`
	What  string  `json:"what"`
	Who   int     `json:"who"` // replica, -1 if there is none
	To    int     `json:"to"`  // other replica, -1 if there is none
	Text  string  `json:"text"`
}

func (a *app) simReplay(ctx context.Context, f *simFlags, p *sim.Plan, seed uint64, shown func(sim.Event, string) bool) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var broken error
	out, err := f.single(ctx, p, seed, func(e sim.Event) {
		line := e.String()
		if broken != nil || !shown(e, line) {
			return
		}
		if a.print.JSON {
			broken = a.print.Data(simEvent{e.Step, e.At.Seconds(), e.Shard, e.What, e.Who, e.To, line}, nil)
		} else if _, err := fmt.Fprintln(a.print.Out, line); err != nil {
			broken = fmt.Errorf("write output: %w", err)
		}
		if broken != nil {
			stop()
		}
	})
	switch {
	case broken != nil:
		return broken
	case err != nil:
		return err
	case len(out.Violations) > 0:
		v := out.Violations[0]
		a.print.Note("%s", out.Scenario)
		return v.err(seed)
	}
	a.print.Note("%s\nNo violation in %.1f virtual seconds; trace %s", out.Scenario, out.VirtualSeconds, out.TraceHash)
	return nil
}
