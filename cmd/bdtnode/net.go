package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"bdtnode/cmd/bdtnode/keystore"
	"bdtnode/cmd/bdtnode/netup"
	"bdtnode/cmd/bdtnode/output"
	"bdtnode/cmd/bdtnode/registry"
	"bdtnode/node/config"
	"bdtnode/shard"
)

// netFlags are the flags of net up.
type netFlags struct {
	shards, nodes           int
	shardsGiven, nodesGiven bool // set on the command line
	consensusGiven          bool
	ledgerGiven, gapGiven   bool
	home                    string
	duration                time.Duration
	load                    float64
	invalid                 float64
	cross                   float64
	seed                    uint64
	logLevel                string
	consensus               string
	ledger                  string
	signatures              string
	gap                     time.Duration
	fault                   string
	faultEvery              time.Duration
	wan                     wanFlag
	resumed                 bool // the network existed before
}

const netUpHelp = `Starts a network of one or more shards on this machine. Every replica is a process of its own. The command waits until
all replicas are ready, runs until Ctrl-C or for the time of --for, and stops every process. Without --home the files
are removed at the end. With --home they are kept, and the same directory resumes the same ledger.

--load submits signed transfers at a fixed rate, independent of the answers. After the load the command waits up to 30
seconds for answers and prints a report. Transfers of the share --cross involve two or three shards: such a transfer
spends outputs of one to three shards and creates outputs in one to three. Transfers of the share --invalid are invalid,
at random for one of these reasons; the report counts their outcomes by kind:

  spent          an input that a settled transfer has spent
  unknown        an input that never exists
  wrong_amount   an input with another amount than its output has
  wrong_owner    an input with the key of another account
  expired        an expiry in the past
  one_shard      across shards: good inputs in one shard and a spent one in another; submitted to the first shard only
  conflict       across shards: two transfers with the same inputs in two shards, each submitted to another of these
                 shards only; at most one settles

A kind that is not possible is left out: one that needs a spent output before anything has settled, or one that goes
across shards without --cross. Latency is the time from the moment at which
a transfer is due to the answer that it settled: latency_ms inside one shard, cross_latency_ms between shards. A transfer
that is pending at the end counts with the time that it has waited. unsent counts the transfers that were due and not
submitted, because too many were without an answer. headers_agree and value_conserved compare the ledgers of the
replicas at the end, in each shard and over all shards; node_cpu_seconds and syncs_per_tx are sums over all replicas.
The exit code is 1 if a transfer is pending or unsent at the end, a replica is lost, replicas disagree or value is not
conserved. Ctrl-C ends the load, waits up to 5 seconds for answers and prints a report marked partial. The same happens
when a shard has lost its quorum; the exit code is then 1.

When the process of a shard's leader ends, for any reason, the gap is printed: the time from the last block committed
under that leader to the next block committed, as another replica of the shard saw it. The next block may be the last
block of the leader's epoch, on which the other replicas agree without a leader. Time in which the shard had nothing to
commit does not count; if nothing was pending, that is printed instead.

--fault disturbs the replicas of every shard repeatedly:

  kill-leader        kill the process of the leader, and start it again after 1 to 3 seconds
  freeze-leader      suspend the process of the leader for 1 to 10 seconds, which delays its messages by that time
  freeze-followers   suspend as many other replicas as may be faulty for 1 to 10 seconds

A fault begins when all replicas of the shard have caught up. No fault begins in the last 2 seconds of a run. With
freeze-followers, the gap is the longest time without a commit until the replicas resume. The report contains all gaps.

` + wanHelp

