package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
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

// stopTimeout bounds the time in which a replica stops. After it the process exits anyway, which is safe at any time.
const stopTimeout = 8 * time.Second

// startFlags are the flags of start.
type startFlags struct {
	home       string
	supervised bool
	listen     []string
	announce   []string
	bootstrap  []string
	wan        string
	api        string
	logLevel   string
	logFormat  string
}

func newStart(a *app) *cobra.Command {
	var f startFlags
	c := &cobra.Command{
		Use:   "start",
		Short: "Run one replica",
		Long: `Runs the replica of a home directory until it is interrupted. testnet generate creates homes.

Flags override the environment (BDTNODE_API_ADDRESS and others), and the environment overrides config.toml of the home.`,
		Example: `  bdtnode start --home net/shard0-replica0
  bdtnode start --home net/shard0-replica0 --api 0.0.0.0:26700 --log-level debug`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.home == "" {
				return output.Usage("--home DIR is missing").WithHint("create homes with: bdtnode testnet generate")
			}
			return a.start(cmd.Context(), &f, f.overrides(cmd))
		},
	}
	fs := c.Flags()
	fs.StringVar(&f.home, "home", "", "home directory of the replica")
	fs.StringSliceVar(&f.listen, "listen", nil, "multiaddrs to listen on, separated by commas (default: p2p.listen of config.toml)")
	fs.StringSliceVar(&f.announce, "announce", nil, "multiaddrs to announce in place of the listen addresses, separated by commas (default: p2p.announce of config.toml)")
	fs.StringSliceVar(&f.bootstrap, "bootstrap", nil, "multiaddrs of bootstrap replicas, separated by commas (default: p2p.bootstrap of config.toml)")
	fs.StringVar(&f.wan, "wan", "", "delays to add to received bytes, for measurements: uniform:RTT, aws8 or a file (default: p2p.wan of config.toml, none)")
	fs.StringVar(&f.api, "api", "", "host:port of the HTTP API (default: api.address of config.toml)")
	fs.StringVar(&f.logLevel, "log-level", "", "log level: debug, info, warn or error (default: log.level of config.toml)")
	fs.StringVar(&f.logFormat, "log-format", "", "form of log lines: text, or json for one object a line (default: log.format of config.toml)")
	paths(fs, "home")
	words(c, "log-level", logLevels...)
	words(c, "log-format", "text", "json")
	fs.BoolVar(&f.supervised, "supervised", false, "stop when standard input ends; net up sets it")
	cobra.CheckErr(fs.MarkHidden("supervised")) // fails only if the flag does not exist
	return c
}

// logLevels are the values of --log-level.
var logLevels = []string{"debug", "info", "warn", "error"}

// settingFlags maps flags to the settings that they override.
var settingFlags = map[string]string{
	"listen": config.KeyListen, "announce": config.KeyAnnounce, "bootstrap": config.KeyBootstrap, "wan": config.KeyWAN,
	"api": config.KeyAPIAddress, "log-level": config.KeyLogLevel, "log-format": config.KeyLogFormat,
}

// settingError turns the error of a setting that came from a flag or an environment variable into a usage error that
// names the flag or variable. An error of a setting in a file stays as it is.
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

// overrides are the settings given as flags.
func (f *startFlags) overrides(cmd *cobra.Command) map[string]any {
	set := make(map[string]any)
	for flag, value := range map[string]any{
		"listen": f.listen, "announce": f.announce, "bootstrap": f.bootstrap, "wan": f.wan, "api": f.api, "log-level": f.logLevel, "log-format": f.logFormat,
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
	if err := setLog(home.Config.Log); err != nil {
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
		go a.stopWithInput(cancel) // not stopped here: a read cannot be interrupted, so this goroutine ends with the process
	}
	tuneMemory(ctx)
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
				a.print.Note("note: other commands need --node %s: %v", r.API, err)
			} else {
				defer known.Remove()
			}
		}
		err = await(ctx, done)
	case err = <-done:
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil // stopped on request
	}
	return lost(err)
}

