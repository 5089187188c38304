package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"github.com/ipfs/go-log/v2"
	"github.com/spf13/cobra"

	"bdtnode/cmd/bdtnode/netup"
	"bdtnode/cmd/bdtnode/output"
	"bdtnode/cmd/bdtnode/registry"
	"bdtnode/node/config"
	identity "bdtnode/node/replica"
)

// stopTimeout is how long a replica may take to stop; then the process ends anyway, as it may at any time.
const stopTimeout = 8 * time.Second

// startFlags are those of start.
type startFlags struct {
	home       string
	supervised bool
	listen     []string
	announce   []string
	bootstrap  []string
	api        string
	logLevel   string
}

func newStart(a *app) *cobra.Command {
	var f startFlags
	c := &cobra.Command{
		Use:   "start",
		Short: "Run one replica",
		Long: `Runs the replica whose home is given, until it is interrupted. Homes are made by testnet generate.

Flags stand before the environment (BDTNODE_API_ADDRESS and so on), and that before the home's config.toml.`,
		Example: `  bdtnode start --home net/shard0-replica0
  bdtnode start --home net/shard0-replica0 --api 0.0.0.0:26700 --log-level debug`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.home == "" {
				return output.Usage("--home DIR is needed").WithHint("make homes with: bdtnode testnet generate")
			}
			return a.start(cmd.Context(), &f, f.overrides(cmd))
		},
	}
	fs := c.Flags()
	fs.StringVar(&f.home, "home", "", "home directory of the replica")
	fs.StringSliceVar(&f.listen, "listen", nil, "multiaddrs to listen on")
	fs.StringSliceVar(&f.announce, "announce", nil, "multiaddrs to tell others instead")
	fs.StringSliceVar(&f.bootstrap, "bootstrap", nil, "multiaddrs of replicas to join by")
	fs.StringVar(&f.api, "api", "", "host:port of the HTTP interface")
	fs.StringVar(&f.logLevel, "log-level", "", "debug, info, warn or error")
	paths(fs, "home")
	words(c, "log-level", logLevels...)
	fs.BoolVar(&f.supervised, "supervised", false, "run as a part of net up: stop when standard input ends")
	cobra.CheckErr(fs.MarkHidden("supervised")) // fails only for a flag that does not exist
	return c
}

// logLevels are the words of --log-level.
var logLevels = []string{"debug", "info", "warn", "error"}

// settingFlags are the settings that flags give, by flag.
var settingFlags = map[string]string{
	"listen": config.KeyListen, "announce": config.KeyAnnounce, "bootstrap": config.KeyBootstrap,
	"api": config.KeyAPIAddress, "log-level": config.KeyLogLevel,
}

// settingError blames a setting that cannot be used on the flag or the variable that gave it: then it is the command
// line that is wrong, and no file.
func settingError(err error) error {
	var s *config.SettingError
	if !errors.As(err, &s) || s.File != "" {
		return err
	}
	if s.Variable != "" {
		return output.Usage("%v", err)
	}
	for flag, key := range settingFlags {
		if key == s.Key {
			return output.Usage("--%s: %v", flag, s.Err)
		}
	}
	return err
}

// overrides are the settings that were given as flags.
func (f *startFlags) overrides(cmd *cobra.Command) map[string]any {
	set := make(map[string]any)
	for flag, value := range map[string]any{
		"listen": f.listen, "announce": f.announce, "bootstrap": f.bootstrap, "api": f.api, "log-level": f.logLevel,
	} {
		if cmd.Flags().Changed(flag) {
			set[settingFlags[flag]] = value
		}
	}
	return set
}

func (a *app) start(ctx context.Context, f *startFlags, overrides map[string]any) error {
	home, err := config.Load(f.home, overrides)
	if err != nil {
		return settingError(err)
	}
	if err := setLogLevel(home.Config.Log.Level); err != nil {
		return err
	}
	release, err := home.Lock()
	if err != nil {
		return err
	}
	defer release()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if f.supervised {
		go a.stopWithInput(cancel) // ends with the process: a read cannot be interrupted
	}
	tuneMemory()
	n, err := a.open(home)
	if err != nil {
		return lost(err)
	}
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	select {
	case r := <-home.Published():
		if !f.supervised {
			a.print.Note("Replica %d of shard %d: API at %s, p2p at %s. Ctrl-C stops it.", r.Replica, r.Shard, r.API, strings.Join(r.P2P, ", "))
			known, err := registry.Add(registry.Dir(), entryOf(home, r))
			if err != nil {
				a.print.Note("note: commands will need --node %s: %v", r.API, err)
			} else {
				defer known.Remove()
			}
		}
		err = await(ctx, done)
	case err = <-done:
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil // asked to stop, and did
	}
	return lost(err)
}

// lost gives an error that says that the replica must not sign its exit code, and what to do.
func lost(err error) error {
	var l *identity.Lost
	if !errors.As(err, &l) {
		return err
	}
	return output.Lost(err).WithHint("stop every other process that has these keys. If data/ was emptied or replaced and the directory that was " +
		"in use last still exists, put it back. Else leave this replica stopped: its shard goes on while n-f replicas are up")
}

// Defaults of the collector for a replica. Most of its garbage is short-lived (messages, batches, requests) and what
// it keeps is small, so letting the heap grow to five times that before each collection, not to twice, saves a good part
// of the processor time that collecting takes. The soft limit has it collect more often before a large ledger makes five
// times too much for a small machine.
const (
	gcPercent   = 400
	memoryLimit = 2 << 30 // bytes
)

// tuneMemory sets up the collector, but for what the environment says.
func tuneMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
}

// setLogLevel is for the loggers of this program. Libraries tell of errors only: what they say at lower levels is
// about peers that come and go, which is normal, and told by this program's own.
func setLogLevel(level string) error {
	log.SetAllLoggers(log.LevelError)
	if err := log.SetLogLevelRegex("^bdt/", level); err != nil {
		return fmt.Errorf("%s: %w", config.KeyLogLevel, err)
	}
	return nil
}

// stopWithInput stops the replica when standard input ends: whoever started it is gone. The process ends soon after
// even if the replica is not at a place where it can stop.
func (a *app) stopWithInput(cancel context.CancelFunc) {
	// However reading ended, nobody is there any more.
	_, _ = io.Copy(io.Discard, a.in)
	cancel()
	time.Sleep(stopTimeout)
	os.Exit(output.ExitFailure)
}

// await is the result of a run, or an error if it does not end in time after the context has.
func await(ctx context.Context, done <-chan error) error {
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-done:
		return err
	case <-time.After(stopTimeout):
		return errors.New("the replica did not stop in time; nothing acknowledged is lost")
	}
}

// entryOf is what other commands are told of a replica that runs by itself.
func entryOf(home *config.Home, r config.Running) registry.Entry {
	e := registry.Entry{
		Name: home.Genesis.Name, Network: home.Genesis.ID().String(),
		Replicas: []registry.Replica{{Shard: r.Shard, Replica: r.Replica, API: r.API}},
	}
	if accounts := filepath.Join(filepath.Dir(home.Dir), netup.AccountsDir); isDir(accounts) {
		e.Accounts = accounts
	}
	return e
}

func isDir(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.IsDir()
}