func newNet(a *app) *cobra.Command {
	c := group(&cobra.Command{Use: "net", Short: "Run a whole network on this machine, or show the state of any network"})
	var f netFlags
	up := &cobra.Command{
		Use:   "up",
		Short: "Start a network of replicas on this machine, optionally with a load",
		Long:  netUpHelp,
		Example: `  bdtnode net up
  bdtnode net up --shards 1 --nodes 7 --home ~/ledger
  bdtnode net up --for 20s --load 500 --cross 0.3 --invalid 0.05 -o json
  bdtnode net up --for 60s --load 300 --fault kill-leader --fault-every 6s -o json
  bdtnode net up --shards 1 --for 20s --load 1000 --wan uniform:100ms -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(cmd); err != nil {
				return err
			}
			f.shardsGiven, f.nodesGiven = cmd.Flags().Changed("shards"), cmd.Flags().Changed("nodes")
			f.consensusGiven, f.ledgerGiven, f.gapGiven = cmd.Flags().Changed("consensus"), cmd.Flags().Changed("ledger"), cmd.Flags().Changed("gap")
			return a.netUp(cmd.Context(), &f)
		},
	}
	fs := up.Flags()
	faults := textOf(netup.AllFaults)
	fs.IntVar(&f.shards, "shards", 2, "number of shards, 1 to 64")
	fs.IntVar(&f.nodes, "nodes", 4, "replicas of each shard, 4 to 100; fewer than a third may be faulty")
	fs.StringVar(&f.home, "home", "", "directory in which the network is kept and from which it is resumed (default: a temporary one)")
	fs.DurationVar(&f.duration, "for", 0, "time to run after all replicas are ready; 0 runs until Ctrl-C (default 0s)")
	fs.Float64Var(&f.load, "load", 0, "transfers to submit each second; 0 submits none (default 0)")
	fs.Float64Var(&f.invalid, "invalid", 0, "share of the load that is invalid, 0 to 1 (default 0)")
	fs.Float64Var(&f.cross, "cross", 0, "share of the load that involves two or three shards, 0 to 1 (default 0)")
	fs.Uint64Var(&f.seed, "seed", 1, "seed of the random choices of load and faults")
	fs.StringVar(&f.fault, "fault", "", "disturb replicas repeatedly: "+strings.Join(faults, ", ")+" (default: none)")
	fs.DurationVar(&f.faultEvery, "fault-every", defaultFaultEvery, "time from one fault to the next, at least 1s")
	fs.StringVar(&f.logLevel, "log-level", "info", "log level of the replicas of a new network: debug, info, warn or error")
	fs.StringVar(&f.consensus, "consensus", shard.ConsensusBDT, "consensus of a new network: bdt, or dumbo for the asynchronous fallback alone")
	f.wan.register(up)
	ledgerFlag(up, &f.ledger)
	addSignatures(fs, &f.signatures)
	addGap(fs, &f.gap)
	paths(fs, "home")
	words(up, "signatures", shard.SignaturesAll, shard.SignaturesVouched)
	words(up, "fault", faults...)
	words(up, "consensus", shard.ConsensusBDT, shard.ConsensusDumbo)
	words(up, "log-level", logLevels...)
	c.AddCommand(up, newNetStatus(a))
	return c
}

// maxLoad bounds --load, in transfers a second. A higher number exceeds any single machine and is a typing error.
const maxLoad = 1e6

func (f *netFlags) check(cmd *cobra.Command) error {
	if err := checkSize(f.shards, f.nodes); err != nil {
		return err
	}
	for name, share := range map[string]float64{"invalid": f.invalid, "cross": f.cross} {
		if !(share >= 0 && share <= 1) {
			return output.Usage("--%s %v: use a share from 0 to 1", name, share)
		}
	}
	switch {
	case !(f.load >= 0 && f.load <= maxLoad):
		return output.Usage("--load %v: use 0 to %.0f transfers a second", f.load, maxLoad)
	case f.load == 0 && f.invalid > 0:
		return output.Usage("--invalid is a share of the load: add --load")
	case f.load == 0 && f.cross > 0:
		return output.Usage("--cross is a share of the load: add --load")
	case f.duration < 0:
		return output.Usage("--for %v: use 0 or a longer time", f.duration)
	}
	if err := f.checkCross(); err != nil {
		return err
	}
	if err := checkGap(f.gap); err != nil {
		return err
	}
	if err := f.wan.read(); err != nil {
		return err
	}
	if err := f.checkLedger(); err != nil {
		return err
	}
	return f.checkFault(cmd.Flags().Changed("fault-every"))
}

// Bounds and default of the time between faults.
const (
	defaultFaultEvery = 8 * time.Second
	minFaultEvery     = time.Second
)

// checkFault checks the times of the faults. every is true if --fault-every was set on the command line.
func (f *netFlags) checkFault(every bool) error {
	switch {
	case f.fault == "" && every:
		return output.Usage("--fault-every has no effect without --fault: add --fault")
	case f.fault == "":
		return nil
	case f.faultEvery < minFaultEvery:
		return output.Usage("--fault-every %v: use a time of at least %v", f.faultEvery, minFaultEvery)
	case f.duration > 0 && f.faultEvery+netup.QuietEnd > f.duration:
		return output.Usage("--for %v ends before the first fault: the first comes after --fault-every %v, and none comes in the last %v", f.duration, f.faultEvery, netup.QuietEnd)
	}
	return f.checkLed()
}

// checkLed checks that the consensus has a leader if the fault disturbs the leader.
func (f *netFlags) checkLed() error {
	if f.consensus == shard.ConsensusDumbo && f.fault != "" && netup.Fault(f.fault) != netup.FreezeFollowers {
		return output.Usage("--fault %s: consensus %s has no leader, use %s", f.fault, f.consensus, netup.FreezeFollowers)
	}
	return nil
}

// checkLedger refuses a load of transfers on a network that has none.
func (f *netFlags) checkLedger() error {
	if f.load > 0 && f.ledger == shard.LedgerLog {
		return output.Usage("--load submits transfers, and a network with --ledger log has none: append payloads with bdtnode log append")
	}
	return nil
}

func (f *netFlags) checkCross() error {
	if f.cross > 0 && f.shards == 1 {
		return output.Usage("--cross %v needs at least 2 shards", f.cross)
	}
	return nil
}

func (a *app) netUp(ctx context.Context, f *netFlags) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go stopWithGoRun(ctx, cancel)
	if err := refuseReplicaSettings(); err != nil {
		return err
	}
	dir := f.home
	if dir == "" {
		made, remove, err := a.temporaryHome()
		if err != nil {
			return err
		}
		defer remove()
		dir = made
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("home: %w", err)
	}
	if err := prepareNet(dir, f); err != nil {
		return err
	}
	release, err := a.lockNet(ctx, dir)
	if err != nil {
		return err
	}
	defer release()
	a.print.Note("Starting %s", dir)
	lastReady := -1
	cluster, err := netup.Start(ctx, netup.Options{
		Dir: dir, Args: f.wan.args(),
		Waiting: func(ready, total int, _ string) {
			if ready != lastReady {
				lastReady = ready
				a.print.Note("%d of %d replicas are ready", ready, total)
			}
		},
	})
	if err != nil {
		if errors.Is(err, context.Canceled) {
			return nil // stopped by the user before all replicas were ready
		}
		return err
	}
	defer cluster.Stop()
	if err := f.wan.measure(ctx, a.print, cluster); err != nil {
		return err
	}
	known, err := registry.Add(registry.Dir(), clusterEntry(cluster, dir))
	if err != nil {
		a.print.Note("note: other commands need --node: %v", err)
	} else {
		defer known.Remove()
	}
	if err := a.introduce(ctx, cluster, dir, f); err != nil {
		return err
	}
	return a.keepUp(ctx, cluster, dir, f, knownAs(known, cluster, dir))
}

// prepareNet creates the network in dir. If dir has a network, prepareNet checks that it can be resumed and copies its
// size to f.
func prepareNet(dir string, f *netFlags) error {
	if _, err := os.Stat(config.GenesisPath(dir)); err != nil {
		if !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("home: %w", err)
		}
		return createNet(dir, f)
	}
	g, err := shard.ReadGenesis(config.GenesisPath(dir))
	if err != nil {
		return err
	}
	if n := len(g.Shards); f.shardsGiven && n != f.shards {
		return output.Usage("%s holds a network of %d shards, not %d: leave --shards out, or use another directory", dir, n, f.shards)
	}
	if n := len(g.Shards[0].Members); f.nodesGiven && n != f.nodes {
		return output.Usage("%s holds a network of %d replicas a shard, not %d: leave --nodes out, or use another directory", dir, n, f.nodes)
	}
	if f.consensusGiven && g.Consensus != f.consensus {
		return output.Usage("%s holds a network with consensus %s, not %s: leave --consensus out, or use another directory", dir, g.Consensus, f.consensus)
	}
	if f.ledgerGiven && g.Parameters.Ledger != f.ledger {
		return output.Usage("%s holds a network with ledger %s, not %s: leave --ledger out, or use another directory", dir, g.Parameters.Ledger, f.ledger)
	}
	gap := g.Parameters.Gap()
	if f.gapGiven && gap != f.gap {
		return output.Usage("%s holds a network with a gap of %v, not %v: leave --gap out, or use another directory", dir, gap, f.gap)
	}
	f.resumed, f.gap = true, gap
	f.shards, f.nodes, f.consensus, f.ledger, f.signatures = len(g.Shards), len(g.Shards[0].Members), g.Consensus, g.Parameters.Ledger, g.Parameters.Signatures
	if err := f.checkLedger(); err != nil {
		return err
	}
	if err := f.checkCross(); err != nil {
		return err
	}
	return f.checkLed()
}

// createNet generates a network. Half of the replicas of each shard are bootstrap replicas of the others: their ports
// are chosen now and kept. This is more than may be Byzantine. The other replicas choose a port at each start.
func createNet(dir string, f *netFlags) error {
	entries := (f.nodes + 1) / 2
	ports, err := freePorts(f.shards * entries)
	if err != nil {
		return err
	}
	places := make([][]config.Place, f.shards)
	for s := range places {
		for i := range f.nodes {
			port := 0
			if i < entries {
				port = ports[s*entries+i]
			}
			listen := []string{fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", port)}
			places[s] = append(places[s], config.Place{Listen: listen, API: "127.0.0.1:0"})
		}
	}
	n := config.Network{Name: "local", Time: time.Now(), Horizon: config.DefaultHorizon, Places: places, LogLevel: f.logLevel, Consensus: f.consensus, Ledger: f.ledger, Signatures: f.signatures, Gap: f.gap}
	_, err = netup.Create(dir, n, fundings(f.ledger, loadFunding(f))...)
	return err
}

// Ports of bootstrap replicas are below the range from which systems choose a port for port 0, so no other replica gets
// one of them. Tests whose networks start at the same time change the range.
var (
	firstPort = 20_000
	lastPort  = 29_999
)

// freePorts returns that many different ports without a listener on 127.0.0.1.
func freePorts(count int) ([]int, error) {
	var ports []int
	for range 100 + 10*count {
		if len(ports) == count {
			break
		}
		port := firstPort + rand.IntN(lastPort-firstPort+1)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil || l.Close() != nil || slices.Contains(ports, port) {
			continue
		}
		ports = append(ports, port)
	}
	if len(ports) < count {
		return nil, fmt.Errorf("fewer than %d free ports found from %d to %d on 127.0.0.1", count, firstPort, lastPort)
	}
	return ports, nil
}

func clusterEntry(c *netup.Cluster, dir string) registry.Entry {
	e := registry.Entry{Name: c.Genesis.Name, Network: c.Genesis.ID().String()}
	for _, r := range c.Replicas {
		e.Replicas = append(e.Replicas, registry.Replica{Shard: r.Shard, Replica: uint16(r.Index), API: r.API(), Home: r.Home})
	}
	if accounts := filepath.Join(dir, netup.AccountsDir); isDir(accounts) {
		e.Accounts = accounts
	}
	return e
}

// introduction is the output of net up once all replicas are ready.
type introduction struct {
	Network  string              `json:"network"`
	Home     string              `json:"home"`
	Replicas []introducedReplica `json:"replicas"`
	Accounts []introducedAccount `json:"accounts"`
	Try      []string            `json:"try"`
}

type introducedReplica struct {
	Shard   uint16 `json:"shard"`
	Replica int    `json:"replica"`
	API     string `json:"api"`
	PID     int    `json:"pid"`
}

type introducedAccount struct {
	keystore.Account
	Shard   uint16 `json:"shard"` // home shard
	Balance uint64 `json:"balance,string"`
}

// introduce prints the replicas, the accounts and suggested commands. If net up has no end, that is its result on
// standard output; otherwise the report is the result, and the introduction goes to standard error.
func (a *app) introduce(ctx context.Context, c *netup.Cluster, dir string, f *netFlags) error {
	in := introduction{Network: c.Genesis.ID().String(), Home: dir, Accounts: []introducedAccount{}}
	for _, r := range c.Replicas {
		in.Replicas = append(in.Replicas, introducedReplica{r.Shard, r.Index, r.API(), r.PID()})
	}
	accounts, err := keystore.Open(filepath.Join(dir, netup.AccountsDir)).List()
	if err != nil {
		return err
	}
	for _, acc := range accounts {
		balance, err := balanceOf(ctx, c, acc.Address)
		if err != nil {
			return err
		}
		in.Accounts = append(in.Accounts, introducedAccount{acc, c.Genesis.Home(acc.Address), balance})
	}
	in.Try = suggest(in.Accounts)
	if f.ledger == shard.LedgerLog {
		in.Try = []string{self() + " log append hello", self() + " log tail --from 0", self() + " net status"}
	}
	p := a.print
	if f.reports() {
		p.Out, p.JSON = p.Err, false
	}
	return p.Data(in, func(w io.Writer) { printIntroduction(w, in) })
}

// suggest returns commands to try first with these accounts: a payment, across shards if there are several, and a query
// of it.
func suggest(accounts []introducedAccount) []string {
	payer, payee := "alice", "bob"
	across := ""
	for _, acc := range accounts {
		if acc.Shard != accounts[0].Shard {
			payer, payee = accounts[0].Name, acc.Name
			across = fmt.Sprintf("   # from shard %d to shard %d", accounts[0].Shard, acc.Shard)
			break
		}
	}
	return []string{
		fmt.Sprintf("%s tx send --from %s --to %s --amount 5%s", self(), payer, payee, across),
		fmt.Sprintf("%s query balance %s", self(), payee),
		self() + " net status",
	}
}

func printIntroduction(w io.Writer, in introduction) {
	fmt.Fprintf(w, "\nREPLICA\tAPI\tPROCESS\n")
	for _, r := range in.Replicas {
		fmt.Fprintf(w, "%d/%d\t%s\t%d\n", r.Shard, r.Replica, r.API, r.PID)
	}
	if len(in.Accounts) > 0 {
		fmt.Fprintf(w, "\nACCOUNT\tSHARD\tBALANCE\tADDRESS\n")
	}
	for _, acc := range in.Accounts {
		fmt.Fprintf(w, "%s\t%d\t%d\t%s\n", acc.Name, acc.Shard, acc.Balance, acc.Address)
	}
	fmt.Fprintf(w, "\nTry in another terminal:\n")
	for _, t := range in.Try {
		fmt.Fprintf(w, "  %s\n", t)
	}
	fmt.Fprintln(w)
}
