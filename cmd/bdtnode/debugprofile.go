package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"bdtnode/cmd/bdtnode/output"
	"bdtnode/node/admin"
)

// profileFiles are the default file names of profiles.
var profileFiles = map[string]string{"cpu": "cpu.pprof", "heap": "heap.pprof", "goroutine": "goroutines.txt", "trace": "trace.out"}

// profileWait bounds the time of a profile beyond its duration.
const profileWait = 15 * time.Second

// profileResult is the output of debug profile.
type profileResult struct {
	Kind  string `json:"kind"`
	File  string `json:"file"`
	Bytes int64  `json:"bytes"`
}

func newDebugProfile(a *app, f *reach) *cobra.Command {
	var out string
	var length time.Duration
	c := &cobra.Command{
		Use:       "profile cpu|heap|goroutine|trace",
		Short:     "Write a profile of a replica to a file",
		ValidArgs: admin.Profiles,
		Long: `Writes a profile of the replica's process to a file: cpu (1 to 60 seconds) and heap for go tool pprof, trace (1 to 10
seconds) for go tool trace, goroutine as text with the stack of each goroutine. A profile of the processor or a trace
costs the replica a few percent of its time while it runs.`,
		Example: `  bdtnode debug profile cpu --seconds 10s --out cpu.pprof
  bdtnode debug profile goroutine --replica 0/1`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			kind := args[0]
			if profileFiles[kind] == "" {
				return output.Usage("profile %q is unknown: use cpu, heap, goroutine or trace", kind)
			}
			seconds, err := profileLength(kind, length, cmd.Flags().Changed("seconds"))
			if err != nil {
				return err
			}
			if out == "" {
				out = profileFiles[kind]
			}
			client, err := a.dial(f)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), time.Duration(max(seconds, 5))*time.Second+profileWait)
			defer cancel()
			n, err := writeFileFrom(out, func(w io.Writer) error { return client.Profile(ctx, kind, seconds, w) })
			if err != nil {
				return adminFailure(err)
			}
			return a.print.Data(profileResult{kind, out, n}, func(w io.Writer) { fmt.Fprintf(w, "%s\t%d bytes\n", out, n) })
		},
	}
	c.Flags().StringVar(&out, "out", "", "file to write (default: cpu.pprof, heap.pprof, goroutines.txt or trace.out)")
	c.Flags().DurationVar(&length, "seconds", 0, "duration of a cpu profile or trace (default 5s, of a trace 2s)")
	paths(c.Flags(), "out")
	return c
}

// profileLength is the duration of a profile in seconds, 0 for the default.
func profileLength(kind string, d time.Duration, given bool) (int, error) {
	most := map[string]int{"cpu": admin.MaxCPUSeconds, "trace": admin.MaxTraceSeconds}[kind]
	switch {
	case !given:
		return 0, nil
	case most == 0:
		return 0, output.Usage("--seconds: a %s profile is of one moment", kind)
	case d < time.Second || d > time.Duration(most)*time.Second || d%time.Second != 0:
		return 0, output.Usage("--seconds %v: use whole seconds, 1s to %ds", d, most)
	}
	return int(d / time.Second), nil
}

// writeFileFrom writes a file that only its owner can read, and puts it in place when it is complete.
func writeFileFrom(path string, write func(w io.Writer) error) (int64, error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".bdtnode-*") // mode 0600
	if err != nil {
		return 0, fmt.Errorf("output file: %w", err)
	}
	err = write(f)
	st, statErr := f.Stat()
	if err = errors.Join(err, statErr, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return 0, err
	}
	return st.Size(), nil
}
