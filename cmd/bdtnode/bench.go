package main

import (
	"fmt"
	"math"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"bdtnode/cmd/bdtnode/bench"
	"bdtnode/cmd/bdtnode/load"
	"bdtnode/cmd/bdtnode/netup"
	"bdtnode/cmd/bdtnode/output"
	"bdtnode/node"
	"bdtnode/shard"
)

// Values of --ledger.
const (
	paymentsLedger = shard.LedgerPayments
	logLedger      = shard.LedgerLog
)

// benchFlags are the flags of bench run and bench sweep.
type benchFlags struct {
	nodes      []string // URLs of a running network; empty: a network of its own
	accounts   string
	shards     int
	replicas   int
	consensus  string
	signatures string
	gap        time.Duration
	ledger     string
	size       int
	rate       float64
	closed     int
	cross      float64
	invalid    float64
	inputs     int
	outputs    int
	warmup     time.Duration
	duration   time.Duration
	repeat     int
	seed       uint64
	observed   int
	wan        wanFlag
}

func newBench(a *app) *cobra.Command {
	c := group(&cobra.Command{
		Use:   "bench",
		Short: "Measure a network under load, compare measurements, and show them",
		Long: `Measures throughput, latency and the use of resources of a network under load. A result is one JSON object with all that
is needed to repeat it. The results of several measurements, one after another in a file, can be compared and shown.`,
	})
	c.AddCommand(newBenchRun(a), newBenchSweep(a), newBenchCompare(a), newBenchReport(a), newBenchObserve(a))
	return c
}

func (f *benchFlags) register(c *cobra.Command) {
	fs := c.Flags()
	fs.StringSliceVar(&f.nodes, "node", nil, "URLs of replicas of a running network, separated by commas (default: a network of its own)")
	fs.StringVar(&f.accounts, "accounts", "", "directory of unencrypted accounts that pay, with --node (default: those of a net up on this machine)")
	fs.IntVar(&f.shards, "shards", 1, "number of shards of its own network, 1 to 64")
	fs.IntVar(&f.replicas, "nodes", 4, "replicas of each shard of its own network, 4 to 100")
	fs.StringVar(&f.consensus, "consensus", shard.ConsensusBDT, "consensus of its own network: bdt, or dumbo for the asynchronous fallback alone")
	addSignatures(fs, &f.signatures)
	addGap(fs, &f.gap)
	fs.StringVar(&f.ledger, "ledger", paymentsLedger, "payments, or log for opaque payloads")
	fs.IntVar(&f.size, "size", 0, "bytes of a payload, with --ledger log (default 250)")
	fs.Float64Var(&f.rate, "rate", 0, "arrivals a second, independent of the answers (default 1000 without --closed)")
	fs.IntVar(&f.closed, "closed", 0, "in place of a rate: number of transfers without an answer, up to 100000 (default 0)")
	fs.Float64Var(&f.cross, "cross", 0, "share that involves two or three shards, 0 to 1 (default 0)")
	fs.Float64Var(&f.invalid, "invalid", 0, "share that is invalid, 0 to 1 (default 0)")
	fs.IntVar(&f.inputs, "inputs", 1, "inputs of a transfer inside a shard, 1 to 64")
	fs.IntVar(&f.outputs, "outputs", 0, "outputs of a transfer inside a shard, 1 to 64; 0: 1, or 2 while a shard has few (default 0)")
	fs.DurationVar(&f.warmup, "warmup", 3*time.Second, "time with load before the measured time")
	fs.DurationVar(&f.duration, "for", 15*time.Second, "measured time")
	fs.IntVar(&f.repeat, "repeat", 1, "number of runs, each with a new network, or one after another with --node; 1 to 1000")
	fs.Uint64Var(&f.seed, "seed", 1, "seed of the random choices of the first run; each further run has the next seed")
	fs.IntVar(&f.observed, "observed", 0, "followers of events, in a further process that also scrapes the metrics of each replica every second; up to 1000 (default 0: no such process)")
	f.wan.register(c)
	paths(fs, "accounts")
	words(c, "ledger", paymentsLedger, logLedger)
	words(c, "consensus", shard.ConsensusBDT, shard.ConsensusDumbo)
	words(c, "signatures", shard.SignaturesAll, shard.SignaturesVouched)
}

// Bounds of a measurement. A greater number is a typing error.
const (
	maxRepeat    = 1000
	maxBenchTime = 24 * time.Hour
	maxParts     = 64
	defaultRate  = 1000

	defaultPayload = 250
)

// check refuses flags that are wrong or do not fit together.
func (f *benchFlags) check(c *cobra.Command) error {
	given := c.Flags().Changed
	if err := checkSize(f.shards, f.replicas); err != nil {
		return err
	}
	if f.closed == 0 && f.rate == 0 && !given("rate") {
		f.rate = defaultRate
	}
	if f.closed != 0 && given("rate") {
		return output.Usage("--rate and --closed: use one of them")
	}
	if err := f.checkBounds(); err != nil {
		return err
	}
	if err := checkGap(f.gap); err != nil {
		return err
	}
	if err := f.checkLedger(given("size")); err != nil {
		return err
	}
	if err := f.checkNetwork(given); err != nil {
		return err
	}
	return f.wan.read()
}

