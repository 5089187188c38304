package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"bdtnode/cmd/bdtnode/bench"
	"bdtnode/node"
)

func newVersion(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Show the version and the build of this program",
		Example: "  bdtnode version -o json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			v := readVersion()
			return a.print.Data(v, func(w io.Writer) {
				fmt.Fprintf(w, "bdtnode\t%s\n", v.Version)
				if v.Revision != "" {
					fmt.Fprintf(w, "revision\t%s %s\nmodified\t%t\n", v.Revision, v.Built, v.Modified)
				}
				fmt.Fprintf(w, "go\t%s %s\n", v.Go, v.Platform)
			})
		},
	}
}

// readVersion describes the build of this program.
func readVersion() bench.Version { return bench.ThisVersion(node.Version()) }
