package main

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"bdtnode/cmd/bdtnode/output"
	"bdtnode/node/config"
)

// replica is a replica that was made and not started.
type replica interface {
	// Run blocks until the context ends or the replica fails, and cleans up.
	Run(context.Context) error
}

// app is what all commands share.
type app struct {
	print output.Printer
	in    io.Reader
	open  func(*config.Home) (replica, error) // makes the replica that start runs

	format         string // -o
	node           string // --node
	keys           string // --keys
	passphraseFile string // --passphrase-file
}

const rootHelp = `bdtnode runs a ledger that several replicas keep together: it goes on while fewer than
a third of them are down or malicious.

Try it on this machine:
  bdtnode net up                                   # 2 shards of 4 replicas; leave it running
  bdtnode tx send --from alice --to bob --amount 5 # in another terminal
  bdtnode query balance bob

Every command takes -o json: data on standard output, errors as JSON on standard error.

Exit codes: 0 ok, 1 failure, 2 usage, 3 unreachable, 4 not found, 5 timed out with the outcome
unknown, 6 rejected, 7 unhealthy, 8 bad proof.`

// run executes one command line and returns its exit code.
func run(ctx context.Context, args []string, in io.Reader, out, errs io.Writer) int {
	a := &app{print: output.Printer{Out: out, Err: errs}, in: in, open: openReplica}
	return a.run(ctx, args)
}

func (a *app) run(ctx context.Context, args []string) int {
	a.print.JSON = wantsJSON(args)
	root := newRoot(a)
	root.SetArgs(args)
	root.SetIn(a.in)
	root.SetOut(a.print.Out)
	root.SetErr(a.print.Err)
	return a.print.Fail(root.ExecuteContext(ctx))
}

func newRoot(a *app) *cobra.Command {
	root := group(&cobra.Command{
		Use:           "bdtnode",
		Short:         "A sharded Byzantine-fault-tolerant ledger",
		Long:          rootHelp,
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if a.format != "text" && a.format != "json" {
				return output.Usage("-o %q is unknown: use text or json", a.format)
			}
			return nil
		},
	})
	root.PersistentFlags().StringVarP(&a.format, "output", "o", "text", "output format: text or json")
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(newNet(a), newTestnet(a), newStart(a), newTx(a), newQuery(a), newKeys(a), newStatus(a), newPeers(a), newSim(a), newVersion(a))
	markUsageErrors(root)
	return root
}

// wantsJSON finds -o json before flags are parsed, so that an error of parsing is JSON too.
func wantsJSON(args []string) bool {
	for i, arg := range args {
		switch arg {
		case "--":
			return false
		case "-ojson", "-o=json", "--output=json":
			return true
		case "-o", "--output":
			if i+1 < len(args) && args[i+1] == "json" {
				return true
			}
		}
	}
	return false
}

// group is a command that only holds others.
func group(c *cobra.Command) *cobra.Command {
	c.SuggestionsMinimumDistance = 2
	c.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		f := output.Usage("unknown command %q for %q", args[0], cmd.CommandPath())
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			return f.WithHint("did you mean %s?", strings.Join(near, " or "))
		}
		return f.WithHint("see %s --help", cmd.CommandPath())
	}
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		var names []string
		for _, sub := range cmd.Commands() {
			if sub.IsAvailableCommand() && sub.Name() != "help" && sub.Name() != "completion" {
				names = append(names, sub.Name())
			}
		}
		return output.Usage("%s needs one of its commands: %s", cmd.CommandPath(), strings.Join(names, ", ")).
			WithHint("see %s --help", cmd.CommandPath())
	}
	return c
}

// markUsageErrors makes a wrong number of arguments a usage error in every command.
func markUsageErrors(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(cmd *cobra.Command, args []string) error {
			err := check(cmd, args)
			var f *output.Failure
			if err == nil || errors.As(err, &f) {
				return err
			}
			return output.Usage("%s: %v", cmd.CommandPath(), err).WithHint("usage: %s", cmd.UseLine())
		}
	}
	for _, sub := range c.Commands() {
		markUsageErrors(sub)
	}
}

// flagError is what is wrong with a flag, and which one may have been meant.
func flagError(cmd *cobra.Command, err error) error {
	f := output.Usage("%v", err).WithHint("see %s --help", cmd.CommandPath())
	var missing *pflag.NotExistError
	if errors.As(err, &missing) && len(missing.GetSpecifiedName()) > 1 {
		if near := nearestFlag(cmd, missing.GetSpecifiedName()); near != "" {
			return f.WithHint("did you mean --%s?", near)
		}
	}
	return f
}

func nearestFlag(cmd *cobra.Command, typed string) string {
	best, distance := "", 3 // farther ones were not meant
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		d := editDistance(typed, f.Name)
		if strings.HasPrefix(f.Name, typed) {
			d = 1
		}
		if !f.Hidden && d < distance {
			best, distance = f.Name, d
		}
	})
	return best
}

// editDistance is how many single-character changes lie between a and b.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}

// oneOf checks a flag that takes one of a few words.
func oneOf(flag, value string, words ...string) error {
	if slices.Contains(words, value) {
		return nil
	}
	return output.Usage("--%s %q is unknown: use %s", flag, value, strings.Join(words, ", "))
}
