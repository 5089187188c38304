package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"bdtnode/cmd/bdtnode/output"
	"bdtnode/node/sim"
	"bdtnode/shard"
)

// simFlags are the parameters of a simulated network.
type simFlags struct {
	shards     int
	nodes      []int
	faults     string
	duration   time.Duration
	delay      time.Duration
	wan        wanFlag
	load       float64
	consensus  string
	signatures string
}

const simHelp = `Simulates whole shards on a virtual clock. Consensus, execution and settlement are the code of the node; links, disks
and clocks are models; faults and Byzantine replicas are added. The seed determines everything: the same command gives
the same events and the same trace hash. Safety is checked after every event. After the faults have ended, the simulator
checks that every accepted transaction gets its final answer.`

func newSim(a *app) *cobra.Command {
	c := group(&cobra.Command{Use: "sim", Short: "Simulate networks with faults, from a seed", Long: simHelp})
	c.AddCommand(newSimRun(a), newSimSweep(a), newSimReplay(a), newSimFaults(a))
	return c
}

// Values of --consensus and --signatures.
const (
	anyConsensus     = "any"
	idealSignatures  = "ideal"
	actualSignatures = "real"
)

func (f *simFlags) register(c *cobra.Command, nodes []int) {
	fs := c.Flags()
	fs.IntVar(&f.shards, "shards", 1, "number of shards, 1 to 64")
	fs.IntSliceVar(&f.nodes, "nodes", nodes, "replicas of each shard, 4 to 100; the seed chooses one of several numbers")
	fs.StringVar(&f.faults, "faults", "all", "faults separated by commas, all (the seed chooses some), or none")
	fs.DurationVar(&f.duration, "for", time.Minute, "virtual time with load and faults, up to 720h")
	fs.DurationVar(&f.delay, "delay", 0, "mean one-way delay of messages in a shard, up to 1m; 0: chosen by the seed (default 0s)")
	f.wan.register(c)
	fs.Float64Var(&f.load, "load", 0, "transactions a second, up to 1000; 0: chosen by the seed (default 0)")
	fs.StringVar(&f.consensus, "consensus", anyConsensus, "bdt, dumbo, or any (chosen by the seed)")
	fs.StringVar(&f.signatures, "signatures", idealSignatures, "signatures and coin: ideal, or real (as in production, slow)")
	words(c, "consensus", shard.ConsensusBDT, shard.ConsensusDumbo, anyConsensus)
	words(c, "signatures", idealSignatures, actualSignatures)
}

// Bounds of a simulation. A higher number is a typing error.
const (
	maxSimTime = 30 * 24 * time.Hour
	maxSimLoad = 1000
)

// plan converts the flags to a plan. An error is a usage error.
func (f *simFlags) plan() (*sim.Plan, error) {
	switch {
	case len(f.nodes) == 0:
		return nil, output.Usage("--nodes is empty: use one number or several")
	case f.duration <= 0 || f.duration > maxSimTime:
		return nil, output.Usage("--for %v: use a time above 0, up to %v", f.duration, maxSimTime)
	case f.delay < 0 || f.delay > time.Minute:
		return nil, output.Usage("--delay %v: use 0 to 1m", f.delay)
	case !(f.load >= 0 && f.load <= maxSimLoad):
		return nil, output.Usage("--load %v: use 0 to %d transactions a second", f.load, maxSimLoad)
	}
	for _, n := range f.nodes {
		if err := checkSize(f.shards, n); err != nil {
			return nil, err
		}
	}
	if err := f.wan.read(); err != nil {
		return nil, err
	}
	if f.wan.matrix != nil && f.delay > 0 {
		return nil, output.Usage("--delay has no effect with --wan: leave one of them out")
	}
	p := &sim.Plan{
		Shards: f.shards, Nodes: f.nodes, For: f.duration, Delay: f.delay, WAN: f.wan.matrix, Load: f.load,
		Ed25519: f.signatures == actualSignatures,
	}
	if f.consensus != anyConsensus {
		p.Consensus = f.consensus
	}
	if err := p.ParseFaults(f.faults); err != nil {
		return nil, output.Usage("--faults: %v", err).WithHint("list the faults with %s sim faults", self())
	}
	if _, err := p.Scenario(1); err != nil {
		return nil, output.Usage("%v", err)
	}
	return p, nil
}

// command is the command line that runs a subcommand of sim for one seed with these flags.
func (f *simFlags) command(verb string, seed uint64) string {
	args := []string{self(), "sim", verb, fmt.Sprintf("--seed %d", seed), fmt.Sprintf("--shards %d", f.shards)}
	nodes := make([]string, len(f.nodes))
	for i, n := range f.nodes {
		nodes[i] = fmt.Sprint(n)
	}
	args = append(args, "--nodes "+strings.Join(nodes, ","), "--faults "+f.faults, fmt.Sprintf("--for %v", f.duration))
	if f.delay > 0 {
		args = append(args, fmt.Sprintf("--delay %v", f.delay))
	}
	if f.wan.spec != "" {
		args = append(args, "--wan "+f.wan.spec)
	}
	if f.load > 0 {
		args = append(args, fmt.Sprintf("--load %v", f.load))
	}
	if f.consensus != anyConsensus {
		args = append(args, "--consensus "+f.consensus)
	}
	if f.signatures != idealSignatures {
		args = append(args, "--signatures "+f.signatures)
	}
	return strings.Join(args, " ")
}

// simFault is a line of the output of sim faults.
type simFault struct {
	Name string `json:"name"`
	Help string `json:"help"`
}

func newSimFaults(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "faults",
		Short:   "List the faults that --faults takes",
		Example: "  bdtnode sim faults",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			var all []simFault
			for _, name := range sim.FaultNames() {
				all = append(all, simFault{name, sim.FaultHelp(name)})
			}
			return a.print.Data(all, func(w io.Writer) {
				for _, f := range all {
					fmt.Fprintf(w, "%s\t%s\n", f.Name, f.Help)
				}
			})
		},
	}
}
