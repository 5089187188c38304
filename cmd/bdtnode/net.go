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

// netFlags are those of net up.
type netFlags struct {
	shards, nodes           int
	shardsGiven, nodesGiven bool // rather than defaults
	consensusGiven          bool
	home                    string
	duration                time.Duration
	load                    float64
	invalid                 float64
	cross                   float64
	seed                    uint64
	logLevel                string
	consensus               string
	fault                   string
	faultEvery              time.Duration
	resumed                 bool // the network was there
}

func newNet(a *app) *cobra.Command {
	c := group(&cobra.Command{Use: "net", Short: "Run a whole network on this machine"})
	var f netFlags
	up := &cobra.Command{
		Use:   "up",
		Short: "Start a network of replicas on this machine, and optionally a load on it",
		Long: `Starts a network of one or more shards on this machine, every replica a process of its own, and waits until all are
ready. It runs until Ctrl-C, or for the time given, and leaves no process behind. Without --home its files are
removed at the end; with it they are kept, and the same directory given again resumes the same ledger.

With --load it submits signed transfers at a fixed rate, whatever the answers, then waits up to 30 seconds until each
has one, and reports. The share --cross involves two or three shards: such a transfer spends outputs of one to three
shards and creates some in one to three. Latency is from the moment a transfer was due to the answer that it settled,
latency_ms of those inside one shard and cross_latency_ms of those across; one that is pending at the end counts with
the time that it has waited. unsent are those that were due and not submitted, since too many had no answer.
headers_agree and value_conserved are computed from what the replicas hold at the end, in each shard and over all;
node_cpu_seconds and syncs_per_tx are over all replicas. The exit code is 1 if a transfer is pending or unsent at the
end, a replica is lost, replicas disagree or value is not conserved. Ctrl-C ends the load, waits up to 5 seconds for
answers and gives a report marked partial.

When the process of a shard's leader ends, whoever killed it, the gap is told: the time from the last block committed
under it to the next block committed, as another replica of the shard saw it. That next one may be the last of the
leader's epoch, which the others agree on without a leader. A time in which the shard had nothing to commit does not
count, and if there is nothing to commit that is told instead.

With --fault it is done on purpose, again and again, in every shard:

  kill-leader        the leader's process is killed, and started again 1 to 3 seconds later
  freeze-leader      the leader stands still for 1 to 10 seconds, so all that it has to say comes that late
  freeze-followers   as many replicas as may be faulty, none the leader, stand still for 1 to 10 seconds

A fault waits until all replicas of its shard have caught up, and none comes in the last 2 seconds. Where replicas stand
still that do not lead, the gap is the longest time without a commit until they go on. The report's gaps are all told.`,
		Example: `  bdtnode net up
  bdtnode net up --shards 1 --nodes 7 --home ~/ledger
  bdtnode net up --for 20s --load 500 --cross 0.3 --invalid 0.05 -o json
  bdtnode net up --for 60s --load 300 --fault kill-leader --fault-every 6s -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(cmd); err != nil {
				return err
			}
			f.shardsGiven, f.nodesGiven = cmd.Flags().Changed("shards"), cmd.Flags().Changed("nodes")
			f.consensusGiven = cmd.Flags().Changed("consensus")
			return a.netUp(cmd.Context(), &f)
		},
	}
	fs := up.Flags()
	faults := textOf(netup.AllFaults)
	fs.IntVar(&f.shards, "shards", 2, "number of shards")
	fs.IntVar(&f.nodes, "nodes", 4, "replicas of each shard, at least 4; less than a third of them may be faulty")
	fs.StringVar(&f.home, "home", "", "directory to keep the network in, and to resume it from")
	fs.DurationVar(&f.duration, "for", 0, "how long to run, once ready; 0 is until Ctrl-C")
	fs.Float64Var(&f.load, "load", 0, "transfers to submit each second")
	fs.Float64Var(&f.invalid, "invalid", 0, "share of the load that spends an output already spent, 0 to 1")
	fs.Float64Var(&f.cross, "cross", 0, "share of the load that involves two or three shards, 0 to 1")
	fs.Uint64Var(&f.seed, "seed", 1, "seed of the choices of load and faults")
	fs.StringVar(&f.fault, "fault", "", "what to do to replicas, again and again: "+strings.Join(faults, ", "))
	fs.DurationVar(&f.faultEvery, "fault-every", defaultFaultEvery, "time from one fault to the next, at least 1s")
	fs.StringVar(&f.logLevel, "log-level", "info", "of the replicas of a new network: debug, info, warn or error")
	fs.StringVar(&f.consensus, "consensus", shard.ConsensusBDT, "of a new network: bdt, or dumbo for its asynchronous fallback alone")
	paths(fs, "home")
	words(up, "fault", faults...)
	words(up, "consensus", shard.ConsensusBDT, shard.ConsensusDumbo)
	words(up, "log-level", logLevels...)
	c.AddCommand(up)
	return c
}

// maxLoad bounds --load: more than one machine can take, and a slip of the finger.
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
		return output.Usage("--invalid is a share of --load, which is not given")
	case f.load == 0 && f.cross > 0:
		return output.Usage("--cross is a share of --load, which is not given")
	case f.duration < 0:
		return output.Usage("--for %v: use a time of 0 or more", f.duration)
	}
	if err := f.checkCross(); err != nil {
		return err
	}
	return f.checkFault(cmd.Flags().Changed("fault-every"))
}

// Times between faults.
const (
	defaultFaultEvery = 8 * time.Second
	minFaultEvery     = time.Second
)

// checkFault checks the times of the faults asked for. Every says whether the time between them was given.
func (f *netFlags) checkFault(every bool) error {
	switch {
	case f.fault == "" && every:
		return output.Usage("--fault-every is of --fault, which is not given")
	case f.fault == "":
		return nil
	case f.faultEvery < minFaultEvery:
		return output.Usage("--fault-every %v: use a time of at least %v", f.faultEvery, minFaultEvery)
	case f.duration > 0 && f.faultEvery+netup.QuietEnd > f.duration:
		return output.Usage("--for %v ends before the first fault: it comes after --fault-every %v, and none in the last %v", f.duration, f.faultEvery, netup.QuietEnd)
	}
	return f.checkLed()
}

// checkLed checks that there is a leader if the fault is about one.
func (f *netFlags) checkLed() error {
	if f.consensus == shard.ConsensusDumbo && f.fault != "" && netup.Fault(f.fault) != netup.FreezeFollowers {
		return output.Usage("--fault %s: with consensus %s nobody leads, use %s", f.fault, f.consensus, netup.FreezeFollowers)
	}
	return nil
}

func (f *netFlags) checkCross() error {
	if f.cross > 0 && f.shards == 1 {
		return output.Usage("--cross %v: with one shard nothing crosses shards", f.cross)
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
		Dir: dir,
		Waiting: func(ready, total int, _ string) {
			if ready != lastReady {
				lastReady = ready
				a.print.Note("%d of %d replicas are ready", ready, total)
			}
		},
	})
	if err != nil {
		if errors.Is(err, context.Canceled) {
			return nil // stopped before it was up, as asked
		}
		return err
	}
	defer cluster.Stop()
	known, err := registry.Add(registry.Dir(), clusterEntry(cluster, dir))
	if err != nil {
		a.print.Note("note: commands will need --node: %v", err)
	} else {
		defer known.Remove()
	}
	if err := a.introduce(ctx, cluster, dir, f); err != nil {
		return err
	}
	return a.keepUp(ctx, cluster, dir, f, knownAs(known, cluster, dir))
}

// prepareNet makes the network in dir, or checks that what is there can be resumed: then its size is the one of f.
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
		return output.Usage("%s holds a network of %d shards, not %d: leave --shards away, or name another directory", dir, n, f.shards)
	}
	if n := len(g.Shards[0].Members); f.nodesGiven && n != f.nodes {
		return output.Usage("%s holds a network of %d replicas a shard, not %d: leave --nodes away, or name another directory", dir, n, f.nodes)
	}
	if f.consensusGiven && g.Consensus != f.consensus {
		return output.Usage("%s holds a network with consensus %s, not %s: leave --consensus away, or name another directory", dir, g.Consensus, f.consensus)
	}
	f.resumed = true
	f.shards, f.nodes, f.consensus = len(g.Shards), len(g.Shards[0].Members), g.Consensus
	if err := f.checkCross(); err != nil {
		return err
	}
	return f.checkLed()
}

// createNet generates a network whose replicas choose their ports at each start, but for half of each shard, that
// all join by: theirs are chosen now, and kept. That is more than may be Byzantine.
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
	n := config.Network{Name: "local", Time: time.Now(), Horizon: config.DefaultHorizon, Places: places, LogLevel: f.logLevel, Consensus: f.consensus}
	_, err = netup.Create(dir, n, netup.People(), loadFunding(f))
	return err
}

// Ports of the replicas that others join by are below those that systems hand out for port 0, so that no other
// replica is given one.
const (
	firstPort = 20_000
	lastPort  = 29_999
)

// freePorts are so many different ports that nobody listens on now.
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
		e.Replicas = append(e.Replicas, registry.Replica{Shard: r.Shard, Replica: uint16(r.Index), API: r.API()})
	}
	if accounts := filepath.Join(dir, netup.AccountsDir); isDir(accounts) {
		e.Accounts = accounts
	}
	return e
}

// introduction is what net up says once all replicas are ready.
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
	Shard   uint16 `json:"shard"` // home
	Balance uint64 `json:"balance"`
}

// introduce prints replicas, accounts and what to do next: as the result of a net up without an end, otherwise for
// people only, since the report is the result then.
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
	p := a.print
	if f.reports() {
		p.Out, p.JSON = p.Err, false
	}
	return p.Data(in, func(w io.Writer) { printIntroduction(w, in) })
}

// suggest is what to try first with these accounts: a payment, across shards if there are several, and what became of it.
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
		self() + " status --all",
	}
}

func printIntroduction(w io.Writer, in introduction) {
	fmt.Fprintf(w, "\nREPLICA\tAPI\tPROCESS\n")
	for _, r := range in.Replicas {
		fmt.Fprintf(w, "%d/%d\t%s\t%d\n", r.Shard, r.Replica, r.API, r.PID)
	}
	fmt.Fprintf(w, "\nACCOUNT\tSHARD\tBALANCE\tADDRESS\n")
	for _, acc := range in.Accounts {
		fmt.Fprintf(w, "%s\t%d\t%d\t%s\n", acc.Name, acc.Shard, acc.Balance, acc.Address)
	}
	fmt.Fprintf(w, "\nTry in another terminal:\n")
	for _, t := range in.Try {
		fmt.Fprintf(w, "  %s\n", t)
	}
	fmt.Fprintln(w)
}
