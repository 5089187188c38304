package main

import (
	"context"
	"errors"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"bdtnode/cmd/bdtnode/output"
	"bdtnode/node/config"
)

// replica is an opened replica that does not run yet.
type replica interface {
	// Run blocks until the context ends or the replica fails, and releases its resources.
	Run(context.Context) error
}

// app is the state that all commands share.
type app struct {
	print output.Printer
	in    io.Reader
	open  func(*config.Home) (replica, error) // opens the replica that start runs

	format         string // -o
	node           string // --node
	keys           string // --keys
	passphraseFile string // --passphrase-file
}

const rootHelp = `bdtnode runs a ledger that is replicated on several replicas: it makes progress while fewer
than a third of the replicas are down or malicious.

Try it on this machine:
  bdtnode net up                                   # 2 shards of 4 replicas; leave it running
  bdtnode tx send --from alice --to bob --amount 5 # in another terminal
  bdtnode query balance bob

Every command takes -o json: data on standard output, errors as JSON on standard error.

Exit codes: 0 ok, 1 failure, 2 usage, 3 unreachable, 4 not found, 5 timed out with unknown outcome,
6 rejected, 7 unhealthy, 8 bad proof, 9 the replica must not sign any more.`

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
		PersistentPreRunE: func(c *cobra.Command, _ []string) error {
			if c.Name() == cobra.ShellCompRequestCmd || c.Name() == cobra.ShellCompNoDescRequestCmd {
				return nil // a shell calls this to complete a command line
			}
			if err := config.CheckEnvironment(); err != nil {
				return output.Usage("%v", err)
			}
			return checkValues(c)
		},
	})
	root.PersistentFlags().StringVarP(&a.format, "output", "o", "text", "output format: text or json")
	words(root, "output", "text", "json")
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(newNet(a), newTestnet(a), newStart(a), newTx(a), newVerify(a), newQuery(a), newKeys(a), newEvents(a), newStatus(a), newPeers(a), newDebug(a), newLog(a), newBench(a), newSim(a), newVersion(a))
	markUsageErrors(root)
	finishFlags(root)
	return root
}

// wantsJSON finds -o json before flags are parsed, so that a parse error is printed as JSON too.
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

// group marks a command that only holds subcommands.
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
