package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sort"
	"strings"

	"github.com/spf13/cobra"

	"bdtnode/cmd/bdtnode/output"
	"bdtnode/node/admin"
)

func newLog(a *app) *cobra.Command {
	var f reach
	c := group(&cobra.Command{Use: "log", Short: "Append payloads to the log of a shard and read it; show a replica's own messages"})
	f.add(c)
	c.AddCommand(newLogAppend(a), newLogLevel(a, &f), newLogTail(a, &f))
	return c
}

func newLogLevel(a *app, f *reach) *cobra.Command {
	return &cobra.Command{
		Use:   "level [[SUBSYSTEM] LEVEL]",
		Short: "Show the log levels of a running replica, or change one or all of them",
		Long: `Shows the log level of each subsystem of a running replica. With LEVEL (debug, info, warn, error) all subsystems of the
replica get that level, with SUBSYSTEM this one alone. The change lasts until the replica stops; log.level of config.toml
is the level at its start.`,
		Example: `  bdtnode log level
  bdtnode log level debug
  bdtnode log level p2p debug --replica 0/1`,
		Args: cobra.MaximumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 && !slices.Contains(logLevels, args[len(args)-1]) {
				return output.Usage("level %q is unknown: use %s", args[len(args)-1], strings.Join(logLevels, ", "))
			}
			c, err := a.dial(f)
			if err != nil {
				return err
			}
			var v admin.LogLevels
			if len(args) == 0 {
				err = c.Get(cmd.Context(), "/v1/log/levels", &v)
			} else {
				set := admin.SetLevel{Level: args[len(args)-1]}
				if len(args) == 2 {
					set.Subsystem = args[0]
				}
				err = c.Post(cmd.Context(), "/v1/log/levels", set, &v)
			}
			if err != nil {
				return adminFailure(err)
			}
			return a.print.Data(v, func(w io.Writer) {
				fmt.Fprintln(w, "SUBSYSTEM\tLEVEL")
				for _, l := range v.Levels {
					fmt.Fprintf(w, "%s\t%s\n", strings.TrimPrefix(l.Subsystem, "bdt/"), l.Level)
				}
			})
		},
	}
}

func newLogTail(a *app, f *reach) *cobra.Command {
	var lines int
	var follow bool
	var payloads payloadFlags
	c := &cobra.Command{
		Use:   "tail",
		Short: "Show payloads of a shard's log with --from, else the newest messages of a replica on this machine",
		Long: `With --from, shows the payloads of a shard's log (networks with --ledger log) from a place on, one a line: the name of the
payload, which is height, batch and position, the block time, and the payload. --from takes a height, 0 for all, or the
place that the command prints at its end. With --follow it continues with later payloads until Ctrl-C, connects again
if the connection breaks, and misses none. --genesis checks a proof of every block with the keys of the genesis.
A payload with control characters is shown in base64, and always so with -o json.

Without --from, shows the newest log lines that a running replica keeps in memory (1 MiB), and with --follow each
following line until Ctrl-C. If the reader is slower than the log, the replica ends the output and states the number of
lost lines. With -o json each line is the JSON object of the log.`,
		Example: `  bdtnode log tail --from 0
  bdtnode log tail --from 12.0.3 --follow -o json
  bdtnode log tail --from 0 --genesis genesis.json
  bdtnode log tail
  bdtnode log tail --lines 1000 --replica 0/1
  bdtnode log tail --follow -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if lines < 0 || lines > 10_000 {
				return output.Usage("--lines %d: use 0 to 10000", lines)
			}
			if cmd.Flags().Changed("from") {
				return tailPayloads(cmd.Context(), a, &payloads, follow)
			}
			for _, only := range []string{"certified", "genesis", "raw"} {
				if cmd.Flags().Changed(only) {
					return output.Usage("--%s is for the payloads of a log: add --from PLACE", only)
				}
			}
			c, err := a.dial(f)
			if err != nil {
				return err
			}
			var lost uint64
			err = c.Log(cmd.Context(), lines, follow, func(l admin.LogLine) error {
				lost += l.Lost
				if l.Line == "" {
					return nil
				}
				text := l.Line
				if !a.print.JSON {
					text = logText(l.Line)
				}
				if _, err := fmt.Fprintln(a.print.Out, text); err != nil {
					return fmt.Errorf("write output: %w", err)
				}
				return nil
			})
			switch {
			case follow && cmd.Context().Err() != nil:
				return nil
			case err != nil:
				return adminFailure(err)
			case lost > 0:
				return fmt.Errorf("the output was slower than the log: %d lines are lost", lost)
			}
			return nil
		},
	}
	c.Flags().IntVar(&lines, "lines", 100, "number of older lines, 0 to 10000")
	c.Flags().BoolVar(&follow, "follow", false, "show further lines or payloads until Ctrl-C (default false)")
	c.Flags().StringVar(&payloads.from, "from", "", "show the payloads of the shard's log from here on: a height, or the name of a payload")
	c.Flags().BoolVar(&payloads.certified, "certified", false, "show only payloads of blocks whose headers are certified (default false)")
	c.Flags().StringVar(&payloads.genesis, "genesis", "", "genesis with whose keys each block is checked, from a source that you trust; implies --certified")
	c.Flags().BoolVar(&payloads.raw, "raw", false, "print the bytes of the payloads and line ends alone (default false)")
	paths(c.Flags(), "genesis")
	a.nodeFlag(c)
	return c
}

// headFields are the fields of a log line that logText puts first, in their order; others follow by name.
var headFields = []string{"ts", "level", "logger", "caller", "msg"}

// logText formats a line of JSON for people. A line that is no JSON object stays as it is.
func logText(line string) string {
	var fields map[string]any
	d := json.NewDecoder(strings.NewReader(line))
	d.UseNumber()
	if d.Decode(&fields) != nil {
		return line
	}
	var words []string
	for _, name := range headFields {
		if v, ok := fields[name]; ok && name != "caller" {
			words = append(words, fmt.Sprint(v))
		}
	}
	var names []string
	for name := range fields {
		if !slices.Contains(headFields, name) {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	for _, name := range names {
		raw, err := json.Marshal(fields[name])
		if err != nil {
			raw = []byte("?")
		}
		words = append(words, name+"="+string(raw))
	}
	return strings.Join(words, "  ")
}