func (f *benchFlags) checkBounds() error {
	switch {
	case f.closed < 0 || f.closed > load.MaxClosed:
		return output.Usage("--closed %d: use 1 to %d", f.closed, load.MaxClosed)
	case f.closed == 0 && !(f.rate > 0 && f.rate <= maxLoad):
		return output.Usage("--rate %v: use a rate above 0, up to %.0f a second", f.rate, maxLoad)
	case f.warmup < 0 || f.duration <= 0 || f.warmup > maxBenchTime || f.duration > maxBenchTime:
		return output.Usage("--warmup %v --for %v: use times up to %v, and --for above 0", f.warmup, f.duration, maxBenchTime)
	case f.repeat < 1 || f.repeat > maxRepeat:
		return output.Usage("--repeat %d: use 1 to %d", f.repeat, maxRepeat)
	case f.inputs < 1 || f.inputs > maxParts || f.outputs < 0 || f.outputs > maxParts:
		return output.Usage("--inputs %d --outputs %d: use 1 to %d", f.inputs, f.outputs, maxParts)
	}
	if err := checkFollowers("observed", f.observed); err != nil {
		return err
	}
	for name, share := range map[string]float64{"invalid": f.invalid, "cross": f.cross} {
		if !(share >= 0 && share <= 1) {
			return output.Usage("--%s %v: use a share from 0 to 1", name, share)
		}
	}
	return nil
}

func (f *benchFlags) checkLedger(size bool) error {
	switch {
	case f.ledger == paymentsLedger && size:
		return output.Usage("--size needs --ledger log: the size of a transfer follows from --inputs and --outputs")
	case f.ledger == paymentsLedger:
		return nil
	case f.cross > 0 || f.invalid > 0 || f.inputs != 1 || f.outputs != 0:
		return output.Usage("--ledger log: payloads have no --cross, --invalid, --inputs and --outputs")
	}
	if f.size == 0 && !size {
		f.size = defaultPayload
	}
	if f.size < 1 || f.size > load.MaxPayload {
		return output.Usage("--size %d: use 1 to %d bytes", f.size, load.MaxPayload)
	}
	return nil
}

// checkNetwork refuses flags of a network of its own with --node, and the other way round.
func (f *benchFlags) checkNetwork(given func(string) bool) error {
	if len(f.nodes) == 0 {
		if f.accounts != "" {
			return output.Usage("--accounts has no effect without --node: its own network has accounts")
		}
		if f.cross > 0 && f.shards == 1 {
			return output.Usage("--cross %v needs at least 2 shards", f.cross)
		}
		return nil
	}
	for _, flag := range []string{"shards", "nodes", "consensus", "signatures", "gap", "wan"} {
		if given(flag) {
			return output.Usage("--%s is for a network of its own: leave it out with --node", flag)
		}
	}
	return nil
}

// parameters are the settings of a measurement, as far as they follow from the flags.
func (f *benchFlags) parameters() bench.Parameters {
	procs := 0
	if len(f.nodes) == 0 {
		procs = netup.Processors(f.shards * f.replicas)
	}
	return bench.Parameters{
		Ledger: f.ledger, External: len(f.nodes) > 0, Rate: f.rate, Closed: f.closed, Size: f.size, Inputs: f.inputs, Outputs: f.outputs,
		Cross: f.cross, Invalid: f.invalid, WarmupSeconds: f.warmup.Seconds(), ForSeconds: f.duration.Seconds(), Repeat: f.repeat, Seed: f.seed,
		DrainSeconds: load.DefaultDrain.Seconds(), MaxInFlight: load.DefaultMaxInFlight, Observed: f.observed, GOMAXPROCS: runtime.GOMAXPROCS(0), ReplicaProcs: procs, GOGC: os.Getenv("GOGC"),
	}
}

// command is the command line that repeats a measurement.
func (f *benchFlags) command() string {
	args := []string{self(), "bench", "run"}
	add := func(format string, values ...any) { args = append(args, fmt.Sprintf(format, values...)) }
	if len(f.nodes) > 0 {
		add("--node %s", strings.Join(f.nodes, ","))
		if f.accounts != "" {
			add("--accounts %s", f.accounts)
		}
	} else {
		add("--shards %d --nodes %d --consensus %s --signatures %s --gap %v", f.shards, f.replicas, f.consensus, f.signatures, f.gap)
	}
	if f.ledger == logLedger {
		add("--ledger log --size %d", f.size)
	}
	if f.closed > 0 {
		add("--closed %d", f.closed)
	} else {
		add("--rate %v", f.rate)
	}
	if f.cross > 0 {
		add("--cross %v", f.cross)
	}
	if f.invalid > 0 {
		add("--invalid %v", f.invalid)
	}
	if f.inputs != 1 || f.outputs != 0 {
		add("--inputs %d --outputs %d", f.inputs, f.outputs)
	}
	add("--warmup %v --for %v --repeat %d --seed %d", f.warmup, f.duration, f.repeat, f.seed)
	if f.observed > 0 {
		add("--observed %d", f.observed)
	}
	if f.wan.spec != "" {
		add("--wan %s", f.wan.spec)
	}
	return strings.Join(args, " ") + " -o json"
}

// newResult begins the result of a measurement.
func (f *benchFlags) newResult() *bench.Result {
	return &bench.Result{
		Format: bench.Format, Command: f.command(), Time: time.Now().UTC().Format(time.RFC3339), Parameters: f.parameters(),
		Version: bench.ThisVersion(node.Version()), Build: bench.ThisBuild(), Machine: bench.ThisMachine(), Runs: []bench.Run{},
	}
}

// guessedRate is the rate for which a network of its own gets outputs for a closed loop.
const guessedRate = 20_000

// netFlags are the settings of a network of its own.
func (f *benchFlags) netFlags() *netFlags {
	rate := f.rate
	if f.closed > 0 {
		rate = math.Min(guessedRate, 20*float64(f.closed))
	}
	return &netFlags{
		shards: f.shards, nodes: f.replicas, consensus: f.consensus, ledger: f.ledger, signatures: f.signatures, gap: f.gap, logLevel: "info", load: rate * float64(f.inputs), cross: f.cross, invalid: f.invalid,
		seed: f.seed, wan: f.wan,
	}
}