// lost turns the error of a replica that must not sign into a failure with its own exit code and a hint.
func lost(err error) error {
	var l *identity.Lost
	if !errors.As(err, &l) {
		return err
	}
	return output.Lost(err).WithHint("stop every other process that uses these keys. If data/ was emptied or replaced and the directory that was " +
		"last in use still exists, restore it. Otherwise leave this replica stopped: its shard makes progress with n-f replicas")
}

// Garbage collector settings of a replica. Most of its garbage is short-lived (messages, batches, requests) and its
// live heap is small. So the heap may grow to five times the live heap before each collection, not to twice, which
// saves much of the collector's processor time. maxGarbage bounds that growth: many large requests, or a large ledger's
// cache, would otherwise make the process five times as large.
const (
	gcPercent  = 400
	maxGarbage = 128 << 20 // bytes that the heap may grow beyond the live data
)

// tuneMemory applies these settings until ctx ends, except those that GOGC and GOMEMLIMIT set.
func tuneMemory(ctx context.Context) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	limitGarbage()
	afterCollection(ctx, limitGarbage)
}

// afterCollection calls f after each collection of the heap until ctx ends. An idle replica has one in two minutes.
func afterCollection(ctx context.Context, f func()) {
	type garbage struct{ _ *garbage } // with a pointer, so that it shares its memory with no other object
	runtime.SetFinalizer(new(garbage), func(*garbage) {
		if ctx.Err() == nil {
			f()
			afterCollection(ctx, f)
		}
	})
}

// limitGarbage sets the memory limit to the sum of the live heap, the runtime's own memory and maxGarbage. Data that became
// live after the last collection counts as garbage until the next one.
func limitGarbage() {
	read := []metrics.Sample{
		{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/total:bytes"}, // added
		{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/unused:bytes"}, // and the rest subtracted
		{Name: "/memory/classes/heap/free:bytes"}, {Name: "/memory/classes/heap/released:bytes"},
	}
	metrics.Read(read)
	limit := int64(maxGarbage)
	for i, x := range read {
		if bytes := int64(x.Value.Uint64()); i < 2 {
			limit += bytes
		} else {
			limit -= bytes
		}
	}
	debug.SetMemoryLimit(limit)
}

// setLog sets the form of log lines and the level of this program's loggers. Libraries log errors only: below that level they log peers that
// connect and disconnect, which is normal and which this program logs itself.
func setLog(c config.Log) error {
	if c.Format == "json" {
		setup := log.GetConfig()
		setup.Format = log.JSONOutput
		log.SetupLogging(setup)
	}
	log.SetAllLoggers(log.LevelError)
	if err := log.SetLogLevelRegex("^bdt/", c.Level); err != nil {
		return fmt.Errorf("%s: %w", config.KeyLogLevel, err)
	}
	return nil
}

// stopWithInput stops the replica when standard input ends, because then the parent process is gone. If the replica
// does not stop within stopTimeout, the process exits.
func (a *app) stopWithInput(cancel context.CancelFunc) {
	// An error of the read means the same as its end: the parent process is gone.
	_, _ = io.Copy(io.Discard, a.in)
	cancel()
	time.Sleep(stopTimeout)
	os.Exit(output.ExitFailure)
}

// await returns the result of a run, or an error if the run does not end within stopTimeout after the context.
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
		return errors.New("the replica did not stop in time; everything acknowledged is on disk")
	}
}

// entryOf is the registry entry of a replica that does not belong to a net up.
func entryOf(home *config.Home, r config.Running) registry.Entry {
	e := registry.Entry{
		Name: home.Genesis.Name, Network: home.Genesis.ID().String(),
		Replicas: []registry.Replica{{Shard: r.Shard, Replica: r.Replica, API: r.API, Home: home.Dir}},
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
