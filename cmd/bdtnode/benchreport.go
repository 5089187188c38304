package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"bdtnode/cmd/bdtnode/bench"
	"bdtnode/cmd/bdtnode/output"
)

func newBenchReport(a *app) *cobra.Command {
	var html, csv string
	c := &cobra.Command{
		Use:   "report FILE…",
		Short: "Show results as a page with charts, or as a table for other programs",
		Long: `Writes a page in HTML with charts of latency by throughput, a table of all results, and the commands that repeat them. The
page is one file and needs no network. With --csv it writes a table with a line for each run.`,
		Example: `  bdtnode bench report rates.json nodes.json --out bench.html
  bdtnode bench report rates.json --csv bench.csv`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if html == "" && csv == "" {
				return output.Usage("give --out FILE, --csv FILE or both")
			}
			var all []bench.Result
			for _, path := range args {
				results, err := readBench(path)
				if err != nil {
					return err
				}
				all = append(all, results...)
			}
			if html != "" {
				if err := writeFileWith(html, func(w io.Writer) error { return bench.WritePage(w, all) }); err != nil {
					return err
				}
			}
			if csv != "" {
				if err := writeFileWith(csv, func(w io.Writer) error { return bench.WriteCSV(w, all) }); err != nil {
					return err
				}
			}
			return a.print.Data(reported{len(all), html, csv}, func(w io.Writer) {
				fmt.Fprintf(w, "results\t%d\n", len(all))
				for _, path := range []string{html, csv} {
					if path != "" {
						fmt.Fprintf(w, "written\t%s\n", path)
					}
				}
			})
		},
	}
	fs := c.Flags()
	fs.StringVar(&html, "out", "", "file of the page, replaced if it exists")
	fs.StringVar(&csv, "csv", "", "file of the table, replaced if it exists")
	paths(fs, "out", "csv")
	c.ValidArgsFunction = cobra.FixedCompletions(nil, cobra.ShellCompDirectiveDefault)
	return c
}

// reported is the output of bench report.
type reported struct {
	Results int    `json:"results"`
	Page    string `json:"page,omitempty"`
	Table   string `json:"table,omitempty"`
}

// writeFileWith writes a file with a function.
func writeFileWith(path string, write func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}
