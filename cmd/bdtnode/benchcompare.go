package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"bdtnode/cmd/bdtnode/bench"
	"bdtnode/cmd/bdtnode/output"
)

func newBenchCompare(a *app) *cobra.Command {
	var vary []string
	c := &cobra.Command{
		Use:   "compare A B",
		Short: "Compare two series of runs in pairs",
		Long: `Compares the runs in two files of results in pairs: the first run of A with the first of B, and so on. For each metric it
shows the ratio of B to A, and the interval that has it with a confidence of 95 %. Measure A and B in turn, so that a
change of the machine's load meets both:

  for seed in 1 2 3; do
    ./old bench run --closed 2000 --seed $seed -o json >> A.json
    ./new bench run --closed 2000 --seed $seed -o json >> B.json
  done

The command refuses runs that cannot be compared, with the reason (exit code 1): other settings, another machine or
compiler flags, fewer than 3 pairs, a partial run, one with transfers that have no answer, or one during which other
programs used more than 8 % of the machine.`,
		Example: `  bdtnode bench compare A.json B.json
  bdtnode bench compare bdt.json dumbo.json --vary consensus -o json`,
		Args: cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			first, err := readBench(args[0])
			if err != nil {
				return err
			}
			second, err := readBench(args[1])
			if err != nil {
				return err
			}
			got, err := bench.Compare(first, second, vary)
			if err != nil {
				return fmt.Errorf("not comparable: %w", err)
			}
			return a.print.Data(got, func(w io.Writer) { printComparison(w, got) })
		},
	}
	c.Flags().StringSliceVar(&vary, "vary", nil, "settings that may differ, separated by commas, such as consensus or nodes (default: none)")
	return c
}

// readBench reads a file of results.
func readBench(path string) ([]bench.Result, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, output.Usage("%v", err)
	}
	defer f.Close()
	results, err := bench.ReadResults(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return results, nil
}

func printComparison(w io.Writer, c *bench.Comparison) {
	fmt.Fprintf(w, "%d pairs of runs", c.Pairs)
	if len(c.Differ) > 0 {
		fmt.Fprintf(w, "; they differ in %s", strings.Join(c.Differ, ", "))
	}
	fmt.Fprint(w, "\n\nMETRIC\tA\tB\tB/A\t95 % INTERVAL\tDIFFERENT\n")
	for _, m := range c.Metrics {
		fmt.Fprintf(w, "%s\t%.4g\t%.4g\t%.3f\t%.3f to %.3f\t%s\n", m.Metric, m.A, m.B, m.Ratio, m.Low, m.High, yes(m.Clear))
	}
}
