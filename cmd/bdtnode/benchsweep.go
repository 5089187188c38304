package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"bdtnode/cmd/bdtnode/bench"
	"bdtnode/cmd/bdtnode/output"
)

// Parameters over which bench sweep goes.
const (
	overRate   = "rate"
	overClosed = "closed"
	overNodes  = "nodes"
	overShards = "shards"
	overSize   = "size"
	overCross  = "cross"
	overGap    = "gap"
)

var sweeps = []string{overRate, overClosed, overNodes, overShards, overSize, overCross, overGap}

// sweepValues are the values of a sweep without --values. Those of rate begin with --rate and grow until the network is
// saturated.
var sweepValues = map[string][]float64{
	overClosed: {1, 10, 100, 500, 1000, 2000, 4000, 8000},
	overNodes:  {4, 7, 10, 13},
	overShards: {1, 2, 3, 4},
	overSize:   {100, 250, 1000, 4000, 16000, 64000},
	overCross:  {0, 0.1, 0.25, 0.5, 1},
	overGap:    {5, 10, 25, 50, 100},
}

const (
	rateGrowth = 1.5 // factor of a rate to the next one
	maxPoints  = 32  // of a sweep
)

func newBenchSweep(a *app) *cobra.Command {
	var f benchFlags
	var over, values string
	c := &cobra.Command{
		Use:   "sweep",
		Short: "Measure a network with several values of one parameter",
		Long: `Makes the measurement of bench run for several values of a parameter, and prints the result of each as soon as it is
there. Over rate, without --values, the first rate is that of --rate and each further one is half as high again, until the
network settles less than 95 % of the offered rate, or a transfer is not sent or has no answer. The results can be shown
with bench report.

A saturated network is no failure here. Exit code 1: nothing settled at a value, a replica was lost, or the replicas
disagree.`,
		Example: `  bdtnode bench sweep --over rate --rate 500 -o json > rates.json
  bdtnode bench sweep --over nodes --values 4,7,10 --closed 2000 -o json > nodes.json
  bdtnode bench sweep --over cross --shards 2 --rate 500 --for 10s
  bdtnode bench sweep --over gap --values 5,25,100 --rate 1000 --for 10s`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := f.sweepValues(cmd, over, values)
			if err != nil {
				return err
			}
			return sweepBench(cmd.Context(), a, &f, over, list)
		},
	}
	f.register(c)
	c.Flags().StringVar(&over, "over", overRate, "parameter: "+strings.Join(sweeps, ", "))
	c.Flags().StringVar(&values, "values", "", "its values, separated by commas (default: some for each parameter; rates until saturation)")
	words(c, "over", sweeps...)
	return c
}

// sweepValues checks the flags of a sweep and returns its values, none for rates until saturation.
func (f *benchFlags) sweepValues(c *cobra.Command, over, text string) ([]float64, error) {
	if c.Flags().Changed(over) && (over != overRate || text != "") {
		return nil, output.Usage("--%s is the parameter of the sweep: give its values with --values", over)
	}
	if len(f.nodes) > 0 && (over == overNodes || over == overShards || over == overGap) {
		return nil, output.Usage("--over %s needs networks of its own: leave out --node", over)
	}
	if over == overSize && f.ledger != logLedger {
		return nil, output.Usage("--over size needs --ledger log: the size of a transfer follows from its inputs and outputs")
	}
	list := slices.Clone(sweepValues[over])
	if text != "" {
		list = nil
		for word := range strings.SplitSeq(text, ",") {
			v, err := strconv.ParseFloat(strings.TrimSpace(word), 64)
			if err != nil {
				return nil, output.Usage("--values: %q is no number", word)
			}
			list = append(list, v)
		}
	}
	if len(list) > maxPoints {
		return nil, output.Usage("--values: use at most %d", maxPoints)
	}
	if over == overRate && len(list) == 0 {
		return nil, f.check(c)
	}
	for _, v := range list {
		if err := f.at(over, v).check(c); err != nil {
			return nil, err
		}
	}
	return list, f.check(c)
}

// at are the flags with another value of a parameter.
func (f *benchFlags) at(over string, v float64) *benchFlags {
	x := *f
	switch over {
	case overRate:
		x.rate = v
	case overClosed:
		x.closed, x.rate = int(v), 0
	case overNodes:
		x.replicas = int(v)
	case overShards:
		x.shards = int(v)
	case overSize:
		x.size = int(v)
	case overCross:
		x.cross = v
	case overGap:
		x.gap = time.Duration(v * float64(time.Millisecond))
	}
	return &x
}

// sweepBench measures a network at each value, or at growing rates until it is saturated.
func sweepBench(ctx context.Context, a *app, f *benchFlags, over string, values []float64) error {
	growing := len(values) == 0
	if growing {
		values = []float64{f.rate}
	}
	if !a.print.JSON {
		fmt.Fprintf(a.print.Out, "%12s %12s %12s %10s %10s %10s %14s %8s\n", over, "offered/s", "settled/s", "p50 ms", "p95 ms", "p99 ms", "CPU for 1,000", "other")
	}
	for i := 0; i < len(values); i++ {
		x := f.at(over, values[i])
		a.print.Note("%s %g", over, values[i])
		r, err := measure(ctx, a, x)
		if err != nil {
			return err
		}
		r.Swept = &bench.Swept{Over: over, Value: values[i]}
		if err := a.print.Data(r, func(w io.Writer) { printPoint(w, r) }); err != nil {
			return err
		}
		if r.Partial {
			return nil
		}
		if err := r.Failure(); err != nil {
			return fmt.Errorf("%s %g: %w", over, values[i], err)
		}
		if growing && !r.Saturated() && len(values) < maxPoints && values[i]*rateGrowth <= maxLoad {
			values = append(values, float64(int(values[i]*rateGrowth)))
		}
	}
	return nil
}

func printPoint(w io.Writer, r *bench.Result) {
	other := "-"
	if r.CPU.Why == "" {
		other = fmt.Sprintf("%.1f %%", 100*r.CPU.Other)
	}
	fmt.Fprintf(w, "%12g %12.1f %12.1f %10.1f %10.1f %10.1f %12.3f s %8s\n", r.Swept.Value, r.Offered, r.TPS, r.Latency.P50, r.Latency.P95, r.Latency.P99, r.CPU.Replicas, other)
}
