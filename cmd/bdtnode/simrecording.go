package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"bdtnode/cmd/bdtnode/output"
	"bdtnode/node/record"
	"bdtnode/node/sim/trace"
)

// notOfRecordings is the name of a given flag of sim replay that has no meaning for a recording, or empty.
func notOfRecordings(cmd *cobra.Command) (name string) {
	own := cmd.LocalNonPersistentFlags()
	cmd.Flags().Visit(func(f *pflag.Flag) {
		switch f.Name {
		case "from", "to", "only":
		default:
			if own.Lookup(f.Name) != nil {
				name = f.Name
			}
		}
	})
	return name
}

// replayRecording repeats a recording and prints its events.
func (a *app) replayRecording(ctx context.Context, dir string, shown func(step uint64, line string) bool) error {
	shard := uint16(0)
	r, err := record.ReplayDir(ctx, dir, func(h *record.Header) {
		shard = h.Shard
		a.print.Note("Replica %d of shard %d, recorded by program %s from %s on", h.Replica, h.Shard, h.Program, h.Began.Format("2006-01-02T15:04:05.000Z"))
	}, func(e record.Event) error {
		line := e.Format(shard, trace.Describe)
		if !shown(e.Step, line) {
			return nil
		}
		if a.print.JSON {
			return a.print.Data(simEvent{e.Step, e.At.Seconds(), int(shard), e.What, e.Who, e.To, line}, nil)
		}
		if _, err := fmt.Fprintln(a.print.Out, line); err != nil {
			return fmt.Errorf("write output: %w", err)
		}
		return nil
	})
	var d *record.Difference
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return output.Usage("%v", err).WithHint("a recording is a directory in recordings/ of a replica's home, see %s debug record --help", self())
	case errors.As(err, &d):
		f := &output.Failure{Exit: output.ExitFailure, Code: "difference", Message: d.Error()}
		return f.WithHint("show the steps before it with: %s sim replay %s --from %d", self(), dir, max(d.Step, replayed)-replayed+1)
	case err != nil:
		return err
	}
	if r.Cut != nil {
		a.print.Note("The recording is cut: %v", r.Cut)
	} else {
		a.print.Note("The recording ended: %s", r.End)
	}
	a.print.Note("%d steps in %.1f s are equal to the recorded ones, up to height %d; digest %s", r.Steps, r.Duration.Seconds(), r.Height, r.Digest)
	return nil
}
