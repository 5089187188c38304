package main

import (
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"bdtnode/cmd/bdtnode/output"
	"bdtnode/node/record"
)

// Bounds of the flags of debug record.
const (
	maxRecordTime = 24 * time.Hour
	maxRecordMB   = 1 << 20 // a terabyte
)

// recordResult is the output of debug record.
type recordResult struct {
	Home      string  `json:"home"`
	Armed     bool    `json:"armed"`
	Seconds   float64 `json:"seconds,omitempty"`
	Bytes     int64   `json:"bytes,omitempty"`
	Directory string  `json:"directory,omitempty"` // in which the recording gets a directory of its own
}

func newDebugRecord(a *app, f *reach) *cobra.Command {
	var length time.Duration
	var megabytes int64
	var cancel bool
	c := &cobra.Command{
		Use:   "record",
		Short: "Make the next start of a replica record its inputs, for sim replay",
		Long: `Makes the next start of a replica record its inputs: messages, readings of its clocks, executed blocks, connections, timers
and requests of clients, with a copy of its stores from before the start. Restart the replica to begin; it records once,
for the time of --for or until the file has the size of --megabytes, and continues to run after that. A slow or full disk
ends the recording and not the replica. The recording is a directory in recordings/ of the home. bdtnode sim replay
repeats it on any machine.

The recording has no secret keys. It has all transactions and addresses that the replica saw. Tables of the stores are
linked, not copied, so a recording takes up to the size of the stores on the disk until it is removed.

--cancel undoes the command before the replica was restarted.`,
		Example: `  bdtnode debug record --replica 0/1 --for 30s
  bdtnode debug record --home net/shard0-replica1 --for 5m --megabytes 2048
  bdtnode sim replay net/shard0-replica1/recordings/20260102T150405Z`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			switch {
			case length <= 0 || length > maxRecordTime:
				return output.Usage("--for %v: use a time above 0, up to %v", length, maxRecordTime)
			case megabytes <= 0 || megabytes > maxRecordMB:
				return output.Usage("--megabytes %d: use 1 to %d", megabytes, maxRecordMB)
			}
			home, err := a.bundleHome(f)
			if err != nil {
				return err
			}
			if cancel {
				return a.cancelRecord(home)
			}
			l := record.Limits{For: length, Bytes: megabytes << 20}
			if err := record.Arm(home, l); err != nil {
				return err
			}
			r := recordResult{Home: home, Armed: true, Seconds: length.Seconds(), Bytes: l.Bytes, Directory: record.Directory(home)}
			return a.print.Data(r, func(w io.Writer) {
				fmt.Fprintf(w, "home\t%s\nrecords\tfrom the next start, for %v or %d MiB\nrecording\ta directory in %s\n", home, length, megabytes, r.Directory)
			})
		},
	}
	fs := c.Flags()
	fs.DurationVar(&length, "for", 30*time.Second, "time after the start that is recorded, up to 24h")
	fs.Int64Var(&megabytes, "megabytes", 1024, "largest size of the file of inputs in MiB")
	fs.BoolVar(&cancel, "cancel", false, "undo the command before the replica was restarted (default false)")
	return c
}

func (a *app) cancelRecord(home string) error {
	was, err := record.Disarm(home)
	if err != nil {
		return err
	}
	if !was {
		return output.NotFound("the next start of the replica in %s does not record", filepath.Base(home))
	}
	return a.print.Data(recordResult{Home: home}, func(w io.Writer) { fmt.Fprintf(w, "home\t%s\nrecords\tnot any more\n", home) })
}
